"""What travels to a machine for training and back: packed pictures, weights in parts."""

import errno
import hashlib
import importlib
import json
import math
import os
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import contents
from facemend.errors import ConfigError, InputError, OutputError

KIB = 1 / 1024


@pytest.fixture(scope="module")
def travel():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
        yield importlib.import_module("travel")


def faces_of(root: Path) -> list[Path]:
    return list((root / "train512").glob("*"))


def test_pictures_travel_as_they_are(travel, face_folders, tmp_path):
    tests = sorted((face_folders / "test").glob("*"))[:2]
    manifest = travel.pack(
        tmp_path / "f.tar", face_folders, faces_of(face_folders), [face_folders / "train.csv", *tests]
    )
    assert manifest["each_source"] is None
    out = contents(travel.unpack(tmp_path / "f.tar", tmp_path / "out"))
    expected = {k: v for k, v in contents(face_folders).items() if k.startswith("train")}
    expected |= {f"test/{p.name}": p.read_bytes() for p in tests}
    assert json.loads(out.pop(travel.MANIFEST)) == manifest
    assert out == expected
    assert manifest["files"] == {k: hashlib.sha256(v).hexdigest() for k, v in expected.items()}


def test_a_folder_leaves_names_to_another(travel, face_folders):
    (face_folders / "train256").mkdir()
    for name in ("tr0.png", "only.png", "notes.txt"):
        (face_folders / "train256" / name).touch()
    large = SimpleNamespace(path=face_folders / "train512")
    small = SimpleNamespace(path=face_folders / "train256", without=large.path)
    assert travel.drawn([large, small]) == {*faces_of(face_folders), face_folders / "train256/only.png"}
    small.without = None
    assert len(travel.drawn([large, small])) == len(faces_of(face_folders)) + 2


def test_a_limit_takes_as_many_faces_of_each_source_as_fit(travel, face_folders, tmp_path):
    faces, others = faces_of(face_folders), [face_folders / "train.csv"]
    whole = travel.pack(tmp_path / "all.tar", face_folders, faces, others)
    sizes = {}
    for most in (1, 2):
        names = ["train.csv"] + [f"train512/tr{n}.png" for n in range(2 * most)]  # sources take turns
        limit = travel._tar_size(face_folders, [face_folders / name for name in names])
        manifest = travel.pack(tmp_path / f"{most}.tar", face_folders, faces, others, limit)
        assert manifest["each_source"] == most
        assert sorted(manifest["files"]) == sorted(names)
        sizes[most] = (tmp_path / f"{most}.tar").stat().st_size
        assert sizes[most] <= limit
        assert travel.pack(tmp_path / "x.tar", face_folders, faces, others, limit + 1)["each_source"] == most
    with pytest.raises(ConfigError, match="--pack-mib"):
        travel.pack(tmp_path / "no.tar", face_folders, faces, others, sizes[1] // 4)
    assert not (tmp_path / "no.tar").exists()
    assert len(whole["files"]) == 7


def test_a_damaged_tar_is_not_taken(travel, face_folders, tmp_path):
    file = tmp_path / "f.tar"
    travel.pack(file, face_folders, faces_of(face_folders), [])
    raw = bytearray(file.read_bytes())
    with tarfile.open(file) as tar:
        at = tar.getmembers()[-1].offset_data
    raw[at + 5] ^= 1
    file.write_bytes(raw)
    with pytest.raises(InputError, match=r"train512/.*damaged"):
        travel.unpack(file, tmp_path / "out")
    file.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match="not a whole file"):
        travel.unpack(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.aside").exists()


def weights(path: Path, size: int, seed: int) -> bytes:
    path.write_bytes(np.random.default_rng(seed).bytes(size))
    return path.read_bytes()


def joined(travel, folder: Path, out: Path) -> bytes:
    out.unlink(missing_ok=True)
    travel.join_parts(folder, out)
    return out.read_bytes()


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 8192])
def test_parts_join_to_what_was_cut(travel, tmp_path, size):
    data = weights(tmp_path / "w", size, 0)
    travel.put_parts(tmp_path / "w", tmp_path / "m", KIB, {"stage": "stage2"})
    parts = sorted((tmp_path / "m").glob("weights-*"))
    assert len(parts) == math.ceil(size / 1024)
    assert all(part.stat().st_size <= 1024 for part in parts)
    assert json.loads((tmp_path / "m" / travel.MILESTONE).read_text())["stage"] == "stage2"
    assert joined(travel, tmp_path / "m", tmp_path / "out") == data
    assert b"".join(part.read_bytes() for part in parts) == data  # as `cat` does


def test_too_many_parts_say_which_size_is_enough(travel):
    with pytest.raises(ConfigError, match="--part-mib 2"):
        travel.count_parts(9 * travel.MIB, 1)
    assert travel.count_parts(9 * travel.MIB, 2) == 5


def test_a_damaged_or_missing_part_is_seen(travel, tmp_path):
    weights(tmp_path / "w", 3000, 0)
    travel.put_parts(tmp_path / "w", tmp_path / "m", KIB, {})
    part = sorted((tmp_path / "m").glob("weights-*"))[1]
    kept = part.read_bytes()
    part.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(InputError, match="damaged"):
        travel.join_parts(tmp_path / "m", tmp_path / "out")
    part.unlink()
    with pytest.raises(InputError, match="no whole milestone"):
        travel.join_parts(tmp_path / "m", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other_disk", [False, True])
@pytest.mark.parametrize("size", [3000, 6000])
def test_a_milestone_is_whole_wherever_its_writing_stops(travel, tmp_path, monkeypatch, size, other_disk):
    """The k-th rename fails, for every k. Three old parts stay so long; of six there is no room for both."""
    rename, folder = os.replace, tmp_path / "m"

    def watched(source, target):
        calls.append(target)
        assert len(list(folder.glob("weights-*"))) <= travel.MOST_PARTS
        if len(calls) == stop:
            raise KeyboardInterrupt
        if other_disk and Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "another disk")
        rename(source, target)

    monkeypatch.setattr(travel.os, "replace", watched)
    stop, done = 0, False
    while not done:
        calls: list[Path] = []
        wanted, stop = stop + 1, 0
        shutil.rmtree(folder, ignore_errors=True)
        old = weights(tmp_path / "old", size, 1)
        travel.put_parts(tmp_path / "old", folder, KIB, {})
        calls.clear()
        stop = wanted
        new = weights(tmp_path / "new", size, 2)
        try:
            travel.put_parts(tmp_path / "new", folder, KIB, {})
            done = True
        except KeyboardInterrupt:
            pass
        stop = 0
        if done:
            assert joined(travel, folder, tmp_path / "out") == new
        elif size == 3000:
            assert joined(travel, folder, tmp_path / "out") == old
        else:
            assert not (folder / travel.MILESTONE).exists()  # none, but never a half one
        travel.put_parts(tmp_path / "new", folder, KIB, {})
        assert joined(travel, folder, tmp_path / "out") == new
        assert len(list(folder.iterdir())) == math.ceil(size / 1024) + 1
        stop = wanted
    assert stop > 2


def test_a_full_disk_keeps_the_milestone_before(travel, tmp_path, monkeypatch):
    old = weights(tmp_path / "old", 3000, 1)
    travel.put_parts(tmp_path / "old", tmp_path / "m", KIB, {})
    weights(tmp_path / "new", 3000, 2)
    write = Path.write_bytes

    def full(path, piece):
        write(path, piece[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="make room"):
            travel.put_parts(tmp_path / "new", tmp_path / "m", KIB, {})
    assert joined(travel, tmp_path / "m", tmp_path / "out") == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "new", "old", "out"]

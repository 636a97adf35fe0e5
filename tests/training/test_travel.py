"""What travels to a machine for training and back: packed pictures, weights in parts."""

import errno
import importlib
import json
import math
import os
import zipfile
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
    others = [face_folders / "train.csv", *tests]
    assert travel.pack(tmp_path / "f.zip", face_folders, faces_of(face_folders), others) is None
    out = travel.unpack(tmp_path / "f.zip", tmp_path / "out")
    expected = {k: v for k, v in contents(face_folders).items() if k.startswith("train")}
    expected |= {f"test/{p.name}": p.read_bytes() for p in tests}
    assert {k: v for k, v in contents(out).items() if k != travel.UNPACKED} == expected
    (out / "train.csv").write_text("mine")
    travel.unpack(tmp_path / "f.zip", out)
    assert (out / "train.csv").read_text() == "mine"  # unpacked once
    travel.pack(tmp_path / "f.zip", face_folders, faces_of(face_folders), [])
    travel.unpack(tmp_path / "f.zip", out)
    assert not (out / "train.csv").exists()


def test_a_folder_leaves_names_to_another(travel, face_folders):
    (face_folders / "train256").mkdir()
    for name in ("tr0.png", "only.png", "notes.txt"):
        (face_folders / "train256" / name).touch()
    (face_folders / "train256/._only.png").touch()
    large = SimpleNamespace(path=face_folders / "train512", without=None)
    small = SimpleNamespace(path=face_folders / "train256", without=large.path)
    assert travel.drawn([large, small]) == {*faces_of(face_folders), face_folders / "train256/only.png"}
    small.without = None
    assert len(travel.drawn([large, small])) == len(faces_of(face_folders)) + 2


def test_a_limit_takes_as_many_faces_of_each_source_as_fit(travel, face_folders, tmp_path):
    faces, others = faces_of(face_folders), [face_folders / "train.csv"]
    file = tmp_path / "f.zip"
    sizes = {}
    for most in (1, 2):
        names = ["train.csv"] + [f"train512/tr{n}.png" for n in range(2 * most)]  # sources take turns
        chosen = [face_folders / name for name in names]
        travel.pack(file, face_folders, chosen, [])
        sizes[most] = file.stat().st_size
        for limit in (sizes[most], sizes[most] + 1):
            assert travel.pack(file, face_folders, faces, others, limit) == most
            assert sorted(zipfile.ZipFile(file).namelist()) == sorted(names)
        assert file.stat().st_size == sizes[most]
    assert travel.pack(file, face_folders, faces, others, sizes[2] - 1) == 1
    assert travel.pack(file, face_folders, faces, others, 10**9) is None
    with pytest.raises(ConfigError, match="--pack-mib"):
        travel.pack(tmp_path / "no.zip", face_folders, faces, others, sizes[1] - 1)
    assert not (tmp_path / "no.zip").exists()


def test_a_damaged_file_is_not_taken(travel, face_folders, tmp_path):
    file = tmp_path / "f.zip"
    travel.pack(file, face_folders, faces_of(face_folders), [])
    raw = bytearray(file.read_bytes())
    raw[raw.index(b"IDAT") + 9] ^= 1
    for data, match in ((raw, r"CRC-32 for file 'train512/tr0.png'"), (raw[: len(raw) // 2], "not a zip")):
        file.write_bytes(data)
        with pytest.raises(InputError, match=rf"f\.zip: not a whole file of --pack .*{match}"):
            travel.unpack(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.aside").exists()


def weights(size: int, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def joined(travel, folder: Path, out: Path) -> bytes:
    out.unlink(missing_ok=True)
    travel.join_parts(folder, out)
    return out.read_bytes()


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 8192])
def test_parts_join_to_what_was_cut(travel, tmp_path, size):
    data = weights(size, 0)
    travel.put_parts(data, tmp_path / "m", KIB, {"stage": "stage2"})
    parts = sorted((tmp_path / "m").glob("weights-*"))
    assert len(parts) == math.ceil(size / 1024)
    assert all(part.stat().st_size <= 1024 for part in parts)
    assert json.loads((tmp_path / "m" / travel.MILESTONE).read_text())["stage"] == "stage2"
    assert joined(travel, tmp_path / "m", tmp_path / "out") == data
    assert b"".join(part.read_bytes() for part in parts) == data  # as `cat` does
    with pytest.raises(OutputError, match="exists already"):
        travel.join_parts(tmp_path / "m", tmp_path / "out")


def test_too_many_parts_say_which_size_is_enough(travel):
    with pytest.raises(ConfigError, match="--part-mib 2"):
        travel.count_parts(9 * travel.MIB, 1)
    assert travel.count_parts(9 * travel.MIB, 2) == 5


def test_a_damaged_or_missing_part_is_seen(travel, tmp_path):
    travel.put_parts(weights(3000, 0), tmp_path / "m", KIB, {})
    part = sorted((tmp_path / "m").glob("weights-*"))[1]
    kept = part.read_bytes()
    part.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(InputError, match="damaged"):
        travel.join_parts(tmp_path / "m", tmp_path / "out")
    part.unlink()
    with pytest.raises(InputError, match="no whole milestone"):
        travel.join_parts(tmp_path / "m", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [3000, 6000])
def test_a_milestone_is_whole_wherever_its_writing_stops(travel, tmp_path, monkeypatch, size):
    """The k-th rename fails, for every k. Three old parts stay so long; of six there is no room for both."""
    rename, folder, out = os.replace, tmp_path / "m", tmp_path / "out"
    old, new = weights(size, 1), weights(size, 2)

    def watched(source, target):
        nonlocal left
        left -= 1
        assert len(list(folder.glob("weights-*"))) <= travel.MOST_PARTS
        if left == 0:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", watched)
    renames = math.ceil(size / 1024) + 1
    for stop in range(1, renames + 1):
        left = 0
        travel.put_parts(old, folder, KIB, {})
        left = stop
        with pytest.raises(KeyboardInterrupt):
            travel.put_parts(new, folder, KIB, {})
        if size == 3000:
            left = 0
            assert joined(travel, folder, out) == old
        else:
            assert not (folder / travel.MILESTONE).exists()  # none, but never a half one
        left = 0
        travel.put_parts(new, folder, KIB, {})
        assert joined(travel, folder, out) == new
        assert not list(folder.glob("weights-*.part"))
        assert len(list(folder.glob("weights-*"))) == math.ceil(size / 1024)


def test_a_full_disk_keeps_the_milestone_before(travel, tmp_path, monkeypatch):
    old, write = weights(3000, 1), Path.write_bytes
    travel.put_parts(old, tmp_path / "m", KIB, {})
    before = contents(tmp_path / "m")

    def full(path, piece):
        write(path, piece[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="make room"):
            travel.put_parts(weights(3000, 2), tmp_path / "m", KIB, {})
    assert contents(tmp_path / "m") == before
    assert joined(travel, tmp_path / "m", tmp_path / "out") == old

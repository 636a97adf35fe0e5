"""Folders of faces, the split, and streams of samples that do not depend on order or workers."""

import hashlib
import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from facemend.data.augment import Augmentation, augment
from facemend.data.face_cache import FaceCache
from facemend.data.faces import (
    FaceStream,
    Folder,
    batches,
    fixed_batch,
    pictures_in,
    read_faces,
    split,
    to_signed,
    to_unit,
)
from facemend.degradations import apply, preset, recipe_of
from facemend.errors import ConfigError, InputError
from facemend.imaging import read_picture

LIVELY = Augmentation(crop=(0.6, 1.1), rotate=10, shift=0.05, light=0.2)


@pytest.fixture
def face_set(tmp_path):
    """`face_set(count)`: a set of made-up pictures in files, the same at every call."""

    def make(count, size=24, weights=None, names=None):
        rng = np.random.default_rng(7)
        rough = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        for name, picture in zip(names or [f"{i:03}.png" for i in range(count)], rough, strict=True):
            save(tmp_path / "set" / name, cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC))
        faces = read_faces([Folder(tmp_path / "set")], size)
        return faces if weights is None else replace(faces, weights=np.array(weights, float))

    return make


def pictures_of(faces):
    return [faces.picture(number) for number in range(len(faces))]


def uniform(folder, side, *colours):
    for number, colour in enumerate(colours):
        save(folder / f"{number}.png", np.full((side, side, 3), colour, np.uint8))
    return read_faces([Folder(folder)], side)


@pytest.fixture
def stream(face_set):
    return FaceStream(face_set(5), 16, LIVELY, preset("mixed"), seed=3)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def save(path, array):
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(array[..., ::-1]))


def test_a_sample_is_a_function_of_seed_and_index(stream, face_set):
    forward = [stream[i] for i in range(6)]
    backward = [stream[i] for i in reversed(range(6))][::-1]
    again = FaceStream(face_set(5), 16, LIVELY, preset("mixed"), seed=3)
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))
    assert all(same(a, again[i]) for i, a in enumerate(forward))
    other = FaceStream(stream.faces, 16, LIVELY, preset("mixed"), seed=4)
    assert not any(same(a, b) for a, b in itertools.combinations([*forward, other[0]], 2))


def test_a_mixture_degrades_as_its_parts_do(face_set):
    faces = face_set(1)
    mixed, scan, both = (
        [FaceStream(faces, 16, LIVELY, recipe_of(how), seed=3)[i] for i in range(12)]
        for how in ({"mixed": 1}, {"scan": 1}, {"mixed": 1, "scan": 1})
    )
    sources = [(same(c, a), same(c, b)) for a, b, c in zip(mixed, scan, both, strict=True)]
    assert set(sources) == {(True, False), (False, True)}


def test_samples_are_pairs_of_bytes_and_a_recipe_does_not_change_the_hq_view(stream):
    sample = stream[0]
    assert sample.keys() == {"hq", "lq", "face", "mirrored", "fine", "coloured"}
    assert all(
        (sample[name].shape, sample[name].dtype) == ((3, 16, 16), torch.uint8) for name in ("hq", "lq")
    )
    assert not torch.equal(sample["hq"], sample["lq"])
    plain = FaceStream(stream.faces, 16, LIVELY, None, seed=3)
    assert plain[0].keys() == sample.keys() - {"lq", "coloured"}
    assert all(torch.equal(stream[i]["hq"], plain[i]["hq"]) for i in range(5))


def test_a_sample_knows_whether_its_colours_are_left(face_set):
    faces = face_set(1)
    for how, kinds in (("heavy", {True}), ("scan", {True, False})):
        stream = FaceStream(faces, 16, Augmentation(), recipe_of({how: 1}), seed=3)
        assert {bool(stream[i]["coloured"]) for i in range(30)} == kinds


def test_weights_are_shares_of_the_draws(tmp_path):
    faces = replace(uniform(tmp_path / "a", 4, 0, 100, 200), weights=np.array([3.0, 0.0, 1.0]))
    stream = FaceStream(faces, 4, Augmentation(), None, seed=0)
    drawn = [int(stream[i]["hq"][0, 0, 0]) for i in range(800)]
    assert drawn.count(100) == 0
    assert 0.69 < drawn.count(0) / 800 < 0.81


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_do_not_depend_on_workers(stream, workers):
    got = list(batches(stream, batch=3, start=6, steps=7, workers=workers))
    assert len(got) == 7
    for step, batch in enumerate(got):
        samples = [stream[6 + 3 * step + i] for i in range(3)]
        assert same(batch, {key: torch.stack([s[key] for s in samples]) for key in samples[0]})


def test_leaving_a_batch_loop_early(stream):
    loop = batches(stream, batch=2, start=0, steps=10**9, workers=2)
    assert same(next(loop), next(batches(stream, batch=2, start=0, steps=1, workers=1)))
    loop.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_file_that_vanishes_or_changes_in_a_run_is_named(face_set, workers):
    faces = face_set(3)
    save(faces.files[2], np.zeros((20, 24, 3), np.uint8))
    faces.files[1].unlink()
    for left, message in (
        ([0, 1], r"^\S*set/001\.png: no such file$"),
        ([0, 2], r"set/002\.png: was 24 px wide and high .* is now 24 x 20"),
    ):
        stream = FaceStream(faces.part(left), 16, LIVELY, None, seed=0)
        with pytest.raises(InputError, match=message):
            list(batches(stream, batch=2, start=0, steps=20, workers=workers))
    content = faces.files[0].read_bytes()
    faces.files[0].write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"set/000\.png: damaged"):  # its header is whole
        replace(faces, cache=FaceCache(0)).picture(0)


def test_a_damaged_file_is_passed_over(face_set, caplog):
    faces = replace(face_set(3), cache=FaceCache(0))
    whole = FaceStream(faces, 16, LIVELY, None, seed=0)
    drawn = [int(whole[index]["face"]) for index in range(20)]
    content = faces.files[1].read_bytes()
    faces.files[1].write_bytes(content[: len(content) // 2])
    stream = FaceStream(faces, 16, LIVELY, None, seed=0)
    assert [int(stream[index]["face"]) for index in range(20)] == [2 if face == 1 else face for face in drawn]
    assert [record.message.count("set/001.png: damaged") for record in caplog.records] == [1]  # once
    with pytest.raises(InputError, match="damaged"):
        FaceStream(faces.part([1]), 16, LIVELY, None, seed=0)[0]


def test_fixed_batch_shows_every_face_once(face_set):
    faces = face_set(4, size=16, weights=[0, 1, 2, 3])
    batch = fixed_batch(faces, 16, preset("heavy"), seed=1)
    for hq, picture in zip(batch["hq"], pictures_of(faces), strict=True):
        assert np.array_equal(hq.permute(1, 2, 0).numpy(), picture)
    assert same(batch, fixed_batch(faces, 16, preset("heavy"), seed=1))
    assert not torch.equal(batch["lq"], fixed_batch(faces, 16, preset("heavy"), seed=2)["lq"])


def test_split_is_a_partition(face_set):
    faces = face_set(20, weights=np.arange(20) + 1)
    parts = split(faces, 6)
    assert [len(part) for part in parts] == [14, 6]
    assert sorted(parts[0].names + parts[1].names) == sorted(faces.names)
    for part in parts:
        for number, name in enumerate(part.names):
            at = faces.names.index(name)
            assert part.picture(number) is faces.picture(at)  # one cache for all parts
            assert (part.weights[number], part.sides[number]) == (faces.weights[at], faces.sides[at])


def test_split_goes_by_name_not_by_order(face_set):
    faces = face_set(20)
    shuffled = faces.part(range(19, -1, -1))
    assert split(faces, 6)[1].names == split(shuffled, 6)[1].names
    # Where all are fine it is the hash alone.
    by_hash = sorted(faces.names, key=lambda name: hashlib.sha256(Path(name).stem.encode()).hexdigest())
    assert split(faces, 6)[1].names == tuple(by_hash[:6])
    with pytest.raises(ConfigError, match=r"data\.holdout = 20"):
        split(faces, 20)


def test_fine_faces_are_held_out_as_long_as_there_are_enough(face_set):
    faces = face_set(20)
    mixed = replace(faces, sides=np.where(np.arange(20) % 3, 20, 24))  # seven are fine
    fine = set(mixed.names[::3])
    train, held = split(mixed, 5)
    assert set(held.names) < fine
    assert len(train) == 15
    only_fine = mixed.part(range(0, 20, 3))
    assert held.names == split(only_fine, 5)[1].names  # coarse ones do not move the choice
    assert fine < set(split(mixed, 9)[1].names)


def test_what_one_run_is_measured_on_no_other_is_trained_on(face_set):
    """Faces taken away, other ones, another size, another folder: still none is seen in training."""
    large = face_set(400, size=6)
    apart = {name for name in large.names if hashlib.sha256(Path(name).stem.encode()).digest()[0] < 16}
    assert 15 < len(apart) < 35
    held = set(split(large, 15)[1].names)
    rng = np.random.default_rng(3)
    for count in (390, 300, 200):
        some = large.part(sorted(rng.choice(400, count, replace=False)))
        train, measured = split(some, 5)
        assert not held & set(train.names)
        assert len(train) > 0.9 * count - 5
        half = replace(some, names=tuple(f"half/{Path(name).stem}.webp" for name in some.names))
        both = replace(
            half.part(range(len(half))),
            names=some.names + half.names,
            files=some.files + half.files,
            sides=np.concatenate([some.sides, half.sides // 2]),
            weights=np.concatenate([some.weights, half.weights]),
        )
        stems = {Path(name).stem for name in measured.names}
        assert split(both, 5)[1].names == measured.names
        assert not stems & {Path(name).stem for name in split(both, 5)[0].names}


def test_digest_sees_names_and_files(face_set):
    same, again, renamed = (face_set(3, names=n).digest for n in (None, None, ["x.png", "y.png", "z.png"]))
    assert same == again != renamed
    faces = face_set(3)
    with faces.files[1].open("ab") as file:
        file.write(b"x")
    expected = hashlib.sha256()
    for name, file in zip(faces.names, faces.files, strict=True):
        expected.update(name.encode() + hashlib.sha256(file.read_bytes()).digest())
    assert faces.digest == expected.hexdigest()[:16] != same


def test_digest_reads_every_file_once_and_names_the_missing(face_set, monkeypatch):
    faces = face_set(3)
    gap = replace(faces)
    read = []
    real = Path.open

    def counted(file, *mode):
        read.append(file)
        return real(file, *mode)

    monkeypatch.setattr(Path, "open", counted)
    assert len({faces.digest for _ in range(4)}) == 1
    assert read == list(faces.files)
    faces.files[1].unlink()
    with pytest.raises(InputError, match=r"001\.png: cannot be read \(No such file"):
        _ = gap.digest


def test_read_faces(tmp_path, rng):
    large, small = (rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (40, 20))
    save(tmp_path / "a/2.png", large)
    save(tmp_path / "a/1.png", small)
    save(tmp_path / "b/1.png", large)
    (tmp_path / "a/notes.txt").write_text("no picture")
    faces = read_faces([Folder(tmp_path / "a"), Folder(tmp_path / "b", 0.5)], size=32)
    assert faces.names == ("a/1.png", "a/2.png", "b/1.png")
    assert faces.weights.tolist() == [1.0, 1.0, 0.5]
    assert faces.sides.tolist() == [20, 40, 40]
    assert faces.fine.tolist() == [False, True, True]
    assert np.array_equal(faces.picture(1), large)
    enlarged = cv2.resize(small, (32, 32), interpolation=cv2.INTER_CUBIC)  # to the network's size
    assert np.array_equal(faces.picture(0), enlarged)
    assert len(read_faces([Folder(tmp_path / "a")], size=32, limit=1)) == 1


def test_file_names_of_another_folder_are_left_out(tmp_path):
    uniform(tmp_path / "small", 16, 1, 2, 3, 4)
    uniform(tmp_path / "large", 32, 1, 2)
    (tmp_path / "large/1.png").rename(tmp_path / "large/2.png")
    large, small = Folder(tmp_path / "large"), Folder(tmp_path / "small", 0.5, tmp_path / "large")
    faces = read_faces([large, small], 32)
    assert faces.names == ("large/0.png", "large/2.png", "small/1.png", "small/3.png")
    assert faces.weights.tolist() == [1, 1, 0.5, 0.5]
    assert faces.fine.tolist() == [True, True, False, False]
    # The limit counts what is left, and does not bring a person in twice.
    few = read_faces([large, small], 32, limit=1)
    assert few.names == ("large/0.png", "small/1.png")
    assert [file.parent.name + "/" + file.name for file in few.files] == list(few.names)
    assert few.sides.tolist() == [32, 16]
    with pytest.raises(InputError, match=r"large: nothing is left of it without the pictures in .*small"):
        read_faces([Folder(tmp_path / "large", 1.0, tmp_path / "small")], 16)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_faces([Folder(tmp_path / "small", 1.0, tmp_path / "nowhere")], 16)


def test_samples_say_whether_their_files_are_large_enough(tmp_path):
    uniform(tmp_path / "small", 16, 0, 10)
    uniform(tmp_path / "large", 32, 200, 210)
    faces = read_faces([Folder(tmp_path / "small"), Folder(tmp_path / "large")], 32)
    full = [FaceStream(faces, 32, LIVELY, None, seed=0)[i] for i in range(30)]
    assert all(bool(sample["fine"]) == (int(sample["face"]) >= 2) for sample in full)
    assert {bool(sample["fine"]) for sample in full} == {True, False}
    half = FaceStream(faces, 16, LIVELY, None, seed=0)  # a phase at half the network's size
    assert all(half[i]["fine"] for i in range(30))
    (batch,) = batches(FaceStream(faces, 32, LIVELY, None, seed=0), 30, 0, 1, workers=2)
    assert batch["fine"].dtype == torch.bool
    assert batch["fine"].tolist() == [bool(sample["fine"]) for sample in full]


@pytest.mark.parametrize("cache_mb", [0, 2048])
def test_samples_are_what_they_were_when_all_faces_were_in_memory(tmp_path, rng, cache_mb):
    """Against a stream written out: the same draws in the same order, from pictures read beforehand."""
    for number, side in enumerate((40, 32, 24, 12)):
        save(tmp_path / f"a/{number}.png", rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    weights = np.array([1.0, 2.0, 0.5, 1.0])
    faces = read_faces([Folder(tmp_path / "a")], 32, cache_mb=cache_mb)
    stream = FaceStream(replace(faces, weights=weights), 24, LIVELY, preset("mixed"), seed=5)
    memory = [read_picture(file).pixels for file in sorted((tmp_path / "a").iterdir())]
    memory = [
        pixels if len(pixels) >= 32 else cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_CUBIC)
        for pixels in memory
    ]
    for index in range(20):
        draw = np.random.default_rng((5, index))
        which = int(np.searchsorted(np.cumsum(weights) / weights.sum(), draw.random(), side="right"))
        hq, mirrored = augment(memory[which], LIVELY, 24, draw)
        lq = apply(hq, preset("mixed").draw(draw, 24))
        sample = stream[index]
        assert (int(sample["face"]), bool(sample["mirrored"])) == (which, mirrored)
        assert np.array_equal(sample["hq"].permute(1, 2, 0).numpy(), hq)
        assert np.array_equal(sample["lq"].permute(1, 2, 0).numpy(), lq)


def test_sixteen_bits_become_eight(tmp_path):
    save(tmp_path / "a/1.png", np.full((16, 16, 3), 257 * 77, np.uint16))
    picture = read_faces([Folder(tmp_path / "a")], size=16).picture(0)
    assert picture.dtype == np.uint8
    assert (picture == 77).all()


@pytest.mark.parametrize(
    ("shape", "match"), [((40, 30), "30 x 40"), ((11, 11), "at least 12 px; this one is 11 x 11")]
)
def test_wrong_faces_are_named(tmp_path, shape, match):
    save(tmp_path / "a/bad.png", np.zeros((*shape, 3), np.uint8))
    with pytest.raises(InputError, match=rf"bad\.png: training faces must be square.*{match}"):
        read_faces([Folder(tmp_path / "a")], size=32)


def test_three_eighths_of_the_networks_side_will_do(tmp_path):
    assert uniform(tmp_path / "a", 12, 0).sides.tolist() == [12]
    assert read_faces([Folder(tmp_path / "a")], 32).picture(0).shape == (32, 32, 3)
    with pytest.raises(InputError, match="at least 13 px"):
        read_faces([Folder(tmp_path / "a")], 33)


def test_a_file_that_is_no_picture_is_named_at_the_start(tmp_path):
    uniform(tmp_path / "a", 32, 0)
    for name, content in (("b.png", b"no picture"), ("b.png", b""), ("b.webp", b"RIFF....WEBPVP8 ")):
        (tmp_path / "a" / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"a/{name}: (not a picture|the file is empty|damaged)"):
            read_faces([Folder(tmp_path / "a")], 32)
        (tmp_path / "a" / name).unlink()
    (tmp_path / "a/gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match=r"gone\.png: no such file"):
        read_faces([Folder(tmp_path / "a")], 32)
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="no such folder, or no pictures"):
            read_faces([Folder(folder)], size=32)


def test_ranges():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    signed = to_signed(levels)
    assert (signed.min(), signed.max()) == (-1, 1)
    torch.testing.assert_close(to_unit(signed) * 255, levels.float())
    assert levels.view(-1)[200] == 200  # the batch itself is not changed
    assert to_unit(torch.tensor([-3.0, 3.0])).tolist() == [0, 1]


def test_processes_share_every_stretch(stream):
    """Two that take three samples each of every six have, together, what one with six has."""
    whole = list(batches(stream, batch=6, start=12, steps=3, workers=0))
    halves = [list(batches(stream, 3, 12 + 3 * rank, 3, 0, stride=6)) for rank in range(2)]
    for step, batch in enumerate(whole):
        joined = {key: torch.cat([half[step][key] for half in halves]) for key in batch}
        assert same(batch, joined)


def test_of_a_prepared_folder_the_faces_are_taken(tmp_path):
    for name in ("contact.jpg", "faces/a.webp", "faces/._a.webp", "rejected/b.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in pictures_in(tmp_path)] == ["contact.jpg"]
    (tmp_path / "manifest.csv").touch()
    assert pictures_in(tmp_path) == [tmp_path / "faces/a.webp"]

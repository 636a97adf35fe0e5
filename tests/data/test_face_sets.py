"""Folders of faces, the split, and streams of samples that do not depend on order or workers."""

import itertools

import cv2
import numpy as np
import pytest
import torch

from facemend.data.augment import Augmentation
from facemend.data.faces import (
    FaceSet,
    FaceStream,
    batches,
    fixed_batch,
    read_faces,
    split,
    to_signed,
    to_unit,
)
from facemend.degradations import preset, recipe_of
from facemend.errors import ConfigError, InputError

LIVELY = Augmentation(crop=(0.6, 1.1), rotate=10, shift=0.05, light=0.2)


def face_set(count, size=24, weights=None, names=None):
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    pictures = tuple(cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC) for picture in coarse)
    names = tuple(names or (f"set/{i:03}.png" for i in range(count)))
    return FaceSet(names, pictures, np.ones(count) if weights is None else np.array(weights, float))


@pytest.fixture
def stream():
    return FaceStream(face_set(5), 16, LIVELY, preset("mixed"), seed=3)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def save(path, array):
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(array[..., ::-1]))


def test_a_sample_is_a_function_of_seed_and_index(stream):
    forward = [stream[i] for i in range(6)]
    backward = [stream[i] for i in reversed(range(6))][::-1]
    again = FaceStream(face_set(5), 16, LIVELY, preset("mixed"), seed=3)
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))
    assert all(same(a, again[i]) for i, a in enumerate(forward))
    assert not any(same(a, b) for a, b in itertools.combinations(forward, 2))


def test_another_seed_gives_other_samples(stream):
    other = FaceStream(stream.faces, 16, LIVELY, preset("mixed"), seed=4)
    assert not same(stream[0], other[0])


def test_a_mixture_degrades_as_its_parts_do():
    faces = face_set(1)
    mixed, scan, both = (
        [FaceStream(faces, 16, LIVELY, recipe_of(how), seed=3)[i] for i in range(12)]
        for how in ({"mixed": 1}, {"scan": 1}, {"mixed": 1, "scan": 1})
    )
    sources = [(same(c, a), same(c, b)) for a, b, c in zip(mixed, scan, both, strict=True)]
    assert set(sources) == {(True, False), (False, True)}


def test_samples_are_pairs_of_bytes(stream):
    sample = stream[0]
    assert sample.keys() == {"hq", "lq", "face", "mirrored"}
    assert all(sample[name].shape == (3, 16, 16) for name in ("hq", "lq"))
    assert all(sample[name].dtype == torch.uint8 for name in ("hq", "lq"))
    assert not torch.equal(sample["hq"], sample["lq"])
    assert FaceStream(stream.faces, 16, LIVELY, None, seed=3)[0].keys() == {"hq", "face", "mirrored"}


def test_a_recipe_does_not_change_the_hq_view(stream):
    plain = FaceStream(stream.faces, 16, LIVELY, None, seed=3)
    assert all(torch.equal(stream[i]["hq"], plain[i]["hq"]) for i in range(5))


def test_channels_are_rgb_in_front():
    red = FaceSet(("red",), (np.full((8, 8, 3), (255, 0, 10), np.uint8),), np.ones(1))
    hq = FaceStream(red, 8, Augmentation(), None, seed=0)[0]["hq"]
    assert hq[:, 4, 4].tolist() == [255, 0, 10]


def test_weights_are_shares_of_the_draws():
    pictures = tuple(np.full((4, 4, 3), value, np.uint8) for value in (0, 100, 200))
    faces = FaceSet(("a", "b", "c"), pictures, np.array([3.0, 0.0, 1.0]))
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


def test_batches_resume_where_they_stopped(stream):
    whole = list(batches(stream, batch=2, start=0, steps=6, workers=2))
    rest = list(batches(stream, batch=2, start=2 * 4, steps=2, workers=1))
    assert all(same(a, b) for a, b in zip(whole[4:], rest, strict=True))


def test_leaving_a_batch_loop_early(stream):
    loop = batches(stream, batch=2, start=0, steps=10**9, workers=2)
    assert same(next(loop), next(batches(stream, batch=2, start=0, steps=1, workers=1)))
    loop.close()


def test_an_error_in_a_worker_arrives():
    broken = FaceStream(
        FaceSet(("a",), (np.zeros((4, 4), np.uint8),), np.ones(1)), 16, LIVELY, preset("mixed"), seed=0
    )
    with pytest.raises(ValueError, match="axes"):
        next(batches(broken, batch=1, start=0, steps=1, workers=1))


def test_fixed_batch_shows_every_face_once():
    faces = face_set(4, size=16)
    batch = fixed_batch(faces, 16, preset("heavy"), seed=1)
    for hq, picture in zip(batch["hq"], faces.pictures, strict=True):
        assert np.array_equal(hq.permute(1, 2, 0).numpy(), picture)
    assert same(batch, fixed_batch(faces, 16, preset("heavy"), seed=1))
    assert not torch.equal(batch["lq"], fixed_batch(faces, 16, preset("heavy"), seed=2)["lq"])


def test_split_is_a_partition():
    faces = face_set(20, weights=np.arange(20) + 1)
    train, held = split(faces, 6)
    assert len(train) == 14
    assert len(held) == 6
    assert sorted(train.names + held.names) == sorted(faces.names)
    for part in (train, held):
        for name, picture, weight in zip(part.names, part.pictures, part.weights, strict=True):
            at = faces.names.index(name)
            assert picture is faces.pictures[at]
            assert weight == faces.weights[at]


def test_split_goes_by_name_not_by_order():
    faces = face_set(20)
    shuffled = face_set(20, names=faces.names[::-1])
    assert set(split(faces, 6)[1].names) == set(split(shuffled, 6)[1].names)


def test_no_training_face_becomes_held_out_when_faces_are_added():
    faces = face_set(20)
    more = face_set(40)
    assert set(more.names) > set(faces.names)
    assert not set(split(faces, 6)[0].names) & set(split(more, 6)[1].names)


def test_split_must_leave_something():
    with pytest.raises(ConfigError, match=r"data\.holdout = 5"):
        split(face_set(5), 5)


def test_digest_sees_names_and_pixels():
    one, same_again, renamed = face_set(3), face_set(3), face_set(3, names=["x", "y", "z"])
    assert one.digest == same_again.digest != renamed.digest
    same_again.pictures[1][0, 0, 0] ^= 1
    assert one.digest != same_again.digest


def test_read_faces(tmp_path, rng):
    large, small = (rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (40, 20))
    save(tmp_path / "a/2.png", large)
    save(tmp_path / "a/1.png", small)
    save(tmp_path / "b/1.png", large)
    (tmp_path / "a/notes.txt").write_text("no picture")
    faces = read_faces([(tmp_path / "a", 1.0), (tmp_path / "b", 0.5)], size=32)
    assert faces.names == ("a/1.png", "a/2.png", "b/1.png")
    assert faces.weights.tolist() == [1.0, 1.0, 0.5]
    assert np.array_equal(faces.pictures[1], large)
    assert faces.pictures[0].shape == (32, 32, 3)  # enlarged to the network's size
    assert len(read_faces([(tmp_path / "a", 1.0)], size=32, limit=1)) == 1


def test_sixteen_bits_become_eight(tmp_path):
    save(tmp_path / "a/1.png", np.full((16, 16, 3), 257 * 77, np.uint16))
    (picture,) = read_faces([(tmp_path / "a", 1.0)], size=16).pictures
    assert picture.dtype == np.uint8
    assert (picture == 77).all()


@pytest.mark.parametrize(("shape", "match"), [((40, 30), "30 x 40"), ((15, 15), "at least 16 px")])
def test_wrong_faces_are_named(tmp_path, shape, match):
    save(tmp_path / "a/bad.png", np.zeros((*shape, 3), np.uint8))
    with pytest.raises(InputError, match=rf"bad\.png: .*square.*{match}|bad\.png: .*{match}"):
        read_faces([(tmp_path / "a", 1.0)], size=32)


def test_missing_and_empty_folders(tmp_path):
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="no such folder, or no pictures"):
            read_faces([(folder, 1.0)], size=32)


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


def test_samples_say_which_face_and_whether_mirrored():
    faces = face_set(5)
    stream = FaceStream(faces, faces.pictures[0].shape[0], Augmentation(), None, seed=0)
    seen = set()
    for index in range(40):
        sample = stream[index]
        picture = torch.from_numpy(faces.pictures[int(sample["face"])]).permute(2, 0, 1)
        mirrored = bool(sample["mirrored"])
        assert torch.equal(sample["hq"], picture.flip(2) if mirrored else picture)
        seen.add((int(sample["face"]), mirrored))
    assert len(seen) > 7

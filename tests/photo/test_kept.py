"""What is kept on disk gives the same picture as what is held in memory."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from facemend.errors import ConfigError, InputError, OutputError
from facemend.imaging import Picture
from facemend.photo import kept as keep
from facemend.photo.prepared import Prepared
from facemend.photo.restore import Restorer


@pytest.fixture(scope="module")
def family(portrait) -> Picture:
    """Three faces of one portrait side by side, of different sizes, and one too small to restore."""
    canvas = np.full((400, 900, 3), 90, np.uint8)
    x = 0
    for scale in (1.0, 0.8, 0.6, 0.12):
        part = portrait.resized(scale).pixels
        canvas[: len(part), x : x + part.shape[1]] = part
        x += part.shape[1]
    return Picture(canvas)


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return Restorer(threads=1, min_face=30, upscale=1)


@pytest.fixture(scope="module")
def result(restorer, family):
    return restorer.restore(family)


def apart(a: Picture, b: Picture) -> int:
    return int(np.abs(a.pixels.astype(int) - b.pixels.astype(int)).max())


def test_kept_and_taken_back_gives_the_same_picture(restorer, result, tmp_path):
    assert len(result.faces) == 3
    keep.save(result.prepared, tmp_path / "kept.npz")
    again = keep.load(tmp_path / "kept.npz", result.prepared.picture)
    for w in (0.0, 1.0):
        here, there = restorer.redo(result, w), restorer.redo(again, w)
        assert apart(here.picture, there.picture) <= 1
        assert here.notes == there.notes
        assert [f.reason for f in here.skipped] == [f.reason for f in there.skipped]
        for a, b in zip(here.faces, there.faces, strict=True):
            assert a.face.box == b.face.box
            assert a.face.score == b.face.score
            np.testing.assert_array_equal(a.matrix, b.matrix)
            np.testing.assert_array_equal(a.face.landmarks, b.face.landmarks)
            assert np.abs(a.restored - b.restored).max() < 1 / 255
    assert apart(restorer.redo(again, 0.0).picture, restorer.redo(again, 1.0).picture) > 10


def test_half_floats_are_only_for_networks_that_have_chosen(result, tiny_model, family, tmp_path):
    keep.save(result.prepared, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert file["encoded_style"].dtype == np.float16
        assert file["encoded_codes"].dtype == np.int64
    encoded = result.prepared.encoded
    large = {**encoded.outputs, "style": encoded.outputs["style"] * 1e6}
    keep.save(replace(result.prepared, encoded=replace(encoded, outputs=large)), tmp_path / "c.npz")
    beyond = keep.load(tmp_path / "c.npz", family).encoded.outputs["style"]
    np.testing.assert_array_equal(beyond, large["style"])
    tiny = Restorer(model=str(tiny_model), threads=1).restore(family)
    keep.save(tiny.prepared, tmp_path / "b.npz")
    # As a model of one graph: all of it runs again, and a face rounded to halves could get other codes.
    again = keep.load(tmp_path / "b.npz", family)
    np.testing.assert_array_equal(again.encoded.outputs["z"], tiny.prepared.encoded.outputs["z"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_drawn_background_is_kept(tiny_model, rng, dtype, tmp_path):
    picture = Picture(np.zeros((20, 30, 3), dtype), np.full((20, 30), 9, dtype), exif=b"Exif", format="webp")
    drawn = replace(
        picture,
        pixels=rng.integers(0, 255, (40, 60, 3)).astype(dtype),
        alpha=rng.integers(0, 255, (40, 60)).astype(dtype),
    )
    keep.save(Prepared(picture, background=drawn), tmp_path / "kept.npz")
    again = keep.load(tmp_path / "kept.npz", picture).background
    np.testing.assert_array_equal(again.pixels, drawn.pixels)
    np.testing.assert_array_equal(again.alpha, drawn.alpha)
    assert (again.exif, again.format) == (b"Exif", "webp")


def test_photos_without_faces_gray_ones_and_aligned_crops(tiny_model, portrait, tmp_path):
    empty = Picture(np.zeros((40, 60, 3), np.uint8))
    gray = replace(portrait, pixels=np.repeat(portrait.pixels[..., :1], 3, axis=2), gray=True)
    for number, (picture, aligned) in enumerate([(empty, False), (gray, False), (portrait, True)]):
        restorer = Restorer(model=str(tiny_model), aligned=aligned, upscale=2, threads=1)
        result = restorer.restore(picture)
        path = tmp_path / f"{number}.npz"
        keep.save(result.prepared, path)
        again = restorer.redo(keep.load(path, picture), 0.1)
        assert apart(again.picture, restorer.redo(result, 0.1).picture) <= 1
        assert again.notes == result.notes


def test_some_faces_only(restorer, result, family):
    middle = restorer.redo(result, 0.5, faces=[1])
    whole = restorer.redo(result, 0.5)
    assert [f.face.box for f in middle.faces] == [result.faces[1].face.box]
    assert [f.reason for f in middle.skipped[-2:]] == ["not chosen", "not chosen"]
    changed = (middle.picture.pixels != family.pixels).any(axis=(0, 2))
    box = result.faces[1].face.box
    assert changed[int(box.x1) : int(box.x2)].any()
    np.testing.assert_array_equal(middle.picture.pixels[:, :150], family.pixels[:, :150])
    columns = np.s_[:, int(box.x1) : int(box.x2)]
    # Alone in its batch: sums may be rounded otherwise.
    assert apart(Picture(middle.picture.pixels[columns]), Picture(whole.picture.pixels[columns])) <= 1
    none = restorer.redo(result, 0.5, faces=[])
    assert none.faces == ()
    np.testing.assert_array_equal(none.picture.pixels, family.pixels)
    # Another choice starts from all faces again.
    assert len(restorer.redo(middle, 0.5).faces) == 3
    assert len(restorer.redo(middle, 0.5, faces=[2, 0, 2]).faces) == 2


def test_chosen_faces_keep_their_numbers_on_disk(family, tmp_path):
    last = Restorer(threads=1, min_face=30, upscale=1, faces=(2,)).restore(family)
    keep.save(last.prepared, tmp_path / "kept.npz")
    again = keep.load(tmp_path / "kept.npz", last.prepared.picture)
    assert again.chosen == last.prepared.chosen == (2,)


@pytest.mark.parametrize("index", [3, -1, 99])
def test_a_face_that_is_not_there(restorer, result, index):
    with pytest.raises(ConfigError, match=f"no face {index} was found: there are faces 0 to 2"):
        restorer.redo(result, 0.5, faces=[index])
    with pytest.raises(ConfigError, match="there are no faces"):
        Prepared(result.prepared.picture).only([index])


@pytest.mark.parametrize("aligned", [False, True])
def test_onto_the_enlarged_photo_is_what_upscale_does(tiny_model, family, aligned):
    double = Restorer(model=str(tiny_model), upscale=2, aligned=aligned, threads=1)
    result = double.restore(family)
    onto = result.prepared.onto(family.resized(2))
    again = Restorer(model=str(tiny_model), aligned=aligned, threads=1).redo(onto, 0.5)
    np.testing.assert_array_equal(again.picture.pixels, result.picture.pixels)
    assert [f.face for f in again.faces] == [f.face for f in result.faces]


def test_parts_are_told_and_can_stop_the_work(restorer, family):
    parts = []
    restorer.restore(family, on_part=parts.append)
    assert list(dict.fromkeys(parts)) == [
        "detect",
        "align",
        "encode",
        "background",
        "decode",
        "mask",
        "paste",
    ]

    def stop(part):
        if part == "encode":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        restorer.restore(family, on_part=stop)


def test_damaged_files_are_refused_in_one_line(result, family, tmp_path):
    path = tmp_path / "kept.npz"
    keep.save(result.prepared, path)
    data = path.read_bytes()
    with pytest.raises(InputError, match="no such file"):
        keep.load(tmp_path / "other.npz", family)
    with pytest.raises(InputError, match="another version"):
        keep.load(path, family.resized(0.5))
    for cut in (0, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(InputError, match=r"kept\.npz: damaged"):
            keep.load(path, family)
    np.savez(path, said=np.array([{"a": 1}], dtype=object), allow_pickle=True)  # pickles are never opened
    with pytest.raises(InputError, match="damaged"):
        keep.load(path, family)


def test_nothing_half_written_is_left(result, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "open", full)
    with pytest.raises(OutputError, match=r"kept\.npz: cannot be written"):
        keep.save(result.prepared, tmp_path / "kept.npz")
    assert list(tmp_path.iterdir()) == []

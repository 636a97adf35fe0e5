"""`Restorer` and its like take every kind of picture; what they give back can be saved and handed on."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemend import Colorizer, Inpainter, Picture, Restorer
from facemend.errors import InputError, OutputError, TooLargeError
from facemend.imaging import read_picture, write_picture
from facemend.photo.file import do_picture


@pytest.fixture(scope="module")
def restorer(tiny_model):
    return Restorer(model=str(tiny_model), threads=1, w=0.0)


def test_every_kind_gives_the_same(photo, restorer):
    picture = read_picture(photo)
    pillow = Image.open(BytesIO(photo.read_bytes()))
    kinds = [photo, str(photo), photo.read_bytes(), pillow, picture.pixels, picture, picture.as_float()]
    results = [*restorer.restore_many(kinds), restorer.restore(photo)]
    expected = results[0].to_array()
    for given, result in zip([*kinds, photo], results, strict=True):
        assert len(result.faces) == 1
        array = result.to_array()
        assert array.dtype == (np.uint16 if given is kinds[-1] else np.uint8)
        off = np.abs(array / (np.iinfo(array.dtype).max / 255) - expected)
        # Crops of an 8-bit photo are rounded before the network sees them: a few values differ by more than
        # the output's own rounding, how many by how a processor adds up.
        assert off.max() <= 2
        assert (off > 1).mean() < 1e-4
        assert result.inputs == ((photo,) if isinstance(given, str | Path) else ())
    assert np.array_equal(results[-1].to_array(), expected)
    crop = restorer.restore_aligned(str(photo))
    assert np.array_equal(crop.to_array(), restorer.restore_aligned(pillow).to_array())
    assert crop.inputs == (photo,)


def test_other_tasks_take_them_too(photo, portrait, tmp_path, task_model):
    colorizer = Colorizer(model=str(task_model("colorization", tint=(0.3, -0.1, -0.2))), threads=1)
    gray = np.asarray(Image.open(photo).convert("L"))
    assert colorizer.colorize(gray).to_pil().mode == "RGB"
    inpainter = Inpainter(model=str(task_model("inpainting", tint=(-0.6, -1.0, -1.2))), threads=1)
    hole = np.zeros(gray.shape, bool)
    hole[90:110, 165:185] = True
    Image.fromarray(hole).save(tmp_path / "mask.png")
    results = [
        inpainter.inpaint(photo, mask) for mask in (hole, tmp_path / "mask.png", str(tmp_path / "mask.png"))
    ]
    for result in results:
        assert np.array_equal(result.to_array(), results[0].to_array())
    assert (results[0].to_array() != read_picture(photo).pixels).any()
    with pytest.raises(OutputError, match=r"mask\.png: is an input"):
        results[1].save(tmp_path / "mask.png", overwrite=True)
    Image.new("1", (5, 4), 1).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"photo\.jpg with mask .*mask\.png: the mask is 5x4"):
        inpainter.inpaint(photo, tmp_path / "mask.png")


def test_save_writes_as_the_command_line_does(photo, restorer, tmp_path):
    result = restorer.restore(photo)
    out = result.save(str(tmp_path / "new/out.png"))
    assert out == tmp_path / "new/out.png"
    assert np.array_equal(read_picture(out).pixels, result.to_array())
    assert np.array_equal(np.asarray(result.to_pil()), result.to_array())
    write_picture(tmp_path / "like.jpg", result.picture)
    assert result.save(tmp_path / "same.jpg").read_bytes() == (tmp_path / "like.jpg").read_bytes()
    with pytest.raises(OutputError, match=r"out\.png: exists already.*overwrite=True"):
        result.save(out)
    closer = restorer.redo(result, w=1.0)
    closer.save(out, overwrite=True)
    assert np.array_equal(read_picture(out).pixels, closer.to_array())
    before = sorted(path for path in tmp_path.rglob("*"))
    for name, reason in (
        ("photo.jpg", "is an input"),
        ("out.txt", "cannot write this kind of file"),
        ("x", "use one of"),
    ):
        for each in (result, closer):
            with pytest.raises(OutputError, match=rf"{name}.*{reason}") as error:
                each.save(tmp_path / name, overwrite=True)
            assert "\n" not in str(error.value)
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_a_file_in_which_nothing_changes_is_copied(restorer, tmp_path, rng):
    path = tmp_path / "plain.jpg"
    write_picture(path, Picture.from_array(rng.random((40, 40, 3))))
    path.write_bytes(path.read_bytes() + b"what a picture cannot hold")
    result = restorer.restore(path)
    assert result.save(tmp_path / "out.jpg").read_bytes() == path.read_bytes()
    assert restorer.redo(result, w=1.0).save(tmp_path / "redone.jpg").read_bytes() == path.read_bytes()
    assert read_picture(result.save(tmp_path / "out.png")).format == "png"


def test_sixteen_bits_and_transparency_come_back(portrait, restorer, tmp_path):
    wide = portrait.pixels.astype(np.uint16) * 257
    alpha = np.full((*wide.shape[:2], 1), 40_000, np.uint16)
    result = restorer.restore(np.concatenate([wide, alpha], axis=2))
    array = result.to_array()
    assert (array.dtype, array.shape) == (np.uint16, (400, 320, 4))
    assert np.array_equal(array[-50:], np.concatenate([wide, alpha], axis=2)[-50:])
    assert np.array_equal(read_picture(result.save(tmp_path / "out.png")).to_array(), array)
    assert result.to_pil().mode == "RGBA"


def test_errors_name_the_file(photo, tmp_path, tiny_model):
    small = Restorer(model=str(tiny_model), threads=1, max_pixels=1000)
    for work in (
        small.restore,
        small.restore_aligned,
        lambda each: small.restore_many([np.zeros((9, 9, 3)), each]),
    ):
        with pytest.raises(TooLargeError, match=r"^\S*photo\.jpg: 320x400 .*megapixels"):
            work(photo)
        with pytest.raises(InputError, match=r"^\S*missing\.jpg: no such file"):
            work(tmp_path / "missing.jpg")
    with pytest.raises(TooLargeError, match=r"^320x400"):
        small.restore(read_picture(photo))
    with pytest.raises(InputError, match="cannot take a int"):
        small.restore(3)


def test_a_file_is_copied_only_while_it_is_what_was_read(restorer, tmp_path):
    path = tmp_path / "plain.png"
    write_picture(path, Picture(np.full((40, 50, 3), (1, 2, 3), np.uint8)))
    untouched, overwritten = restorer.restore(path), restorer.restore(path)
    untouched.save(tmp_path / "same.png")
    assert (tmp_path / "same.png").read_bytes() == path.read_bytes()
    write_picture(tmp_path / "other.png", Picture(np.full((40, 50, 3), (200, 2, 3), np.uint8)))
    (tmp_path / "other.png").replace(path)
    overwritten.save(tmp_path / "mine.png")
    assert tuple(read_picture(tmp_path / "mine.png").pixels[0, 0]) == (1, 2, 3)


def test_a_mask_is_never_taken_for_the_photo(restorer, tmp_path):
    """The only file of a run may be that."""
    mask = tmp_path / "mask.png"
    write_picture(mask, Picture.from_array(np.full((40, 50), 255, np.uint8)))
    photo = np.full((40, 50, 3), (1, 2, 3), np.uint8)
    do_picture(lambda taken, _: restorer.restore(taken), photo, mask).save(tmp_path / "out.png")
    assert tuple(read_picture(tmp_path / "out.png").pixels[0, 0]) == (1, 2, 3)


def test_faces_keep_their_numbers_when_they_are_done_again(tiny_model, two_faces):
    both = Restorer(model=str(tiny_model), threads=1)
    result = both.restore(two_faces)
    assert [number for number, _ in both.redo(result, 0.3, [1]).numbered()] == [2]
    assert [number for number, _ in both.redo(result, 0.3).numbered()] == [1, 2]
    second = Restorer(model=str(tiny_model), threads=1, faces=(1,)).restore(two_faces)
    assert [number for number, _ in both.redo(second, 0.3, [0]).numbered()] == [2]


@pytest.fixture
def two_faces(photo):
    pixels = read_picture(photo).pixels
    return np.concatenate([pixels, pixels], axis=1)


def test_crops_of_a_size_keep_to_the_largest_output(tiny_model, photo):
    small = Restorer(model=str(tiny_model), threads=1, aligned=True, size=3000, max_pixels=1_000_000)
    with pytest.raises(TooLargeError, match="at size 3000 gives 7 megapixels"):
        small.restore(photo)


def test_colours_of_a_cmyk_image_are_those_of_its_file(restorer, photo):
    image = Image.open(photo).convert("CMYK")
    file = BytesIO()
    image.save(file, "tiff")
    opened, read = restorer.restore(image), restorer.restore(file.getvalue())
    assert np.abs(opened.to_array().astype(int) - read.to_array()).max() <= 1
    assert all(any("is CMYK" in note for note in each.notes) for each in (opened, read))


def test_what_was_done_to_a_photo_without_a_face_is_said(tiny_model):
    noisy = np.random.default_rng(0).normal(128, 20, (96, 96, 3)).clip(0, 255).astype(np.uint8)
    result = Restorer(model=str(tiny_model), threads=1, background="clean", upscale=1).restore(noisy)
    assert "no face found: the photo was only cleaned" in result.notes


def test_notes_are_those_of_the_w_that_was_asked_for(tiny_model, photo):
    half, auto = (Restorer(model=str(tiny_model), threads=1, w=w) for w in (0.5, "auto"))
    blind = [
        any("damage" in note for note in notes)
        for notes in (half.redo(half.restore(photo), "auto").notes, auto.redo(auto.restore(photo), 0.3).notes)
    ]
    assert blind == [True, False]

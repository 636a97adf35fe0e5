"""Arrays of every kind: taken as the picture that they are, or refused in one line that says the fix."""

import numpy as np
import pytest
from PIL import Image

from facemend.errors import InputError
from facemend.imaging import Picture, as_picture

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
FLOATS = RGB / 255


def read_only():
    array = RGB.copy()
    array.flags.writeable = False
    return array


class FakeTensor:
    """Stands for a tensor: numpy takes it as an array, or is told why not."""

    def __init__(self, array=None):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        if self.array is None:
            raise TypeError("can't convert cuda:0 device type tensor to numpy.\nUse Tensor.cpu() first")
        return self.array


@pytest.mark.parametrize(
    "array",
    [
        RGB,
        np.asfortranarray(RGB),
        np.repeat(RGB, 2, axis=1)[:, ::2],
        RGB[::-1, :, ::-1].copy()[::-1, :, ::-1],
        read_only(),
        FLOATS,
        FLOATS.astype(np.float16),
        np.asfortranarray(FLOATS.astype(np.float32)),
        FLOATS.astype(">f8"),
        FLOATS + np.where(FLOATS == 1, 1e-6, 0),
        np.ma.masked_array(RGB, False),
        FakeTensor(RGB),
    ],
    ids=[
        "uint8",
        "fortran",
        "strided",
        "reversed",
        "read-only",
        "float64",
        "float16",
        "float32",
        "order",
        "hair",
        "unmasked",
        "tensor",
    ],
)
def test_the_same_picture_in_many_forms(array):
    assert np.array_equal(Picture.from_array(array).pixels, RGB)
    picture = as_picture(array)
    assert picture.pixels.flags.c_contiguous
    if picture.pixels.dtype == np.uint16:  # of floats
        assert np.abs(picture.pixels / 257.0 - RGB).max() < 0.1  # half floats have eleven bits
    else:
        assert np.array_equal(picture.to_array(), RGB)


def test_sixteen_bits_of_any_byte_order_and_bool():
    wide = RGB.astype(np.uint16) * 257
    assert np.array_equal(Picture.from_array(wide.astype(">u2")).to_array(), wide)
    mask = RGB[..., 0] > 99
    assert np.array_equal(Picture.from_array(mask).to_array(), mask * np.uint8(255))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_to_array_gives_what_from_array_took(channels):
    array = np.random.default_rng(1).integers(0, 65536, (4, 5, channels), dtype=np.uint16)
    picture = Picture.from_array(array)
    taken = picture.to_array()
    assert np.array_equal(taken, array[..., 0] if channels == 1 else array)
    taken[:] = 0
    assert picture.pixels.any()


def damaged(value):
    array = FLOATS.copy()
    array[2, 3, 1] = value
    return array


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (damaged(np.nan), "NaN or infinite"),
        (damaged(np.inf), "NaN or infinite"),
        (damaged(-np.inf).astype(np.float16), "NaN or infinite"),
        (RGB.astype(np.float32), "divide by 255"),
        (damaged(1.2), r"\[0, 1\].*scale or clip"),
        (FLOATS * 2 - 1, "scale or clip"),
        (FLOATS * 1e300, "scale or clip"),
        (RGB.astype(np.int64), "int64 .*uint8"),
        (RGB.astype(np.int8), "int8 .*uint8"),
        (RGB.astype(np.uint32), "uint32 .*uint8"),
        (FLOATS.astype(complex), "complex128 .*uint8"),
        (RGB.astype(object), "object .*uint8"),
        (RGB.astype(str), "uint8"),
        (np.ma.masked_equal(RGB, RGB[0, 0, 0]), r"masked values .*filled"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.zeros((5, 0)), "no pixels"),
        (np.zeros((5, 4, 0), np.uint8), "no pixels"),
        (np.zeros((5, 6, 5), np.uint8), r"\(5, 6, 5\) .*C = 1"),
        (np.moveaxis(RGB, -1, 0), "channels come last"),
        (RGB[None], "one picture at a time"),
        (np.uint8(3), r"shape \(\)"),
        (np.zeros(7, np.uint8), r"shape \(7,\)"),
        (FakeTensor(), "FakeTensor cannot be taken as an array .*cpu"),
        ([[1, 2], [3, 4]], "cannot take a list"),
        (None, "cannot take a NoneType"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(array, said):
    with pytest.raises(InputError, match=said) as error:
        as_picture(array)
    assert "\n" not in str(error.value)


def test_tensors_are_taken_without_an_import_of_torch():
    torch = pytest.importorskip("torch")
    assert np.array_equal(as_picture(torch.from_numpy(RGB.copy())).pixels, RGB)
    with pytest.raises(InputError, match="permute"):
        as_picture(torch.zeros(3, 8, 8))
    for tensor in (torch.zeros(8, 8, 3, requires_grad=True), torch.zeros(8, 8, 3, dtype=torch.bfloat16)):
        with pytest.raises(InputError, match="Tensor cannot be taken as an array"):
            as_picture(tensor)


PLANE = Image.fromarray(RGB[..., 0])
PALETTE = PLANE.convert("P")
PALETTE.putalpha(PLANE)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (PALETTE, Image.merge("RGBA", (PLANE,) * 4)),
        (Image.merge("LA", (PLANE, Image.new("L", (9, 6), 255))).convert("La"), "LA"),
        (Image.fromarray(RGB).convert("RGBa"), "RGBA"),
        (Image.fromarray(RGB).convert("HSV"), "RGB"),
        (Image.fromarray(FLOATS[..., 0].astype(np.float32)), FLOATS[..., 0]),
    ],
    ids=["PA", "La", "RGBa", "HSV", "F"],
)
def test_rare_modes_of_pillow(image, expected):
    like = image.convert(expected) if isinstance(expected, str) else expected
    assert np.array_equal(as_picture(image).to_array(), as_picture(like).to_array())


def test_pillow_images_without_a_picture(tmp_path):
    with pytest.raises(InputError, match="no pixels"):
        as_picture(Image.new("RGB", (0, 5)))
    with pytest.raises(InputError, match="int32"):
        as_picture(Image.new("I", (4, 4)))
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with Image.open(path) as image, pytest.raises(InputError, match="Pillow image cannot be read"):
        as_picture(image)


def test_pillow_images_are_turned_upright_and_keep_their_exif():
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112], exif[0x010E] = 6, "a caption"
    image.info["exif"] = exif.tobytes()
    picture = as_picture(image)
    assert np.array_equal(picture.pixels, np.rot90(RGB, -1))
    assert b"a caption" in picture.exif

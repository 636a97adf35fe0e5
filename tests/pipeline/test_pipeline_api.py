"""`facemend.restore`: the kind that comes out is the kind that went in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facemend
from facemend.errors import ConfigError, InputError, ModelNotFoundError, OutputError
from facemend.imaging import encode_picture, read_picture


@pytest.fixture
def options(tiny_model):
    return {"model": str(tiny_model), "threads": 1, "w": 0.0}


def test_path_to_path(photo, tmp_path, options):
    out = facemend.restore(photo, out=str(tmp_path / "new/out.png"), upscale=2, **options)
    assert out == tmp_path / "new/out.png"
    assert (read_picture(out).width, read_picture(out).height) == (640, 800)
    with pytest.raises(OutputError, match="exists already"):
        facemend.restore(photo, out=out, **options)
    assert facemend.restore(photo, out=out, overwrite=True, **options) == out
    before = photo.read_bytes()
    with pytest.raises(OutputError, match="is an input"):
        facemend.restore(photo, out=photo, overwrite=True, **options)
    assert photo.read_bytes() == before


def test_path_to_pillow(photo, options):
    image = facemend.restore(str(photo), **options)
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (320, 400))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16"])
def test_pillow_to_pillow(portrait, options, mode):
    image = Image.fromarray(portrait.pixels.copy())
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    restored = facemend.restore(image, **options)
    assert isinstance(restored, Image.Image)
    assert restored.size == image.size
    assert restored.mode == {"P": "RGB", "CMYK": "RGB", "1": "L"}.get(mode, mode)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_array_to_array(portrait, options, dtype, channels):
    array = portrait.as_float().astype(np.float64)
    if channels is None:
        array = array.mean(axis=2)
    elif channels == 1:
        array = array.mean(axis=2, keepdims=True)
    elif channels == 4:
        array = np.concatenate([array, np.full((400, 320, 1), 0.5)], axis=2)
    if dtype in (np.uint8, np.uint16):
        array = (array * np.iinfo(dtype).max).round()
    array = array.astype(dtype)
    before = array.copy()
    restored = facemend.restore(array, **options)
    assert restored.shape == array.shape
    assert restored.dtype == array.dtype
    assert np.array_equal(array, before)
    difference = np.abs(restored.astype(float) - array)
    top = 1 if dtype in (np.float32, np.float64) else np.iinfo(dtype).max
    assert difference.max() > 0.1 * top  # the face
    assert difference[-100:].max() <= 1e-5 * top  # below it


@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_bytes_to_bytes(portrait, options, format):
    data = encode_picture(portrait, format)
    restored = read_picture(facemend.restore(data, **options))
    assert restored.format == format
    assert (restored.width, restored.height) == (320, 400)


def test_picture_to_picture(portrait, options):
    restored = facemend.restore(portrait, **options)
    assert isinstance(restored, facemend.Picture)
    assert restored.exif == portrait.exif


def test_wrong_calls(photo, options):
    with pytest.raises(ConfigError, match="unknown option 'fidelity'"):
        facemend.restore(photo, fidelity=0.5)
    with pytest.raises(ConfigError, match="w must be"):
        facemend.restore(photo, w=2)
    with pytest.raises(ConfigError, match="out goes with the path"):
        facemend.restore(b"x", out=Path("a.jpg"), **options)
    with pytest.raises(InputError, match="cannot restore a list"):
        facemend.restore([1, 2], **options)
    with pytest.raises(InputError, match=r"missing\.jpg: no such file"):
        facemend.restore("missing.jpg", **options)
    with pytest.raises(InputError):
        facemend.restore(np.zeros((4, 4, 7)), **options)
    with pytest.raises(InputError):
        facemend.restore(np.zeros((40, 40, 3), np.int32), **options)
    with pytest.raises(ModelNotFoundError):
        facemend.restore(photo, model="no-such-model")

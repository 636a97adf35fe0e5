"""`facemend.restore`: the kind that comes out is the kind that went in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facemend
from facemend.errors import ConfigError, InputError, ModelNotFoundError, OutputError
from facemend.imaging import encode_picture, read_picture
from facemend.photo.options import DEFAULT_MODEL


@pytest.fixture
def options(tiny_model):
    return {"model": str(tiny_model), "threads": 1, "w": 0.0}


def test_path_to_path(photo, tmp_path, options, monkeypatch):
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
    monkeypatch.setattr(facemend.Restorer, "restore", lambda *_: pytest.fail("restored first"))
    with pytest.raises(OutputError, match=r"out\.txt: cannot write"):
        facemend.restore(photo, out=tmp_path / "out.txt", **options)


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
    with pytest.raises(InputError, match="cannot take a list"):
        facemend.restore([1, 2], **options)
    with pytest.raises(InputError, match=r"missing\.jpg: no such file"):
        facemend.restore("missing.jpg", **options)
    with pytest.raises(InputError):
        facemend.restore(np.zeros((4, 4, 7)), **options)
    with pytest.raises(InputError):
        facemend.restore(np.zeros((40, 40, 3), np.int32), **options)
    with pytest.raises(InputError, match=r"^https://example\.org/old\.jpg: addresses are not fetched"):
        facemend.restore("https://example.org/old.jpg", **options)
    with pytest.raises(OutputError, match="is a folder: name a file in it"):
        facemend.restore(photo, out=photo.parent, **options)
    with pytest.raises(ModelNotFoundError):
        facemend.restore(photo, model="no-such-model")


def test_wrong_calls_of_a_restorer(photo, options):
    with pytest.raises(ConfigError, match="give single ones by name"):
        facemend.Restorer("compact-512")
    with pytest.raises(ConfigError, match="takes an array, got a str"):
        facemend.degrade(str(photo))
    restorer = facemend.Restorer(**options)
    for one in (photo, str(photo), photo.read_bytes(), None):
        with pytest.raises(ConfigError, match="takes several pictures"):
            restorer.restore_many(one)
    (result,) = restorer.restore_many(path for path in [photo])
    for faces in ("largest", 0):
        with pytest.raises(ConfigError, match="faces must be indices"):
            restorer.redo(result, 0.2, faces=faces)
    with pytest.raises(ConfigError, match="redo takes a result of restore, got a str"):
        restorer.redo(str(photo), 0.2)


@pytest.fixture
def colours(task_model):
    return {"model": str(task_model("colorization", tint=(0.3, -0.1, -0.2))), "threads": 1}


@pytest.fixture
def filler(task_model):
    return {"model": str(task_model("inpainting", tint=(-0.6, -1.0, -1.2))), "threads": 1}


@pytest.fixture
def hole(portrait):
    """A spot on the nose."""
    rows, columns = np.mgrid[: portrait.height, : portrait.width]
    return np.hypot(columns - 174, rows - 97) < 14


@pytest.mark.parametrize(
    ("dtype", "channels"), [(np.uint8, None), (np.uint16, 1), (np.float32, 3), (np.uint8, 4)]
)
def test_colorize_gives_arrays_in_colour(portrait, colours, dtype, channels):
    plane = portrait.as_float().mean(axis=2)
    array = plane if channels is None else np.repeat(plane[..., None], channels, axis=2)
    array = (array * np.iinfo(dtype).max).round() if dtype != np.float32 else array
    array = array.astype(dtype)
    for image in (array, np.full_like(array, array.mean())):  # with a face, and without
        result = facemend.colorize(image, **colours)
        assert result.shape == (400, 320, 4 if channels == 4 else 3)
        assert result.dtype == dtype
        coloured = np.ptp(result[..., :3].astype(np.float64), axis=2) > 0.02 * result.max()
        assert coloured.any() == (image is array)


def test_colorize_paths_pillow_and_bytes(portrait, tmp_path, colours):
    gray = Image.fromarray(portrait.pixels.copy()).convert("L")
    gray.save(tmp_path / "gray.png")
    image = facemend.colorize(gray, **colours)
    assert (image.mode, image.size) == ("RGB", gray.size)
    assert facemend.colorize(tmp_path / "gray.png", **colours).mode == "RGB"
    out = facemend.colorize(tmp_path / "gray.png", out=tmp_path / "out.png", **colours)
    assert np.array_equal(read_picture(out).pixels, np.asarray(image))
    data = facemend.colorize((tmp_path / "gray.png").read_bytes(), **colours)
    assert np.array_equal(read_picture(data).pixels, np.asarray(image))
    with pytest.raises(OutputError, match="exists already"):
        facemend.colorize(tmp_path / "gray.png", out=out, **colours)


@pytest.mark.parametrize("kind", ["path", "bytes", "pillow", "picture", "bool", "uint8", "uint16", "float"])
def test_masks_of_every_kind(portrait, tmp_path, filler, hole, kind):
    image = Image.fromarray(hole.astype(np.uint8) * 255)
    image.save(tmp_path / "mask.png")
    mask = {
        "path": str(tmp_path / "mask.png"),
        "bytes": (tmp_path / "mask.png").read_bytes(),
        "pillow": image,
        "picture": read_picture(tmp_path / "mask.png"),
        "bool": hole,
        "uint8": hole.astype(np.uint8) * 255,
        "uint16": hole.astype(np.uint16) * 65535,
        "float": hole[..., None].astype(np.float32),
    }[kind]
    result = facemend.inpaint(portrait.pixels, mask, **filler)
    assert np.array_equal(result[~hole], portrait.pixels[~hole])
    assert (result != portrait.pixels).any(2)[hole].mean() > 0.9


def test_inpaint_paths(photo, tmp_path, filler, hole):
    Image.fromarray(hole.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    out = facemend.inpaint(photo, tmp_path / "mask.png", out=tmp_path / "out.png", **filler)
    assert np.array_equal(read_picture(out).pixels[~hole], read_picture(photo).pixels[~hole])
    assert facemend.inpaint(photo, hole, **filler).size == (320, 400)
    with pytest.raises(OutputError, match="is an input"):
        facemend.inpaint(photo, tmp_path / "mask.png", out=tmp_path / "mask.png", overwrite=True, **filler)
    with pytest.raises(InputError, match=r"photo\.jpg: the mask is 5x4 and the photo 320x400"):
        facemend.inpaint(photo, np.ones((4, 5), bool), **filler)
    with pytest.raises(InputError, match="cannot take a dict"):
        facemend.inpaint(photo, {}, **filler)
    with pytest.raises(ConfigError, match="unknown option 'weight'"):
        facemend.inpaint(photo, hole, weight=1, **filler)
    with pytest.raises(ModelNotFoundError, match="a model for inpainting is needed"):
        facemend.inpaint(photo, hole, model=DEFAULT_MODEL)

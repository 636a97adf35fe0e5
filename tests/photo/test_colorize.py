"""Faces get the network's chroma; luma, and everything else, stays."""

import cv2
import numpy as np
import pytest
from PIL import ImageCms

from facemend.errors import ConfigError
from facemend.faces.mask import ellipse_mask
from facemend.imaging import Picture, luma, rgb_to_ycbcr
from facemend.photo.colorize import FACES_ONLY, IN_COLOUR, PROFILE_LEFT_OUT, Colorizer
from fake_parts import SIZE, Network, make_face, noise_picture

TINT = np.array([0.3, -0.1, -0.25], np.float32).reshape(1, 3, 1, 1)


def tint(z):
    """Skin, and a darker, finer structure that must not get into the photo."""
    structure = np.where(np.indices(z.shape[2:]).sum(0) % 2, 0.2, -0.2).astype(np.float32)
    return TINT + structure


def colorizer(faces, change=tint, **settings) -> Colorizer:
    return Colorizer(networks=Network(change).parts(faces), model="fake", **settings)


FACE = make_face(40, 30, 80)


def gray_picture(rng, dtype=np.uint8, gray=True, **rest) -> Picture:
    plane = noise_picture(rng, dtype=dtype).pixels[..., :1]
    return Picture(np.repeat(plane, 3, axis=2), gray=gray, **rest)


def levels(picture: Picture) -> int:
    return int(np.iinfo(picture.pixels.dtype).max)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("gray", [True, False])
def test_a_gray_photo_gets_a_coloured_face_of_the_same_luma(rng, dtype, gray):
    picture = gray_picture(rng, dtype, gray)
    result = colorizer([FACE]).colorize(picture)
    assert result.picture.pixels.dtype == dtype
    assert not result.picture.gray
    pixels = result.picture.pixels.astype(int)
    coloured = np.ptp(pixels, axis=2) > 0
    ys, xs = np.nonzero(coloured)
    assert coloured[70, 80]
    assert 30 <= ys.min() <= ys.max() <= 110
    assert 40 <= xs.min() <= xs.max() <= 120
    assert np.array_equal(result.picture.pixels[~coloured], picture.pixels[~coloured])
    # Each channel is rounded by half a level at most, and so is their mean.
    moved = np.abs(luma(result.picture.as_float()) - luma(picture.as_float())).max()
    assert moved <= 0.5 / levels(picture) + 1e-6
    # In the middle the chroma is the network's.
    wanted = rgb_to_ycbcr((picture.as_float()[70, 80] + TINT.ravel() / 2)[None, None])[0, 0, 1:]
    got = rgb_to_ycbcr(result.picture.as_float()[69:72, 79:82]).mean((0, 1))[1:]
    np.testing.assert_allclose(got, wanted, atol=0.02)
    assert result.notes == (FACES_ONLY,)


def test_the_colour_fades_with_the_mask(rng):
    picture = gray_picture(rng, np.uint16)
    result = colorizer([FACE]).colorize(picture)
    chroma = rgb_to_ycbcr(result.picture.as_float())[30:110, 40:120, 2] - 0.5
    expected = cv2.resize(ellipse_mask(SIZE), (80, 80)) * chroma[40, 40]
    assert np.abs(chroma - expected).max() < 0.02 * chroma[40, 40]
    assert ((chroma / chroma[40, 40] > 0.2) & (chroma / chroma[40, 40] < 0.8)).sum() > 100


def test_w_is_0(rng):
    network = Network(tint)
    seen = []
    network.change = lambda z: seen.append(1) or tint(z)
    result = Colorizer(networks=network.parts([FACE]), model="fake").colorize(gray_picture(rng))
    assert (result.w, len(seen)) == (0, 1)
    assert np.abs(result.faces[0].restored - result.faces[0].crop).max() > 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"w": 0.5}, "w must be 0 with colorize"),
        ({"upscale": 2}, "upscale must be 1 with colorize"),
        ({"strength": 0.5}, "strength must be 1 with colorize"),
        ({"fidelity": 0.5}, "unknown option 'fidelity'"),
        ({"min_face": -1}, "min_face must be"),
    ],
)
def test_options_that_do_not_go_with_it(settings, message):
    with pytest.raises(ConfigError, match=message):
        colorizer([], **settings)


def test_the_crops_of_the_result_have_the_photos_luma(rng):
    (face,) = colorizer([FACE]).colorize(gray_picture(rng)).faces
    assert np.abs(luma(face.restored) - luma(face.crop)).max() < 1e-6
    assert np.ptp(face.restored[SIZE // 2, SIZE // 2]) > 0.1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_and_metadata_are_kept(rng, dtype):
    alpha = np.tile(np.linspace(0, np.iinfo(dtype).max, 200).astype(dtype), (150, 1))
    rest = {"alpha": alpha, "exif": b"Exif\0\0x", "format": "tiff"}
    picture = gray_picture(rng, dtype, **rest)
    result = colorizer([FACE]).colorize(picture).picture
    assert np.array_equal(result.alpha, alpha)
    assert (result.exif, result.format) == (picture.exif, picture.format)


def test_a_gray_profile_is_left_out_and_an_rgb_one_kept(rng):
    rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gray = rgb[:16] + b"GRAY" + rgb[20:]
    faces = [FACE]
    result = colorizer(faces).colorize(gray_picture(rng, icc=gray))
    assert result.picture.icc is None
    assert result.notes == (FACES_ONLY, PROFILE_LEFT_OUT)
    assert colorizer(faces).colorize(gray_picture(rng, icc=rgb)).picture.icc == rgb
    assert colorizer([]).colorize(gray_picture(rng, icc=gray)).picture.icc == gray


def test_without_a_face_nothing_happens(rng):
    picture = gray_picture(rng)
    result = colorizer([]).colorize(picture)
    assert result.picture is picture
    assert result.notes == ("no face found: the photo was left as it is",)
    small = colorizer([make_face(40, 30, 8)]).colorize(picture)
    assert small.picture is picture
    assert small.notes == ("no face was coloured: the photo was left as it is",)
    assert "smallest size" in small.skipped[0].reason


def test_a_photo_in_colour_is_told(rng):
    picture = noise_picture(rng)
    result = colorizer([FACE]).colorize(picture)
    assert result.notes == (FACES_ONLY, IN_COLOUR)
    assert np.abs(luma(result.picture.as_float()) - luma(picture.as_float())).max() <= 0.5 / 255 + 1e-6


def test_sepia_stays_sepia_outside_the_face(rng):
    gray = gray_picture(rng).as_float()[..., :1]
    sepia = Picture.from_array(np.clip(gray + np.array([0.08, 0.0, -0.1]), 0, 1).astype(np.float32))
    result = colorizer([FACE]).colorize(sepia)
    assert result.notes == (FACES_ONLY,)
    assert np.array_equal(result.picture.pixels[:28], sepia.pixels[:28])
    assert (result.picture.pixels[70, 80] != sepia.pixels[70, 80]).any()


@pytest.mark.parametrize("size", [(64, 64), (40, 40), (200, 200), (130, 97), (1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_aligned_crops_are_coloured_to_their_borders(rng, size, dtype):
    plane = (
        noise_picture(rng, *size, dtype=dtype).pixels[..., :1] if size != (1, 1) else np.full((1, 1, 1), 90)
    )
    picture = Picture(np.repeat(plane, 3, axis=2).astype(dtype), gray=True)
    result = colorizer([], aligned=True).colorize(picture)
    assert result.picture.pixels.shape == picture.pixels.shape
    assert not result.picture.gray
    assert (np.ptp(result.picture.pixels.astype(int), axis=2) > 0).all()
    moved = np.abs(luma(result.picture.as_float()) - luma(picture.as_float())).max()
    assert moved <= 0.5 / levels(picture) + 1e-6
    assert len(result.faces) == 1
    assert bool(result.notes) == (size[0] != size[1])


def test_parts_are_told_and_may_stop_the_work(rng):
    told = []
    colorizer([FACE]).colorize(gray_picture(rng), on_part=told.append)
    assert told == ["detect", "align", "encode", "decode", "mask", "paste"]


def test_real_parts_find_and_colour_the_face_of_a_photo(portrait, task_model):
    plane = (luma(portrait.as_float())[..., None] * 255).round().astype(np.uint8)
    picture = Picture(np.repeat(plane, 3, axis=2), gray=True)
    result = Colorizer(model=str(task_model("colorization", tint=(0.3, -0.1, -0.2))), threads=1).colorize(
        picture
    )
    (face,) = result.faces
    coloured = np.ptp(result.picture.pixels.astype(int), axis=2) > 0
    box = face.face.box
    inside = np.s_[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)]
    assert coloured[inside].mean() > 0.7
    assert not coloured[int(2.2 * box.y2) :].any()
    assert np.abs(luma(result.picture.as_float()) - luma(picture.as_float())).max() <= 0.5 / 255 + 1e-6

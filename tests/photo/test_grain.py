"""`grain="keep"`: restored faces are as grainy as the photo around them; the network here smooths."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from test_restore import restored
from typer.testing import CliRunner

from facemend import RestoreOptions
from facemend.cli.app import app
from facemend.errors import ConfigError
from facemend.imaging import Picture, from_float, luma, to_float
from facemend.photo.networks import task_options
from fake_parts import make_face

SIDE = 400
FACE = make_face(90, 100, 200)


def smoother(z):
    """What makes a crop smooth, as a network does that draws no grain."""
    smooth = [cv2.GaussianBlur(x.transpose(1, 2, 0), (0, 0), 6).transpose(2, 0, 1) for x in z]
    return np.stack(smooth).astype(np.float32) - z


def grainy(size: float, level: float, *, colour: float = 0.0, depth=np.uint8, gray=False) -> Picture:
    """Light on a wall, with grain of that standard deviation (of 255) in clumps of that sigma."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((SIDE, SIDE, 3), np.float32)
    noise = colour * noise + (1 - colour) * noise[..., :1]
    noise = cv2.GaussianBlur(noise, (0, 0), size) if size else noise
    noise *= level / 255 / luma(noise).std()
    light = np.linspace(0.35, 0.65, SIDE, dtype=np.float32)[:, None, None]
    image = light + noise
    return Picture(from_float(luma(image)[..., None].repeat(3, 2) if gray else image, depth), gray=gray)


def deviation(picture: Picture, *where: slice, plane=luma) -> float:
    """Of the noise, in levels of 255: what is beside the fall of the light."""
    part = plane(to_float(picture.pixels[where]))
    return float((part - part.mean(1, keepdims=True)).std()) * 255


def levels(picture: Picture, factor=1, **plane) -> tuple[float, float]:
    """In the face, and beside it."""
    inside = slice(170 * factor, 250 * factor), slice(150 * factor, 230 * factor)
    beside = slice(170 * factor, 250 * factor), slice(310 * factor, 390 * factor)
    return deviation(picture, *inside, **plane), deviation(picture, *beside, **plane)


@pytest.mark.parametrize("upscale", [1, 2])
@pytest.mark.parametrize(("size", "level"), [(0, 5), (0.8, 12), (1.5, 8), (2.2, 8)])
def test_the_face_is_as_grainy_as_what_is_around_it(size, level, upscale):
    picture = grainy(size, level)
    settings = {"upscale": upscale, "change": smoother}
    face, beside = levels(restored(picture, [FACE], **settings).picture, upscale)
    assert face < 0.5 * beside  # the network's own
    kept = restored(picture, [FACE], grain="keep", **settings).picture
    face, beside = levels(kept, upscale)
    assert face == pytest.approx(beside, rel=0.25)
    again = restored(picture, [FACE], grain="keep", **settings).picture
    np.testing.assert_array_equal(again.pixels, kept.pixels)


def test_clumps_are_as_large_as_those_around():
    def neighbours(picture, columns):
        part = luma(to_float(picture.pixels[170:250, columns]))
        part = part - part.mean(1, keepdims=True)
        return float((part[:, 1:] * part[:, :-1]).mean() / (part * part).mean())

    for size in (0, 0.8, 2):
        kept = restored(grainy(size, 10), [FACE], grain="keep", change=smoother).picture
        assert neighbours(kept, slice(150, 230)) == pytest.approx(neighbours(kept, slice(310, 390)), abs=0.15)


def test_colour_noise_is_coloured_and_the_edge_of_the_face_has_no_ring():
    kept = restored(grainy(0.6, 10, colour=1), [FACE], grain="keep", change=smoother).picture
    for plane in (luma, lambda x: x[..., 0] - luma(x), lambda x: x[..., 2] - luma(x)):
        face, beside = levels(kept, plane=plane)
        assert face == pytest.approx(beside, rel=0.25)
        for left in range(90, 280, 20):  # across the soft edges of the mask
            strip = deviation(kept, slice(170, 250), slice(left, left + 20), plane=plane)
            assert strip == pytest.approx(beside, rel=0.35)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_gray_photo_stays_gray_and_the_rest_as_it_was(depth):
    picture = grainy(0.7, 10, depth=depth, gray=True)
    kept = restored(picture, [FACE], grain="keep", change=smoother).picture
    assert kept.pixels.dtype == depth
    assert (kept.pixels == kept.pixels[..., :1]).all()
    ys, xs = np.nonzero((kept.pixels != picture.pixels).any(2))
    assert 100 <= ys.min() <= ys.max() <= 300
    assert 90 <= xs.min() <= xs.max() <= 290
    face, beside = levels(kept)
    assert face == pytest.approx(beside, rel=0.25)


@pytest.mark.parametrize(
    ("level", "settings"), [(0, {}), (0.7, {}), (8, {"background": "clean"}), (8, {"strength": 0.0})]
)
def test_nothing_is_added_where_there_is_none(level, settings):
    with_it, without = (
        restored(grainy(0, level), [FACE], grain=grain, change=smoother, **settings).picture.pixels
        for grain in ("keep", "none")
    )
    np.testing.assert_array_equal(with_it, without)


def test_half_a_face_needs_less():
    settings = {"grain": "keep", "change": smoother, "strength": 0.5}
    face, beside = levels(restored(grainy(0.5, 10), [FACE], **settings).picture)
    assert face == pytest.approx(beside, rel=0.25)


def test_small_faces_and_faces_at_the_edge():
    for face in (make_face(3, 3, 14), make_face(-60, 280, 200), make_face(0, 0, 400)):
        restored(grainy(0.5, 10), [face], grain="keep", change=smoother)
    tiny = Picture(grainy(0, 9).pixels[:12, :9].copy())
    restored(tiny, [make_face(0, 0, 12)], grain="keep", change=smoother, min_face=0)


def test_with_an_aligned_crop_it_is_told_that_it_does_nothing():
    result = restored(grainy(0, 9), grain="keep", background="clean", change=smoother, aligned=True)
    assert any("do nothing" in note for note in result.notes)
    with pytest.raises(ConfigError, match="grain must be none or keep"):
        restored(grainy(0, 9), grain="film")


def test_from_the_command_line(photo, tmp_path, tiny_model):
    out, report = tmp_path / "new.jpg", tmp_path / "report.json"
    words = ["restore", photo, "-o", out, "--report", report, "--model", tiny_model, "--upscale", "1"]
    done = CliRunner().invoke(app, [*map(str, words), "--background", "clean", "--grain", "keep"])
    assert done.exit_code == 0, done.output
    options = json.loads(report.read_text())["options"]
    assert (options["background"], options["grain"]) == ("clean", "keep")
    assert CliRunner().invoke(app, [*map(str, words), "--overwrite", "--grain", "film"]).exit_code == 2


@pytest.mark.parametrize("setting", [{"background": "clean"}, {"grain": "keep"}])
def test_they_go_with_restoration_alone(setting):
    with pytest.raises(ConfigError, match="background and grain go with restore, not with colorize"):
        task_options("colorization", RestoreOptions(w=0, **setting), {})

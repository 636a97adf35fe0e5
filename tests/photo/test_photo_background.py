"""`background` in the whole photo; network and cleaning are tested in tests/predictors and tests/imaging."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from test_restore import brighter
from typer.testing import CliRunner

from facemend import RestoreOptions
from facemend.cli.app import app
from facemend.errors import ConfigError
from facemend.imaging import Picture, clean, read_picture, write_picture
from facemend.photo.restore import Restorer
from facemend.predictors.upscaler import BackgroundUpscaler
from facemend.weights.packages import fetch
from fake_parts import Network, make_face, noise_picture
from fake_runner import FakeRunner


class Counted(BackgroundUpscaler):
    """Paints everything a little brighter, and counts the photos."""

    def __init__(self):
        def run(inputs):
            return {"upscaled": inputs["image"].repeat(4, 2).repeat(4, 3) * 0.9 + 0.1}

        super().__init__(FakeRunner(run, ["image"], ["upscaled"]))
        self.photos = 0

    def enlarge(self, picture, scale, **rest):
        self.photos += 1
        return super().enlarge(picture, scale, **rest)


def parts(faces, upscaler=None, change=brighter):
    return dataclasses.replace(Network(change).parts(faces), upscaler=upscaler)


@pytest.mark.parametrize("upscale", [2, 4])
def test_the_background_is_the_networks_and_the_faces_lie_on_it(rng, upscale):
    picture = noise_picture(rng)
    settings = {"w": 0, "upscale": upscale, "background": "realesrgan"}
    drawn = Restorer(networks=parts([make_face(40, 30, 80)], Counted()), **settings).restore(picture)
    plain = Restorer(networks=parts([], Counted()), **settings).restore(picture)
    pixels = drawn.picture.pixels
    expected = picture.as_float().repeat(upscale, 0).repeat(upscale, 1) * 0.9 + 0.1
    np.testing.assert_allclose(plain.picture.pixels / 255, expected, atol=0.6 / 255)
    changed = (pixels != plain.picture.pixels).any(axis=2)
    ys, xs = np.nonzero(changed)
    assert changed[70 * upscale, 80 * upscale]
    assert 30 * upscale <= ys.min() <= ys.max() <= 110 * upscale
    assert 40 * upscale <= xs.min() <= xs.max() <= 120 * upscale
    assert drawn.seconds["background"] > 0


def test_another_w_does_not_draw_it_again(rng):
    upscaler = Counted()
    restorer = Restorer(
        networks=parts([make_face(40, 30, 80)], upscaler), w=0, upscale=2, background="realesrgan"
    )
    first = restorer.restore(noise_picture(rng))
    again = restorer.redo(first, 1.0)
    without = restorer.redo(again, 1.0, faces=[])
    assert upscaler.photos == 1
    np.testing.assert_array_equal(without.picture.pixels, first.prepared.background.pixels)
    assert (again.picture.pixels != first.picture.pixels).any()


@pytest.mark.parametrize(
    "settings",
    [{"upscale": 1}, {"upscale": 2, "aligned": True}, {"upscale": 2, "background": "lanczos"}],
)
def test_it_is_not_used_where_there_is_nothing_to_draw(rng, settings):
    upscaler = Counted()
    settings = {"background": "realesrgan"} | settings
    result = Restorer(networks=parts([make_face(40, 30, 80)], upscaler), **settings).restore(
        noise_picture(rng)
    )
    assert upscaler.photos == 0
    assert any("does nothing" in note for note in result.notes) == (settings["background"] != "lanczos")


@pytest.mark.parametrize("upscale", [1, 2])
def test_clean_is_around_the_faces_which_are_those_of_the_photo_as_it_was(rng, upscale):
    smooth = noise_picture(rng)
    grain = rng.normal(0, 8, smooth.pixels.shape)
    picture = dataclasses.replace(smooth, pixels=(smooth.pixels + grain).clip(0, 255).astype(np.uint8))
    networks = Network(brighter)
    settings = {"w": 0, "upscale": upscale, "background": "clean"}
    restorer = Restorer(networks=networks.parts([make_face(40, 30, 80)]), **settings)
    result = restorer.restore(picture)
    around = clean(picture).resized(upscale).pixels
    changed = (result.picture.pixels != around).any(axis=2)
    assert changed[70 * upscale, 80 * upscale]
    assert not changed[: 30 * upscale].any()
    assert not result.untouched
    plain = Restorer(networks=networks.parts([make_face(40, 30, 80)]), w=0, upscale=upscale).restore(picture)
    np.testing.assert_array_equal(networks.seen[0], networks.seen[1])
    np.testing.assert_array_equal(result.faces[0].restored, plain.faces[0].restored)
    np.testing.assert_array_equal(restorer.redo(result, 0, faces=[]).picture.pixels, around)
    np.testing.assert_array_equal(restorer.redo(result, 0).picture.pixels, result.picture.pixels)
    # Of a photo without noise nothing is to be changed, and its file is copied.
    assert Restorer(networks=Network().parts([]), upscale=1, background="clean").restore(smooth).untouched


def test_parts_without_the_network_are_refused():
    with pytest.raises(ConfigError, match="none for backgrounds"):
        Restorer(networks=parts([]), upscale=2, background="realesrgan")
    with pytest.raises(ConfigError, match="background must be lanczos, clean or realesrgan"):
        RestoreOptions(background="esrgan")


def test_from_the_command_line(photo, tmp_path, tiny_model):
    fetch("realesrgan")
    small = tmp_path / "small.png"
    write_picture(small, Picture(read_picture(photo).pixels[40:200, 80:240].copy()))
    outs = {}
    for background in ("lanczos", "realesrgan"):
        out = tmp_path / f"{background}.png"
        words = ["restore", small, "-o", out, "--upscale", 2, "--background", background]
        words += ["--model", tiny_model, "--threads", 2]
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        outs[background] = read_picture(out).pixels
    assert outs["lanczos"].shape == outs["realesrgan"].shape == (320, 320, 3)
    assert (outs["lanczos"] != outs["realesrgan"]).mean() > 0.3

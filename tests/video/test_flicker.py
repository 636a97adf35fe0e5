"""The figure of flicker, and that a film shakes less when it is held steady."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from facemend.faces.template import template_points
from facemend.faces.warp import invert, transform
from facemend.imaging import Picture, to_float
from facemend.photo.options import RestoreOptions
from facemend.types import Box, Face
from film_parts import FilmDetector, film_parts

SCRIPT = Path(__file__).parents[2] / "scripts/measure_flicker.py"
FRAMES = 16


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("measure_flicker", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure_flicker"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["measure_flicker"]


@pytest.fixture
def clip(figures, portrait: Picture):
    points = np.array(
        [(156.5, 74.7), (193.6, 74.5), (174.5, 97.6), (154.2, 112.7), (195.4, 112.1)], np.float32
    )
    face = Face(Box(131, 28, 213, 146), points, 1.0)
    return figures.make_clip(portrait.as_float(), face, FRAMES, side=80, size=(200, 150), noise=4, crf=23)


def true_face(clip, number) -> Face:
    """Where the face of a frame really is, as a detector would say it."""
    back = invert(clip.aligned[number])
    points = transform(back, template_points(256)).astype(np.float32)
    low, high = points.min(0), points.max(0)
    margin = 0.4 * (high - low)
    return Face(Box(*map(float, low - margin), *map(float, high + margin)), points, 0.99)


def jittering():
    """A network that draws other details every time it runs."""
    rng = np.random.default_rng(7)
    return lambda z: (0.3 * rng.standard_normal(z.shape)).astype(np.float32)


def parts_for(clip):
    parts = film_parts(change=jittering())
    seen = FilmDetector(lambda frame: [true_face(clip, frame)])
    return type(parts)(parts.restorer, seen, parts.masker)


def test_the_figure_is_nothing_for_a_film_that_only_moves(figures, clip):
    still = figures.change(figures.faces_of(clip, clip.clean))
    shaken = [np.clip(frame + 0.1 * (-1) ** i, 0, 1) for i, frame in enumerate(clip.clean)]
    assert still < 2
    assert figures.change(figures.faces_of(clip, shaken)) == pytest.approx(0.2 * 255, rel=0.2)


def test_a_film_held_steady_flickers_less_than_half(figures, clip):
    options = RestoreOptions(w=0.0)
    clean = figures.change(figures.faces_of(clip, clip.clean))
    alone, steady = (
        figures.change(figures.faces_of(clip, restore(clip, options, parts_for(clip)))) - clean
        for restore in (figures.by_frame, figures.steady)
    )
    assert alone > 3
    assert steady < alone / 2
    # And it is not the film as it was: the average of the jitter is the network's face.
    last = figures.faces_of(clip, figures.steady(clip, options, parts_for(clip)))[-1]
    before = figures.faces_of(clip, [to_float(frame) for frame in clip.film])[-1]
    assert np.abs(last - before)[100:200, 80:170].mean() * 255 > 1


def test_speech_is_taken_out_of_the_figure_and_fast_films_flicker_no_more(figures, portrait, clip):
    """A moving chin changes the face; once the known motion is out, that of the clean film is small."""
    opened = figures.with_mouth(portrait.as_float(), np.eye(2, 3), 12.0)
    again = figures.with_mouth(opened, np.eye(2, 3), 12.0, shut=True)
    there = slice(150, 240), slice(90, 170)
    assert (
        np.abs(opened - portrait.as_float())[there].mean()
        > 3 * np.abs(again - portrait.as_float())[there].mean()
    )
    options = RestoreOptions(w=0.0)
    usual, fast = (
        figures.change(figures.faces_of(clip, figures.steady(clip, options, parts_for(clip), fast=fast)))
        for fast in (False, True)
    )
    assert fast <= usual

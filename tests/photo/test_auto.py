"""w by itself: what is chosen for a face, that this is what is done, and that nothing else is."""

import numpy as np
import pytest

from facemend.errors import ConfigError
from facemend.photo.auto import FULL_GAIN, GAIN, choose, in_words
from facemend.photo.networks import task_options
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import Restorer
from facemend.types import Diagnosis
from fake_parts import Network, diagnosis_row, make_face, noise_picture

SHARP = {"resolution": 64, "lpips": (0.3, 0.2, 0.2, 0.2, 0.2), "photo": 0.05, "jpeg": 100}


def said(**row) -> Diagnosis:
    return Diagnosis.from_row(diagnosis_row(**row))


def test_a_row_is_read_in_its_order():
    row = np.arange(Diagnosis.COUNT, dtype=np.float32)
    found = Diagnosis.from_row(row)
    assert (found.resolution, found.jpeg, found.lpips, found.lpips_photo) == (0, 3, (4, 5, 6, 7, 8), 9)
    assert (found.identity, found.identity_photo, found.change) == (
        (10, 11, 12, 13, 14),
        15,
        (16, 17, 18, 19, 20),
    )


@pytest.mark.parametrize(
    ("row", "likeness", "w", "strength"),
    [
        ({}, 0.6, 0.25, 1),  # the least LPIPS
        ({"identity": (0.7, 0.65, 0.59, 0.5, 0.4)}, 0.6, 0.5, 1),  # the least that keeps the likeness
        ({"identity": (0.9, 0.85, 0.8, 0.75, 0.7)}, 0.6, 1.0, 1),  # nothing keeps it: the nearest
        (SHARP, 0.6, 0.25, 0),
        ({"lpips": (0.3,) * 5, "photo": 0.3}, 0.6, 0.0, 0),
    ],
)
def test_choice(row, likeness, w, strength):
    choice = choose(said(**row), likeness, 64)
    assert (choice.w, choice.strength, bool(choice.left)) == (w, strength, strength == 0)


def test_a_face_between_is_blended_the_more_the_better_it_becomes():
    gains = np.linspace(0.9 * GAIN, 1.1 * FULL_GAIN, 12)
    strengths = [choose(said(photo=0.2 + gain), 0.6, 64).strength for gain in gains]
    assert strengths == sorted(strengths)
    assert strengths[0] == 0 < strengths[5] < 1 == strengths[-1]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"resolution": 41.3, "jpeg": 40}, "about 40 px of real detail, strong JPEG"),
        ({"resolution": 11.6, "jpeg": 95}, "about 12 px of real detail"),
        ({"resolution": 240, "jpeg": 70}, "sharp, some JPEG"),
    ],
)
def test_words(row, words):
    assert in_words(said(**row), 256) == words


def brighter(z):
    return np.full_like(z, 0.4)


def by_place(z):
    """The second face is sharp."""
    return np.stack([diagnosis_row(**(SHARP if number else {})) for number in range(len(z))])


@pytest.fixture
def faces():
    return [make_face(5, 30, 80), make_face(110, 30, 80)]


def test_each_face_gets_its_own_and_a_sharp_one_is_left(rng, faces):
    picture, network = noise_picture(rng), Network(brighter, by_place)
    restorer = Restorer(networks=network.parts(faces), w="auto")
    result = restorer.restore(picture)
    assert [(face.choice.w, face.choice.strength) for face in result.faces] == [(0.25, 1), (0.25, 0)]
    assert (result.w, result.notes) == ("auto", ())
    alone = Restorer(networks=Network(brighter).parts(faces), w=0.25, faces=(0,)).restore(picture)
    assert np.array_equal(result.picture.pixels, alone.picture.pixels)
    # The dial overrules it, and it can be taken again; nothing is encoded anew.
    both = Restorer(networks=Network(brighter).parts(faces), w=0.5).restore(picture)
    assert np.array_equal(restorer.redo(result, 0.5).picture.pixels, both.picture.pixels)
    assert np.array_equal(restorer.redo(result, "auto").picture.pixels, result.picture.pixels)
    assert network.batches == [2]


def test_strength_goes_on_top(rng, faces):
    picture = noise_picture(rng)
    auto = Restorer(networks=Network(brighter, by_place).parts(faces), w="auto", strength=0.5).restore(
        picture
    )
    number = Restorer(networks=Network(brighter).parts(faces), w=0.25, strength=0.5, faces=(0,)).restore(
        picture
    )
    assert np.array_equal(auto.picture.pixels, number.picture.pixels)


def test_a_photo_of_sharp_faces_is_the_very_photo(rng, faces):
    network = Network(brighter, lambda z: np.stack([diagnosis_row(**SHARP)] * len(z)))
    picture = noise_picture(rng)
    assert Restorer(networks=network.parts(faces), w="auto", upscale=1).restore(picture).picture is picture


def test_a_face_has_no_more_resolution_than_it_had_pixels(rng):
    network = Network(brighter, lambda z: np.stack([diagnosis_row(resolution=60)] * len(z)))
    faces = [make_face(5, 30, 20), make_face(60, 5, 120)]
    result = Restorer(networks=network.parts(faces), w="auto").restore(noise_picture(rng))
    assert [face.diagnosis.resolution for face in result.faces] == pytest.approx([20, 60], abs=0.1)


def test_a_model_that_says_nothing_takes_its_default_and_says_so(rng, faces):
    picture = noise_picture(rng)
    auto = Restorer(networks=Network(brighter).parts(faces), w="auto").restore(picture)
    usual = Restorer(networks=Network(brighter).parts(faces), w=0.5).restore(picture)
    assert auto.notes == ("w auto: this model says nothing of damage, so w is 0.5, its default",)
    assert np.array_equal(auto.picture.pixels, usual.picture.pixels)
    assert [face.diagnosis for face in auto.faces] == [None, None]


@pytest.mark.parametrize("task", ["colorization", "inpainting"])
def test_only_restoration_has_it(task):
    with pytest.raises(ConfigError, match="auto goes with restore"):
        task_options(task, RestoreOptions(w="auto", upscale=1), {})


@pytest.mark.parametrize("settings", [{"w": "Auto"}, {"w": "0.5"}, {"w": 1.5}, {"w": True}, {"likeness": 0}])
def test_wrong_values_are_refused(settings):
    with pytest.raises(ConfigError, match="must be"):
        RestoreOptions(**settings)

"""How large a photo becomes where nobody says it."""

from dataclasses import replace

import numpy as np
import pytest

from facemend.faces.warp import resize_matrix
from facemend.imaging import Picture
from facemend.photo import kept as keep
from facemend.photo.find import take_factor
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import Restorer
from facemend.types import AlignedFace
from fake_parts import SIZE, Network, make_face, noise_picture

AUTO = RestoreOptions()


def of_size(share: float) -> AlignedFace:
    """A face that covers that share of the model's size in the photo."""
    return AlignedFace(
        np.zeros((8, 8, 3), np.float32), resize_matrix(1 / share, 1 / share), make_face(0, 0, 8)
    )


@pytest.mark.parametrize(
    ("share", "factor"), [(3, 1), (0.701, 1), (0.699, 2), (0.351, 2), (0.349, 4), (0.176, 4), (0.05, 4)]
)
def test_the_largest_face_is_written_at_nearly_the_models_size(share, factor):
    assert take_factor((500, 400), [of_size(0.04), of_size(share)], AUTO) == factor
    assert take_factor((500, 400), [of_size(share)], replace(AUTO, upscale=2)) == 2


@pytest.mark.parametrize(
    ("size", "most", "factor"),
    [
        ((1500, 20), 10**8, 4),
        ((1501, 20), 10**8, 2),
        ((20, 3000), 10**8, 2),
        ((20, 3001), 10**8, 1),
        ((9000, 20), 10**8, 1),
        ((100, 100), 160_000, 4),
        ((100, 100), 159_999, 2),
        ((100, 100), 39_999, 1),
    ],
)
def test_photos_do_not_become_larger_than_the_limits(size, most, factor):
    assert take_factor(size, [of_size(0.1)], replace(AUTO, max_pixels=most)) == factor


def restored(picture, side, **settings):
    faces = [] if side == 0 else [make_face(60, 40, side)]
    return Restorer(networks=Network().parts(faces), w=0, min_face=8, **settings).restore(picture)


@pytest.mark.parametrize(("side", "factor"), [(SIZE, 1), (SIZE // 2, 2), (SIZE // 4, 4), (0, 1)])
def test_each_photo_is_made_as_large_as_its_faces_need(rng, tmp_path, side, factor):
    picture = noise_picture(rng)
    result = restored(picture, side)
    plain = restored(picture, side, upscale=factor)
    assert result.factor == factor
    assert np.array_equal(result.picture.pixels, plain.picture.pixels)
    if side == 0:
        assert result.picture is picture
    # What is kept remembers it, whatever the options of whoever takes it up.
    keep.save(result.prepared, tmp_path / "kept.npz")
    again = Restorer(networks=Network().parts([]), upscale=1).redo(
        keep.load(tmp_path / "kept.npz", picture), 0.0
    )
    assert (again.factor, again.picture.width) == (factor, 200 * factor)


def test_aligned_crops_are_left_at_their_size(rng):
    result = restored(noise_picture(rng, 90, 90), 20, aligned=True)
    assert (result.factor, result.picture.width) == (1, 90)


def test_photos_of_a_batch_have_each_its_own(rng):
    restorer = Restorer(networks=Network().parts([]), w=0)
    found = iter([[make_face(0, 0, SIZE)], [make_face(0, 0, SIZE // 2)], []])
    restorer._networks.detector.detect = lambda image: next(found)
    pictures: list[Picture] = [noise_picture(rng) for _ in range(3)]
    assert [result.factor for result in restorer.restore_many(pictures)] == [1, 2, 1]

"""Faces that a person added by hand."""

import numpy as np
import pytest

from facemend.errors import ConfigError
from facemend.photo.added import add_faces
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import Restorer
from facemend.predictors.detector import FaceDetector
from fake_parts import Network, noise_picture


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(threads=1)


@pytest.mark.parametrize(
    "grown", [0.0, 0.15, 0.45]
)  # of the box's size, on each side: round the face, round the head, far round it
def test_landmarks_are_looked_for_in_the_box(detector, portrait, grown):
    image = portrait.as_float()
    (known,) = detector.detect(image)
    box, width, height = known.box, grown * known.box.width, grown * known.box.height
    drawn = (box.x1 - width, box.y1 - height, box.x2 + width, box.y2 + height)
    (added,), blind = add_faces(image, [], [drawn], detector)
    assert (blind, added.score) == (0, 1.0)
    np.testing.assert_allclose(added.landmarks, known.landmarks, atol=0.06 * box.width)
    assert len(add_faces(image, [known], [drawn], detector)[0]) == 1  # the found one gives way


def test_where_no_face_is_seen_the_box_is_one(rng):
    picture = noise_picture(rng)
    networks = Network(lambda z: np.full_like(z, 0.5)).parts([])
    networks.detector.follow = lambda image, faces: [
        type(face)(face.box, face.landmarks, 0.0) for face in faces
    ]
    boxes = ((20.0, 30.0, 80.0, 110.0), (150.0, 40.0, 400.0, 100.0))
    result = Restorer(networks=networks, w=0, upscale=1, boxes=boxes).restore(picture)
    assert [round(face.face.box.x2) for face in result.faces] == [80, picture.width - 1]
    first = result.faces[0].face.landmarks
    assert np.allclose(first[:2].mean(0), (50, 61), atol=1)  # between the eyes
    assert any("no face was seen: 2" in note for note in result.notes)
    changed = np.flatnonzero((result.picture.pixels != picture.pixels).any(axis=(0, 2)))
    assert changed.min() < 50 < changed.max()


@pytest.mark.parametrize(
    "boxes",
    [
        ((0, 0, 0, 9),),
        ((9, 0, 5, 9),),
        ((0, 0, 1),),
        ((0, 0, float("nan"), 9),),
        ((0, 0, 9, 9),) * 21,
        [(0, 0, 9, 9)],
    ],
)
def test_what_is_no_box(boxes):
    with pytest.raises(ConfigError, match="boxes must be at most 20"):
        RestoreOptions(boxes=boxes)


def test_a_box_beside_the_photo(detector):
    with pytest.raises(ConfigError, match="box 2 of a face lies outside the photo, which is 30x20 pixels"):
        add_faces(np.zeros((20, 30, 3), np.float32), [], [(0, 0, 9, 9), (40, 2, 60, 9)], detector)

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemend.errors import BackendError
from facemend.faces.align import align
from facemend.faces.mask import ellipse_mask
from facemend.faces.warp import transform
from facemend.predictors.detector import FaceDetector
from facemend.predictors.masker import FaceMasker
from facemend.predictors.mesh import FaceMesh, five_points
from facemend.predictors.person import PersonMask
from facemend.types import Face


@pytest.fixture(scope="module")
def face(detector: FaceDetector, astronaut: np.ndarray) -> Face:
    return detector.detect(astronaut)[0]


def test_mesh_lies_on_the_face(astronaut: np.ndarray, face: Face) -> None:
    mesh = FaceMesh().points(astronaut, face)
    assert mesh.shape == (468, 2)
    eyes = np.linalg.norm(face.landmarks[1] - face.landmarks[0])
    error = np.linalg.norm(five_points(mesh) - face.landmarks, axis=1).mean()
    assert error < 0.12 * eyes
    assert 1.5 * eyes < np.ptp(mesh[:, 0]) < 3 * eyes


def test_mesh_follows_a_turn(astronaut: np.ndarray, face: Face) -> None:
    net = FaceMesh()
    matrix = cv2.getRotationMatrix2D((224.0, 120.0), 70, 1.0)
    points = transform(matrix, face.landmarks).astype(np.float32)
    turned = net.points(cv2.warpAffine(astronaut, matrix, (512, 512)), Face(face.box, points, 1.0))
    straight = transform(matrix, net.points(astronaut, face))
    assert np.linalg.norm(turned - straight, axis=1).mean() < 4


def test_mesh_may_be_shared_by_threads(astronaut: np.ndarray, face: Face) -> None:
    net = FaceMesh()
    want = net.points(astronaut, face)
    with ThreadPoolExecutor(4) as pool:
        for mesh in pool.map(lambda _: net.points(astronaut, face), range(8)):
            np.testing.assert_array_equal(mesh, want)


def test_person_is_told_from_background(astronaut: np.ndarray, face: Face) -> None:
    crop = align(astronaut, face, 320).crop
    probability = PersonMask().probability(crop)
    assert probability.shape == (320, 320)
    assert probability.dtype == np.float32
    assert probability[100:250, 110:210].min() > 0.9
    assert PersonMask().probability(np.zeros((50, 70, 3), np.float32)).max() < 0.1


def test_masker_covers_head_but_not_the_border(astronaut: np.ndarray, face: Face) -> None:
    crop = align(astronaut, face, 256).crop
    mask = FaceMasker().mask(crop)
    assert mask.shape == (256, 256)
    assert mask[100:200, 100:160].min() > 0.95
    assert mask[60, 128] > 0.5  # hair
    assert not np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).any()
    assert (mask != ellipse_mask(256)).any()


class LostMesh(FaceMesh):
    """A mesh that landed beside the face, as it may on a profile."""

    def points(self, image: np.ndarray, face: Face) -> np.ndarray:
        return super().points(image, face) + np.float32(0.2 * len(image))


def test_masker_falls_back_to_the_ellipse(astronaut: np.ndarray, face: Face) -> None:
    crop = align(astronaut, face, 128).crop
    np.testing.assert_array_equal(FaceMasker(mesh=LostMesh()).mask(crop), ellipse_mask(128))


class NobodySeen(PersonMask):
    """A segmenter that sees no person, as on some engravings."""

    def probability(self, image: np.ndarray) -> np.ndarray:
        return np.zeros(image.shape[:2], np.float32)


def test_masker_falls_back_to_the_hull(astronaut: np.ndarray, face: Face) -> None:
    crop = align(astronaut, face, 128).crop
    alone = FaceMasker(person=NobodySeen()).mask(crop)
    assert alone[64:100, 50:80].min() > 0.9
    assert alone[20, 64] < 0.1  # no hair


def test_a_file_that_is_no_graph(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no graph at all" * 10)
    with pytest.raises(BackendError, match=r"bad\.onnx"):
        FaceMesh(path)


def test_a_mask_is_the_same_at_any_size(astronaut: np.ndarray, face: Face) -> None:
    masker = FaceMasker()
    crops = [align(astronaut, face, side).crop for side in (256, 512)]
    small, large = (masker.mask(crop) for crop in crops)
    assert large.shape == (512, 512)
    assert large.max() > 0.99
    assert np.abs(cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA) - small).max() < 0.03

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemend.predictors.detector import FaceDetector
from facemend.predictors.mtcnn import Found, Mtcnn, nms, squared
from facemend.types import Face
from fake_runner import FakeRunner

# Read off the picture by eye: eyes, nose tip, mouth corners.
POINTS = np.array([(203, 102), (246, 103), (224, 128), (202, 140), (245, 142)])


def eye_distance(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[1] - points[0]))


def assert_same_face(face: Face, points: np.ndarray, tolerance: float = 0.12) -> None:
    error = np.linalg.norm(face.landmarks - points, axis=1).mean() / eye_distance(points)
    assert error < tolerance
    assert face.landmarks.dtype == np.float32
    middle = points.mean(0)
    assert face.box.x1 < middle[0] < face.box.x2
    assert face.box.y1 < middle[1] < face.box.y2


def test_finds_the_one_face(detector: FaceDetector, astronaut: np.ndarray) -> None:
    (face,) = detector.detect(astronaut)
    assert_same_face(face, POINTS, 0.08)
    assert face.score > 0.99


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns(detector: FaceDetector, astronaut: np.ndarray, turns: int) -> None:
    (face,) = detector.detect(np.ascontiguousarray(np.rot90(astronaut, turns)))
    points = POINTS.astype(float)
    for _ in range(turns):  # counter-clockwise: (x, y) goes to (y, width - 1 - x)
        points = np.stack([points[:, 1], 511 - points[:, 0]], 1)
    assert_same_face(face, points)


@pytest.mark.parametrize("angle", [-45, 30, 60])
def test_rolled_faces(detector: FaceDetector, astronaut: np.ndarray, angle: float) -> None:
    matrix = cv2.getRotationMatrix2D((224.0, 120.0), angle, 1.0)
    (face,) = detector.detect(cv2.warpAffine(astronaut, matrix, (512, 512)))
    assert_same_face(face, POINTS @ matrix[:, :2].T + matrix[:, 2])


@pytest.mark.parametrize("scale", [0.2, 0.5, 3.0])
def test_sizes(detector: FaceDetector, astronaut: np.ndarray, scale: float) -> None:
    side = round(512 * scale)
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = np.clip(cv2.resize(astronaut, (side, side), interpolation=kind), 0, 1)
    (face,) = detector.detect(image)
    assert_same_face(face, (POINTS + 0.5) * side / 512 - 0.5, 0.16)


def test_large_blurred_face(detector: FaceDetector, astronaut: np.ndarray) -> None:
    tight = cv2.resize(astronaut[30:230, 124:324], (800, 800), interpolation=cv2.INTER_CUBIC)
    (face,) = detector.detect(np.clip(cv2.GaussianBlur(tight, (0, 0), 14), 0, 1))
    assert_same_face(face, (POINTS - (124, 30)) * 4.0, 0.25)


def test_gray_and_faded(detector: FaceDetector, astronaut: np.ndarray) -> None:
    faded = np.repeat(astronaut.mean(2, keepdims=True) * 0.3 + 0.5, 3, 2)
    (face,) = detector.detect(faded)
    assert_same_face(face, POINTS)


def test_group_from_left_to_right_and_the_cap(detector: FaceDetector, astronaut: np.ndarray) -> None:
    group = np.hstack([astronaut, astronaut[:, ::-1], astronaut])
    faces = detector.detect(np.ascontiguousarray(group))
    assert len(faces) == 3
    assert [face.box.x1 for face in faces] == sorted(face.box.x1 for face in faces)
    assert_same_face(faces[2], np.add(POINTS, (1024, 0)))
    assert len(detector.detect(np.ascontiguousarray(group), max_faces=2)) == 2


def test_a_tiny_face(detector: FaceDetector, astronaut: np.ndarray) -> None:
    small = cv2.resize(astronaut, (64, 64), interpolation=cv2.INTER_AREA)  # the face is 11 x 15 pixels
    faces = detector.detect(small)
    assert len(faces) == 1
    assert_same_face(faces[0], (POINTS + 0.5) / 8 - 0.5, 0.3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 5), (40, 40), (300, 200)])
def test_no_face_in_flat_noisy_and_tiny_pictures(detector: FaceDetector, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for image in (np.full((*shape, 3), 0.5, np.float32), rng.random((*shape, 3), np.float32)):
        assert detector.detect(image) == []


def test_no_face_where_it_is_painted_over(detector: FaceDetector, astronaut: np.ndarray) -> None:
    hidden = astronaut.copy()
    hidden[50:190, 170:280] = 0.5
    assert detector.detect(hidden) == []


def test_input_is_not_changed(detector: FaceDetector, astronaut: np.ndarray) -> None:
    before = astronaut.copy()
    detector.detect(astronaut)
    assert (astronaut == before).all()


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_nms_against_brute_force(seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (20, 2))
    boxes, scores = np.hstack([corner, corner + rng.uniform(5, 40, (20, 2))]), rng.random(20)

    def overlap(a: np.ndarray, b: np.ndarray) -> float:
        w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
        h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        area = lambda c: (c[2] - c[0]) * (c[3] - c[1])  # noqa: E731
        return float(w * h / (area(a) + area(b) - w * h))

    kept: list[int] = []
    for i in np.argsort(-scores):
        if all(overlap(boxes[i], boxes[j]) <= limit for j in kept):
            kept.append(int(i))
    assert nms(boxes, scores, limit).tolist() == kept


def test_level_faces_are_not_looked_at_again() -> None:
    """One is level; the other turns by 40 degrees with every pass, so that it never was a face."""
    level = np.array([(15, 18), (33, 18), (24, 28), (17, 36), (31, 36)], float) / 48
    turn = cv2.getRotationMatrix2D((0.5, 0.5), -40, 1)
    rows: list[int] = []

    def onet(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows.append(len(inputs["image"]))
        faces = [level, level @ turn[:, :2].T + turn[:, 2]][-rows[-1] :]
        return {
            "probability": np.full(rows[-1], 0.9, np.float32),
            "landmarks": np.stack([face.T.ravel() for face in faces]).astype(np.float32),
        }

    net = Mtcnn(None, None, FakeRunner(onet, ["image"], ["probability", "landmarks"]))
    boxes = np.array([(0, 0, 48, 48), (50, 0, 98, 48)], float)
    points = level * 48 + np.zeros((2, 1, 1))
    seen = net.landmark(np.zeros((48, 98, 3), np.float32), Found(boxes, np.ones(2), points))
    assert rows == [2, 1, 1, 1, 1]
    assert seen.scores == pytest.approx([0.9, 0])
    np.testing.assert_allclose(seen.landmarks[0], level * 48 - 0.5, atol=1e-4)


def test_nms_over_the_smaller_box_removes_boxes_inside() -> None:
    boxes = np.array([(0, 0, 100, 100), (40, 40, 60, 60)], float)
    scores = np.array([0.9, 0.8])
    assert nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert nms(boxes, scores, 0.5, smaller=True).tolist() == [0]
    assert nms(boxes[:0], scores[:0], 0.5).tolist() == []


def test_squared_boxes_keep_their_centre() -> None:
    (box,) = squared(np.array([(10.0, 20.0, 30.0, 60.0)]))
    assert box.tolist() == [0, 20, 40, 60]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_face_beside_an_upright_one(
    detector: FaceDetector, astronaut: np.ndarray, turns: int
) -> None:
    """Each with its own landmarks; and it is not looked for where that is not wanted."""
    side = len(astronaut)
    both = np.ascontiguousarray(np.hstack([astronaut, np.rot90(astronaut, turns)]))
    faces = detector.detect(both)
    assert len(faces) == 2
    assert_same_face(faces[0], POINTS)
    turned = np.asarray(POINTS, float)
    for _ in range(turns):
        turned = np.stack([turned[:, 1], side - 1 - turned[:, 0]], 1)
    assert_same_face(faces[1], turned + np.array([side, 0]))
    assert_same_face(detector.detect(both, turned=False)[0], POINTS)

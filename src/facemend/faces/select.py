"""Which of the found faces to work on, and whether five points look like a face at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from facemend.errors import ConfigError
from facemend.types import Face, Landmarks5

Selection = Literal["all", "largest", "center"]


def select(faces: Sequence[Face], mode: Selection, *, size: tuple[int, int]) -> list[Face]:
    """Pick faces.

    Args:
        faces: the candidates.
        mode: "all", "largest" (box area) or "center" (box centre nearest to the middle of the photo).
        size: (width, height) of the photo.

    Returns:
        The picked faces, in their given order.

    Raises:
        ConfigError: `mode` is none of these.
    """
    if mode not in get_args(Selection):
        raise ConfigError(f"faces must be one of {', '.join(get_args(Selection))}, got {mode!r}")
    if mode == "all" or not faces:
        return list(faces)
    if mode == "largest":
        return [max(faces, key=lambda f: f.box.width * f.box.height)]
    middle = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    return [min(faces, key=lambda f: _distance2(f, middle))]


def _distance2(face: Face, point: tuple[float, float]) -> float:
    x = (face.box.x1 + face.box.x2) / 2 - point[0]
    y = (face.box.y1 + face.box.y2) / 2 - point[1]
    return x * x + y * y


def plausible(landmarks: Landmarks5) -> bool:
    """Whether five points could be those of a face, at any turn in the plane.

    Checked in the frame of the face, which points from the middle of the eyes to the middle of the mouth:
    that axis stands roughly upright on the line of the eyes, the nose lies between eyes and mouth, the
    mouth's corners are not swapped, and the widths of eyes and mouth suit the height. The limits leave room
    for half profiles.
    """
    points = np.asarray(landmarks, np.float64)
    if not np.isfinite(points).all():
        return False
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    eyes, mouth = right_eye - left_eye, right_mouth - left_mouth
    middle = (left_eye + right_eye) / 2
    down = (left_mouth + right_mouth) / 2 - middle
    height, width = float(np.linalg.norm(down)), float(np.linalg.norm(eyes))
    if height < 1e-6 or width < 1e-6:
        return False
    # Turned by +90 degrees (x right, y down) the eye line must point towards the mouth.
    upright = float(np.array([-eyes[1], eyes[0]]) @ down) / (width * height)
    along = float((nose - middle) @ down) / height**2
    mouth_width = float(mouth @ eyes) / width
    return (
        upright > 0.7
        and 0.35 <= width / height <= 2.0
        and 0.1 <= along <= 1.0
        and 0.25 * width <= mouth_width <= 2.0 * width
    )

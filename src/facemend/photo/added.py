"""Faces that a person added by hand where the detector missed them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facemend.errors import ConfigError
from facemend.faces.template import TEMPLATE
from facemend.faces.track import iou
from facemend.imaging import AnyPixels
from facemend.photo.options import BoxByHand
from facemend.predictors.detector import FaceDetector
from facemend.types import Box, Face

SCALES = (1.0, 0.85, 0.7)
"""People draw round the head, detectors round the face: what is looked at, times the box."""
SURE = 0.5
"""Score from which the landmarks seen there are taken."""
SAME = 0.4
"""Overlap from which a box is that of a face that was found too."""
APART = 0.1
"""Distance of the landmarks, on average, up to which they are those of one face; of the width of its box."""
# Where the detector's boxes lie on the template: x1, y1, width, height (mean over frontal faces).
_ON_TEMPLATE = (0.23, 0.17, 0.54, 0.775)
_POINTS = (TEMPLATE - _ON_TEMPLATE[:2]) / _ON_TEMPLATE[2:]


def add_faces(
    image: AnyPixels, found: Sequence[Face], boxes: Sequence[BoxByHand], detector: FaceDetector
) -> tuple[list[Face], int]:
    """The faces found and those in the boxes, which take the place of found ones that they cover.

    The landmarks are those that the detector's last net sees in a box; where it sees none, those of an
    upright face that fills the box.

    Args:
        image: (H, W, 3) uint8 or uint16 RGB, or float32 in [0, 1].
        found: by the detector.
        boxes: x1, y1, x2, y2 in pixels of `image`; what lies outside is cut off.
        detector: looks for landmarks.

    Returns:
        Faces from left to right, those of the boxes with score 1; and for how many no landmarks were seen.

    Raises:
        ConfigError: a box lies outside the picture.
    """
    if not boxes:
        return list(found), 0
    height, width = image.shape[:2]
    drawn = [_cut(box, n, width, height) for n, box in enumerate(boxes, 1)]
    looks = [_seen(image, box, detector) for box in drawn]
    added = [Face(box, look.landmarks, 1.0) for box, look in zip(drawn, looks, strict=True)]
    kept = [face for face in found if not any(_is_same(face, other) for other in added)]
    blind = sum(look.score < SURE for look in looks)
    return sorted([*kept, *added], key=lambda face: (face.box.x1, face.box.y1)), blind


def check_boxes(boxes: Sequence[BoxByHand], width: int, height: int) -> None:
    """Refuse boxes that lie outside a picture of that size, pixels.

    Raises:
        ConfigError: one does.
    """
    for n, box in enumerate(boxes, 1):
        _cut(box, n, width, height)


def _cut(box: BoxByHand, n: int, width: int, height: int) -> Box:
    x1, x2 = (float(np.clip(x, 0, width - 1)) for x in (box[0], box[2]))
    y1, y2 = (float(np.clip(y, 0, height - 1)) for y in (box[1], box[3]))
    if x2 - x1 < 1 or y2 - y1 < 1:
        raise ConfigError(f"box {n} of a face lies outside the photo, which is {width}x{height} pixels")
    return Box(x1, y1, x2, y2)


def _is_same(found: Face, drawn: Face) -> bool:
    """Whether a box is that of a face that was found: by the boxes, or as the same features were seen."""
    apart = np.linalg.norm(found.landmarks - drawn.landmarks, axis=1).mean()
    return bool(iou([found.box], [drawn.box]) > SAME or apart < APART * found.box.width)


def _seen(image: AnyPixels, box: Box, detector: FaceDetector) -> Face:
    """The box with the surest landmarks; below `SURE` with those of an upright face."""
    guesses = [_upright(box, scale) for scale in SCALES]
    best = max(detector.follow(image, guesses), key=lambda face: face.score)
    return best if best.score >= SURE else Face(box, guesses[0].landmarks, 0.0)


def _upright(box: Box, scale: float) -> Face:
    size = scale * np.array([box.width, box.height])
    corner = np.array([box.x1 + box.x2, box.y1 + box.y2]) / 2 - size / 2
    points = (corner + _POINTS * size).astype(np.float32)
    return Face(Box(*map(float, corner), *map(float, corner + size)), points, 1.0)

"""Is a found face good enough to train on? Measures, gates and near-duplicates of aligned crops. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.warp import invert, scale_of, transform
from facemend.imaging import luma
from facemend.types import AlignedFace, FloatImage

# Bits of a fingerprint that may differ between two copies of one picture. Of 256; measured in docs/log.md.
NEAR = 24
# Brings `yaw_of` to the scale of the tables that weights are set by.
_TURN = 1.45
_SIDE = 16
PRINT_BYTES = _SIDE * _SIDE // 8


@dataclass(frozen=True)
class Measures:
    """What is known of a crop.

    Attributes:
        native_px: side of the crop in pixels of the photo.
        inside: share of the crop that lies in the photo, [0, 1]; the rest is reflected.
        yaw: turn of the head from the landmarks' asymmetry, about -1..1; positive where the nose is nearer to
            the eye on the picture's right.
        sharpness: variance of the Laplacian of brightness (0..255) at 256 px.
        score: the detector's confidence, [0, 1].
        contrast: standard deviation of brightness, [0, 1].
    """

    native_px: int
    inside: float
    yaw: float
    sharpness: float
    score: float
    contrast: float


@dataclass(frozen=True)
class Gates:
    """Least values (and one largest) that a training face needs."""

    min_native: int = 256
    min_score: float = 0.95
    min_inside: float = 0.8
    min_sharpness: float = 30.0
    min_contrast: float = 0.08
    max_yaw: float = 1.0

    def fault(self, face: Measures) -> tuple[str, float] | None:
        """The first gate that a face fails: its name and the figure; None if it passes all."""
        checks = (
            ("small", face.native_px, face.native_px < self.min_native),
            ("unsure", face.score, face.score < self.min_score),
            ("cut off", face.inside, face.inside < self.min_inside),
            ("flat", face.contrast, face.contrast < self.min_contrast),
            ("blurred", face.sharpness, face.sharpness < self.min_sharpness),
            ("turned", abs(face.yaw), abs(face.yaw) > self.max_yaw),
        )
        return next(((name, float(figure)) for name, figure, fails in checks if fails), None)


def measure(aligned: AlignedFace, width: int, height: int) -> Measures:
    """Measure a crop that was cut from a photo of `width` x `height` pixels."""
    side = aligned.crop.shape[0]
    grid = (np.arange(64) + 0.5) * side / 64 - 0.5
    places = transform(invert(aligned.matrix), np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2))
    inside = ((places > -0.5) & (places < (width - 0.5, height - 0.5))).all(1).mean()
    small = cv2.resize(aligned.crop, (256, 256), interpolation=cv2.INTER_AREA)
    gray = luma(small) * 255
    return Measures(
        native_px=round(side / scale_of(aligned.matrix)),
        inside=round(float(inside), 3),
        yaw=round(yaw_of(transform(aligned.matrix, aligned.face.landmarks)), 3),
        sharpness=round(float(cv2.Laplacian(gray, cv2.CV_32F).var()), 1),
        score=round(float(aligned.face.score), 4),
        contrast=round(float(gray.std() / 255), 4),
    )


def yaw_of(landmarks: NDArray[np.float64]) -> float:
    """Turn of the head from five landmarks of an upright face, clipped to -1..1.

    The nose tip lies midway between the eyes (and mouth corners) of a frontal face, and moves towards the far
    side as the head turns.
    """
    (left, right), nose, (mouth_left, mouth_right) = landmarks[:2], landmarks[2], landmarks[3:]
    middle = (left[0] + right[0] + mouth_left[0] + mouth_right[0]) / 4
    half = ((right[0] - left[0]) + (mouth_right[0] - mouth_left[0])) / 4
    return float(np.clip((nose[0] - middle) / max(_TURN * half, 1e-6), -1, 1))


def fingerprint(crop: FloatImage) -> NDArray[np.uint8]:
    """(32,) bytes: whether each of 16 x 16 places is brighter than its neighbour on the right."""
    gray = cv2.resize(luma(crop), (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(gray[:, :-1] > gray[:, 1:])


def mirrored(prints: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fingerprints (..., 32) of the mirror images, up to equal neighbours."""
    bits = np.unpackbits(prints, axis=-1).reshape(*prints.shape[:-1], _SIDE, _SIDE)
    return np.packbits(1 - bits[..., ::-1], axis=-1, bitorder="big").reshape(*prints.shape[:-1], -1)


def duplicates(prints: NDArray[np.uint8], ranks: Sequence[tuple[float, ...]]) -> dict[int, int]:
    """Crops that show the same picture as a better one, mirrored or not.

    Args:
        prints: (N, 32) fingerprints.
        ranks: how good each is; the highest is kept.

    Returns:
        Index of each copy -> index of the crop that is kept for it.
    """
    if not len(prints):
        return {}
    order = sorted(range(len(prints)), key=lambda i: ranks[i], reverse=True)
    kept = np.zeros_like(prints)
    numbers: list[int] = []
    found: dict[int, int] = {}
    flipped = mirrored(prints)
    for index in order:
        if numbers:
            before = kept[: len(numbers)]
            distance = np.minimum(_apart(before, prints[index]), _apart(before, flipped[index]))
            nearest = int(distance.argmin())
            if distance[nearest] <= NEAR:
                found[index] = numbers[nearest]
                continue
        kept[len(numbers)] = prints[index]
        numbers.append(index)
    return found


def _apart(prints: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(np.bitwise_count(prints ^ other).sum(1), np.int64)


def as_row(measures: Measures) -> dict[str, float]:
    """For tables."""
    return asdict(measures)

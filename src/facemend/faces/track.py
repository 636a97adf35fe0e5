"""Faces over the frames of a film: which box is which face, and landmarks that do not shake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facemend.faces.warp import scale_of, transform
from facemend.types import Box, Face, Matrix23

Points = NDArray[np.float64]
"""(N, 2) pixel positions."""


def iou(first: Sequence[Box], second: Sequence[Box]) -> NDArray[np.float64]:
    """Overlap of each box with each other, intersection over union: (N, M) in [0, 1]."""
    a, b = _corners(first)[:, None], _corners(second)[None]
    common = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(
        -1
    )
    areas = [np.clip(each[..., 2:] - each[..., :2], 0, None).prod(-1) for each in (a, b)]
    union = areas[0] + areas[1] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0), np.float64)


def _corners(boxes: Sequence[Box]) -> NDArray[np.float64]:
    return np.array([(box.x1, box.y1, box.x2, box.y2) for box in boxes], np.float64).reshape(-1, 4)


def match(known: Sequence[Box], found: Sequence[Box], least: float) -> list[tuple[int, int]]:
    """Pair boxes, those that overlap most first; each is paired once at most.

    Args:
        known: boxes of the tracks.
        found: boxes of the new frame.
        least: smallest overlap (IoU) of a pair.

    Returns:
        Pairs of indices (into `known`, into `found`).
    """
    overlap = iou(known, found)
    order = np.argsort(-overlap, axis=None, kind="stable")
    pairs: list[tuple[int, int]] = []
    for i, j in zip(*np.unravel_index(order, overlap.shape), strict=True):
        if overlap[i, j] < least:
            break
        if all(i != a and j != b for a, b in pairs):
            pairs.append((int(i), int(j)))
    return pairs


@dataclass(frozen=True)
class OneEuro:
    """Settings of the One-Euro filter (Casiez, Roussel and Vogel, CHI 2012).

    A low-pass whose cutoff rises with speed: what stands still does not shake, what moves does not lag.

    Attributes:
        least: cutoff at rest, Hz.
        slope: how much the cutoff rises, Hz for each unit of speed a second.
        speed: cutoff for the speed, Hz.
    """

    least: float
    slope: float
    speed: float = 1.0


@dataclass(frozen=True, eq=False)
class Smoothed:
    """State of a filter: the smoothed points (N, 2) and their speed (N, 2), units a second."""

    points: Points
    velocity: Points

    @classmethod
    def at(cls, points: NDArray[np.floating]) -> Smoothed:
        """A filter that begins at these points, at rest."""
        start = np.asarray(points, np.float64)
        return cls(start, np.zeros_like(start))


def share(cutoff: float, seconds: float) -> float:
    """How far a first-order low-pass follows its input within one step: (0, 1)."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * seconds))


def smooth(
    state: Smoothed, measured: NDArray[np.floating], seconds: float, settings: OneEuro, unit: float = 1.0
) -> Smoothed:
    """One step of the filter. All points share one cutoff, so that a face keeps its shape.

    Args:
        state: before.
        measured: (N, 2), where the points were found now.
        seconds: since the last step, > 0.
        settings: of the filter.
        unit: length in which speed is measured, such as the size of the face, so that small and large faces
            are smoothed alike.
    """
    raw = (np.asarray(measured, np.float64) - state.points) / seconds
    velocity = state.velocity + share(settings.speed, seconds) * (raw - state.velocity)
    speed = float(np.linalg.norm(velocity, axis=1).mean()) / unit
    follow = share(settings.least + settings.slope * speed, seconds)
    return Smoothed(state.points + follow * (measured - state.points), velocity)


def moved(face: Face, matrix: Matrix23) -> Face:
    """A face after the picture under it moved by a similarity transform; the box stays upright."""
    box = face.box
    corners = np.array([(box.x1, box.y1), (box.x2, box.y2)])
    middle = transform(matrix, corners.mean(0, keepdims=True))[0]
    half = (corners[1] - corners[0]) / 2 * scale_of(matrix)
    low, high = middle - half, middle + half
    points = transform(matrix, face.landmarks).astype(np.float32)
    return Face(Box(float(low[0]), float(low[1]), float(high[0]), float(high[1])), points, face.score)

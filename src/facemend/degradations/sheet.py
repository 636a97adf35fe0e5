"""Contact sheets of a recipe: a clean face and many draws, so that people can look before a training."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.degradations.mixture import Mixture
from facemend.degradations.plan import apply
from facemend.degradations.recipe import Recipe
from facemend.imaging import from_float, resize, to_float

Pixels = NDArray[np.uint8]

COLUMNS, ROWS = 6, 4
# Largest side of a picture on the sheet, and the strip below it for its label.
CELL, LABEL = 256, 18
MOST = 24
"""Faces that a sheet has room for."""


def draw_sheet(faces: Sequence[Pixels], how: Recipe | Mixture, seed: int = 0) -> Pixels:
    """Degrade faces again and again, side by side.

    Each face has whole rows of six: four rows if it is alone, two for each of two, else one. The first cell
    is the clean face; the n-th draw on the sheet, counted from 0, has seed + n, and says so.

    Args:
        faces: 1 to `MOST` pictures, each (H, W, 3) uint8 RGB, degraded at their own size.
        how: what to draw from.
        seed: seed of the first draw.

    Returns:
        (rows * (CELL + LABEL), COLUMNS * CELL, 3) uint8 RGB; cells are smaller if all faces are.
    """
    side = min(CELL, max(max(face.shape[:2]) for face in faces))
    draws = max(1, ROWS // len(faces)) * COLUMNS - 1
    cells = []
    for index, face in enumerate(faces):
        cells.append(_cell(face, "clean", side))
        for number in range(seed + index * draws, seed + (index + 1) * draws):
            plan = how.draw(np.random.default_rng(number), min(face.shape[:2]))
            cells.append(_cell(apply(face, plan), f"seed {number}", side))
    rows = (np.hstack(cells[first : first + COLUMNS]) for first in range(0, len(cells), COLUMNS))
    return np.vstack(list(rows))


def _cell(face: Pixels, label: str, side: int) -> Pixels:
    height, width = face.shape[:2]
    shrink = min(1.0, side / max(height, width))
    shown = max(1, round(width * shrink)), max(1, round(height * shrink))
    cell = np.full((side + LABEL, side, 3), 245, np.uint8)
    cell[: shown[1], : shown[0]] = from_float(resize(to_float(face), shown))
    at = (4, side + LABEL - 5)
    cv2.putText(cell, label, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return cell

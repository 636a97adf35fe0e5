"""Contact sheets: many small faces on one picture, so that people can look instead of read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.errors import FacemendError
from facemend.imaging import Picture, from_float, read_picture, resize, write_picture

CELL, COLUMNS, LABEL = 96, 12, 22
# Faces of a sheet: spread evenly over all of them.
MOST = 120


def write_sheet(path: Path, groups: Mapping[str, Sequence[Path]]) -> None:
    """Write a sheet with a headed block of faces for each group; none if there is no face."""
    shown = {name: files for name, files in groups.items() if files}
    if not shown:
        path.unlink(missing_ok=True)
        return
    room = max(COLUMNS, MOST // len(shown) // COLUMNS * COLUMNS)
    blocks = [_block(f"{name}: {len(files)}", _spread(files, room)) for name, files in shown.items()]
    write_picture(path, Picture(pixels=np.concatenate(blocks)), overwrite=True, quality=88)


def _spread(files: Sequence[Path], most: int) -> list[Path]:
    if len(files) <= most:
        return list(files)
    return [files[i] for i in np.linspace(0, len(files) - 1, most).astype(int)]


def _block(label: str, files: Sequence[Path]) -> NDArray[np.uint8]:
    rows = -(-len(files) // COLUMNS)
    sheet = np.full((LABEL + rows * CELL, COLUMNS * CELL, 3), 245, np.uint8)
    cv2.putText(sheet, label, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    for number, file in enumerate(files):
        try:
            face = from_float(resize(read_picture(file).as_float(), (CELL - 2, CELL - 2)))
        except FacemendError:
            continue  # gone since: the tables still name it
        top, left = LABEL + number // COLUMNS * CELL, number % COLUMNS * CELL
        sheet[top : top + CELL - 2, left : left + CELL - 2] = face
    return sheet

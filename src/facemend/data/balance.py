"""Sampling weights by pose and source: what is rare among the pictures need not be rare in training."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from facemend.data.faces import FaceSet
from facemend.errors import ConfigError, InputError
from facemend.files import read_table

# |yaw| of a frontal and of a turned face, about -1..1 by landmark asymmetry; weights grow in between.
FRONTAL, TURNED = 0.1, 0.4

Row = Mapping[str, str]


def weighted(faces: FaceSet, table: Path, turned: float, sources: Mapping[str, float]) -> FaceSet:
    """Change the weights of faces by what a table knows of them.

    Args:
        faces: pictures named "folder/file".
        table: CSV with the columns folder and file, and yaw and source where they are to count. A face is
            found by folder and file, else by its file if only one row has it (the same picture at another
            size). One that is not found, or whose yaw is empty, keeps its weight.
        turned: factor for |yaw| of at least 0.4; grows from 1 at 0.1.
        sources: factors by the column source.

    Raises:
        InputError: the table cannot be read, names none of the faces, or has a yaw that is no number.
        ConfigError: a source has a factor and no row, or no picture is left.
    """
    rows = read_table(table, ["folder", "file"])
    known = {row.get("source") or "" for row in rows}
    if unknown := sorted(set(sources) - known):
        there = ", ".join(sorted(known - {""})) or "none"
        raise ConfigError(f"data.sources: no row of {', '.join(unknown)} in {table}; its sources: {there}")
    found = _found(faces.names, rows)
    if not any(found):
        raise InputError(f"{table}: none of its rows names one of the {len(faces)} training pictures")
    weights = faces.weights.copy()
    for index, row in enumerate(found):
        yaw = abs(_number(row, "yaw", table))
        weights[index] *= sources.get(row.get("source") or "", 1.0)
        weights[index] *= 1 + (turned - 1) * np.clip((yaw - FRONTAL) / (TURNED - FRONTAL), 0, 1)
    if not weights.sum() > 0:
        raise ConfigError("data.sources: every picture has weight 0")
    return replace(faces, weights=weights)


def _found(names: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    """The row of each face, empty where there is none."""
    exact = {f"{row['folder']}/{row['file']}": row for row in rows}
    times = Counter(row["file"] for row in rows)
    by_file = {row["file"]: row for row in rows if times[row["file"]] == 1}
    return [exact.get(name) or by_file.get(name.split("/")[-1]) or {} for name in names]


def _number(row: Row, column: str, table: Path) -> float:
    """A number of a row; 0 where it is empty."""
    text = row.get(column) or "0"
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{table}: {column} of {row['folder']}/{row['file']} is not a number: {text!r}")
    return number

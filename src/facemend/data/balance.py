"""Sampling weights by pose and source: what is rare among the pictures need not be rare in training."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from facemend.data.faces import FaceSet
from facemend.errors import ConfigError, InputError

# |yaw| of a frontal and of a turned face, about -1..1 by landmark asymmetry; weights grow in between.
FRONTAL, TURNED = 0.1, 0.4


def weighted(faces: FaceSet, table: Path, turned: float, sources: Mapping[str, float]) -> FaceSet:
    """Change the weights of faces by what a table knows of them.

    Args:
        faces: pictures named "folder/file".
        table: CSV with the columns folder and file, and yaw and source where they are to count. A face
            that is not in it, or whose yaw is empty, keeps its weight.
        turned: factor for |yaw| of at least 0.4; grows from 1 at 0.1.
        sources: factors by the column source.

    Raises:
        InputError: the table cannot be read, or names none of the faces.
        ConfigError: a source has a factor and no picture, or no picture is left.
    """
    rows = _rows(table)
    if not any(name in rows for name in faces.names):
        raise InputError(f"{table}: none of its rows names one of the {len(faces)} training pictures")
    weights = faces.weights.copy()
    seen: set[str] = set()
    for index, name in enumerate(faces.names):
        row = rows.get(name, {})
        source = row.get("source") or ""
        seen.add(source)
        weights[index] *= sources.get(source, 1.0)
        try:
            yaw = abs(float(row.get("yaw") or 0))
        except ValueError:
            raise InputError(f"{table}: yaw of {name} is not a number: {row['yaw']!r}") from None
        weights[index] *= 1 + (turned - 1) * np.clip((yaw - FRONTAL) / (TURNED - FRONTAL), 0, 1)
    if unknown := sorted(set(sources) - seen):
        raise ConfigError(f"data.sources: no picture of {', '.join(unknown)} in {table}")
    if not weights.sum() > 0:
        raise ConfigError("data.sources: every picture has weight 0")
    return replace(faces, weights=weights)


def _rows(table: Path) -> dict[str, dict[str, str]]:
    try:
        with table.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not {"folder", "file"} <= set(reader.fieldnames or ()):
                raise InputError(f"{table}: needs the columns folder and file")
            return {f"{row['folder']}/{row['file']}": row for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: cannot read the table of pictures ({error})") from None

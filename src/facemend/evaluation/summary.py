"""From values per picture to means with intervals, and slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Values = Sequence[float | None]

RESAMPLES = 2000
STRENGTHS = ("mild", "middle", "strong")


def interval(values: Values, seed: int = 0) -> dict[str, float | int | None]:
    """Mean and its 95 % bootstrap interval (percentiles of the means of resampled pictures).

    Args:
        values: one number a picture; None where there is none.
        seed: of the resampling.

    Returns:
        `mean`, `low`, `high` (None without values) and `n`.
    """
    held = np.array([value for value in values if value is not None], np.float64)
    if not len(held):
        return {"mean": None, "low": None, "high": None, "n": 0}
    picks = np.random.default_rng(seed).integers(len(held), size=(RESAMPLES, len(held)))
    low, high = np.percentile(held[picks].mean(1), (2.5, 97.5))
    return {"mean": float(held.mean()), "low": float(low), "high": float(high), "n": len(held)}


def means(values: Mapping[str, Values]) -> dict[str, dict[str, float | int | None]]:
    """`interval` of every metric."""
    return {metric: interval(column) for metric, column in values.items()}


def strengths(difficulty: Values) -> list[str]:
    """Thirds by how bad the input is: the lowest values are "mild", the highest "strong".

    "" where there is no value, and everywhere if there are fewer values than thirds.
    """
    known = sorted(value for value in difficulty if value is not None)
    if len(known) < len(STRENGTHS):
        return [""] * len(difficulty)
    cuts = [known[len(known) * part // 3] for part in (1, 2)]
    return ["" if value is None else STRENGTHS[sum(value >= cut for cut in cuts)] for value in difficulty]


def slices(
    values: Mapping[str, Values], labels: Sequence[Mapping[str, str]]
) -> dict[str, dict[str, dict[str, dict[str, float | int | None]]]]:
    """`means` within every value of every label; labels that do not divide the pictures are left out.

    Args:
        values: metric -> one number a picture.
        labels: the labels of each picture.
    """
    result: dict[str, Any] = {}
    for group in sorted({key for row in labels for key in row}):
        parts = sorted({row[group] for row in labels if row.get(group)}, key=_order)
        if len(parts) < 2:
            continue
        result[group] = {
            part: {metric: _of_part(column, labels, group, part) for metric, column in values.items()}
            for part in parts
        }
    return result


def _of_part(
    column: Values, labels: Sequence[Mapping[str, str]], group: str, part: str
) -> dict[str, float | int | None]:
    """`interval` of the pictures of a part; of a single one there is none, which would look certain."""
    own = interval([v for v, row in zip(column, labels, strict=True) if row.get(group) == part])
    return {**own, "low": None, "high": None} if own["n"] == 1 else own


def _order(part: str) -> tuple[int, str]:
    return (STRENGTHS.index(part) if part in STRENGTHS else -1, part)

"""Ranges of recipes, and whether they make sense."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING

from facemend.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Range = tuple[float, float]
"""(low, high) of a uniform draw."""


def check(ranges: DataclassInstance, bounds: Iterable[tuple[str, float, float]]) -> None:
    """Refuse ranges that are none: fields whose value is a pair of numbers, and those called *_probability.

    Args:
        ranges: what has the fields.
        bounds: (name of a field, least, most): of what a range may give, or of a single number.

    Raises:
        ConfigError: a probability is not one, a range is upside down, or a field passes its bounds.
    """
    for field in fields(ranges):
        value = getattr(ranges, field.name)
        if field.name.endswith("_probability"):
            if not 0 <= value <= 1:
                raise ConfigError(f"degradation recipe: {field.name} must be in [0, 1], got {value}")
        elif isinstance(value, tuple) and isinstance(value[0], int | float) and not value[0] <= value[1]:
            raise ConfigError(f"degradation recipe: {field.name} must be (low, high), got {value}")
    for name, low, high in bounds:
        value = getattr(ranges, name)
        least, most = value if isinstance(value, tuple) else (value, value)
        if not (low <= least and most <= high):
            raise ConfigError(f"degradation recipe: {name} must lie in [{low:g}, {high:g}], got {value}")

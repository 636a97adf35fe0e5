"""Parts of charts as inline SVG: elements, round tick values, ranges. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree as ET

Element = ET.Element
MINUS = "\N{MINUS SIGN}"


def coordinates(places: Sequence[tuple[float, float]]) -> str:
    """Places as the `points` of a line."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def padded(values: Sequence[float]) -> tuple[float, float]:
    """Range of the values with some air; never empty."""
    low, high = min(values), max(values)
    air = 0.09 * (high - low) or 0.05 * abs(high) or 0.5
    return low - air, high + air


def round_ticks(low: float, high: float, count: int) -> tuple[list[float], int]:
    """Round values inside a range, about `count` of them, and the decimals that they need."""
    raw = (high - low) / count
    power = math.floor(math.log10(raw))
    step = next(s for m in (1, 2, 2.5, 5, 10) if (s := m * 10.0**power) >= raw * 0.999)
    first = math.ceil(low / step)
    values = [k * step for k in range(first, math.floor(high / step) + 1)]
    places = next(p for p in range(12) if p == 11 or abs(step - round(step, p)) < 1e-6 * step)
    return [0.0 if abs(v) < step / 1e6 else v for v in values], places


def tag(parent: Element, name: str, text: str = "", **attributes: str | float) -> Element:
    """Append an element; `class_` becomes class, underscores become hyphens."""
    element = ET.SubElement(parent, name)
    for key, value in attributes.items():
        written = value if isinstance(value, str) else f"{value:.1f}"
        element.set(key.rstrip("_").replace("_", "-"), written)
    if text:
        element.text = text
    return element

"""Curves of a run as inline SVG. Colours come from the classes c0, c1, ... of the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from facemend.svg import MINUS, coordinates, padded, round_ticks, tag

COLORS = 6
WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 34
# Of the running mean that is drawn over the values of each log line.
_SMOOTH = 0.12

Curve = Sequence[tuple[int, float]]


def chart(
    curves: Mapping[str, Curve],
    boundaries: Sequence[int],
    *,
    ident: str,
    title: str,
    smooth: bool = True,
    log: bool = False,
) -> str:
    """One picture of some figures over the steps.

    Args:
        curves: (step, value) by name, steps rising; at least one point in all.
        boundaries: steps at which a phase ended, drawn as upright lines.
        ident: prefix of the element ids, unique on the page.
        title: accessible name.
        smooth: draw a running mean, the values themselves faintly behind it.
        log: logarithmic axis if the values span more than a decade; those that are not positive are left out.

    Returns:
        An `<svg>` element as text, everything escaped.
    """
    positive = [v for curve in curves.values() for _, v in curve if v > 0]
    log = log and bool(positive) and max(positive) > 10 * min(positive)
    shown = {name: [(s, v) for s, v in curve if not log or v > 0] for name, curve in curves.items()}
    shown = {name: curve for name, curve in shown.items() if curve}
    values = [math.log10(v) if log else v for curve in shown.values() for _, v in curve]
    steps = [s for curve in shown.values() for s, _ in curve]
    (low, high), (first, last) = padded(values), (min(steps), max(max(steps), min(steps) + 1))

    def place(step: float, value: float) -> tuple[float, float]:
        height = (math.log10(value) if log else value) - low
        across = (step - first) / (last - first)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - height / (high - low) * (HEIGHT - TOP - BOTTOM),
        )

    svg = ET.Element("svg", {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "font-size": "11"})
    svg.set("aria-labelledby", f"{ident}-title")
    svg.set("aria-describedby", f"{ident}-desc")
    tag(svg, "title", title, id=f"{ident}-title")
    ends = "; ".join(f"{name} {number(c[0][1])} to {number(c[-1][1])}" for name, c in shown.items())
    tag(svg, "desc", f"Steps {first} to {last}: {ends}.", id=f"{ident}-desc")

    axes = tag(svg, "g", class_="axes")
    for value, text in _values(low, high, log):
        y = place(first, value)[1]
        tag(axes, "line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y)
        tag(axes, "text", text, x=LEFT - 6, y=y + 4, text_anchor="end")
    for step in round_ticks(first, last, 5)[0]:
        x = LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        tag(axes, "text", f"{step:,.0f}", x=x, y=HEIGHT - BOTTOM + 15, text_anchor="middle")
    tag(axes, "text", "step", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 4, text_anchor="middle")
    for step in boundaries:
        if first < step < last:
            x = LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)
            tag(axes, "line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="phase")

    for index, name in enumerate(curves):
        if name not in shown:
            continue
        group = tag(svg, "g", class_=f"c{index % COLORS}")
        curve = shown[name]
        if smooth and len(curve) > 12:
            tag(group, "polyline", points=coordinates([place(*p) for p in curve]), class_="faint")
            curve = _smoothed(curve)
        tag(group, "polyline", points=coordinates([place(*p) for p in curve]))
        if len(curve) < 12:
            for point in curve:
                x, y = place(*point)
                dot = tag(group, "circle", cx=x, cy=y, r=2.5)
                tag(dot, "title", f"{name}, step {point[0]}: {number(point[1])}")
    return ET.tostring(svg, encoding="unicode")


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3g}".replace("-", MINUS)


def _values(low: float, high: float, log: bool) -> list[tuple[float, str]]:
    if not log:
        found, places = round_ticks(low, high, 5)
        return [(v, f"{v:.{places}f}".replace("-", MINUS)) for v in found]
    powers = range(math.ceil(low), math.floor(high) + 1)
    if len(powers) > 1:
        return [(10.0**k, number(10.0**k)) for k in powers]
    return [(10**v, number(10**v)) for v in round_ticks(low, high, 4)[0]]


def _smoothed(curve: Curve) -> list[tuple[int, float]]:
    mean, found = curve[0][1], []
    for step, value in curve:
        mean += _SMOOTH * (value - mean)
        found.append((step, mean))
    return found

"""The charts of the reports. Colours and dashes come from the classes c0, c1, ... of page.css."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from facemend.charts.svg import MINUS, Element, Frame, Labels, Place, coordinates, padded, round_ticks, tag

COLORS = 6
"""Number of colour classes; later series start again at the first."""
# Of the running mean that is drawn over the values of each log line.
_SMOOTH = 0.12
_MARK = 30
"""Letters that fit beside a single point."""

Curve = Sequence[tuple[int, float]]
"""(step, value), steps rising."""


@dataclass(frozen=True)
class Axis:
    """What an axis shows, and which of its ends is better."""

    label: str
    higher_is_better: bool

    @property
    def hint(self) -> str:
        """The label with its direction."""
        return f"{self.label} ({'higher' if self.higher_is_better else 'lower'} is better)"

    def ends(self, values: Sequence[float]) -> tuple[float, float]:
        """Range of the values with some air, the worse end first."""
        low, high = padded(values)
        return (low, high) if self.higher_is_better else (high, low)


@dataclass(frozen=True)
class Point:
    """A measured point.

    Attributes:
        label: short text beside it.
        x: value on the horizontal axis.
        y: value on the vertical axis.
        detail: one line for the pointer and for screen readers.
        low: lower end of the interval of y, None without one.
        high: upper end.
    """

    label: str
    x: float
    y: float
    detail: str
    low: float | None = None
    high: float | None = None

    @property
    def xy(self) -> Place:
        """Both values."""
        return self.x, self.y


@dataclass(frozen=True)
class Series:
    """Points that belong together, joined in the order given."""

    name: str
    points: tuple[Point, ...]

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(p.detail for p in self.points)}."


def trade_off(
    series: Sequence[Series], marks: Sequence[Point], x: Axis, y: Axis, *, ident: str, title: str
) -> str:
    """Two metrics against each other: one line for each model, single points for the rest.

    Both axes are turned so that better is to the right and up.

    Args:
        series: at least one, with at least one point.
        marks: single points; the first is drawn as the input.
        x: horizontal axis.
        y: vertical axis.
        ident: prefix of the element ids, unique on the page.
        title: accessible name.

    Returns:
        An `<svg>` element as text, everything escaped.
    """
    points = [*(point for line in series for point in line.points), *marks]
    ends = x.ends([p.x for p in points]), y.ends([p.y for p in points])
    frame = Frame((600, 440), (62, 20, 16, 54), 13, *ends)
    described = [*map(str, series), *(f"{p.label}: {p.detail}." for p in marks)]
    svg = frame.open(ident, title, " ".join(described))
    frame.axes(svg, x.hint, y.hint, *(round_ticks(end, 6) for end in ends))
    _, top, right, _ = frame.box
    tag(svg, "text", "better ↗", x=right - 6, y=top + 16, class_="muted", text_anchor="end")
    labels = Labels(frame)
    labels.block(right - 70, top, right, top + 22)
    for px, py in (frame.at(*p.xy) for p in points):
        labels.block(px - 5, py - 5, px + 5, py + 5)
    for line in series:
        labels.avoid([frame.at(*p.xy) for p in line.points])
    _lines(svg, frame, series, 4.5)
    for number, mark in enumerate(marks):
        _mark(svg, frame.at(*mark.xy), mark, is_input=number == 0)
    for number, line in enumerate(series):
        group = tag(svg, "g", class_=f"c{number % COLORS} label")
        for point in line.points:
            labels.write(group, frame.at(*point.xy), point.label)
    group = tag(svg, "g", class_="label")
    for mark in marks:
        short = mark.label if len(mark.label) <= _MARK else f"{mark.label[: _MARK - 1]}…"
        labels.write(group, frame.at(*mark.xy), short)
    return ET.tostring(svg, encoding="unicode")


def over_w(series: Sequence[Series], level: float | None, y: Axis, *, ident: str, title: str) -> str:
    """One metric against w, with bands for the intervals and a dashed line for the input.

    Args:
        series: at least one, with at least one point; x is w.
        level: the input's value, None without one.
        y: the metric.
        ident: prefix of the element ids, unique on the page.
        title: accessible name.

    Returns:
        An `<svg>` element as text, everything escaped.
    """
    values = [v for line in series for p in line.points for v in (p.y, p.low, p.high) if v is not None]
    ends = (-0.04, 1.04), padded(values if level is None else [*values, level])
    frame = Frame((300, 220), (54, 12, 10, 38), 12, *ends)
    svg = frame.open(ident, title, " ".join(map(str, series)))
    frame.axes(svg, "w", "", *(round_ticks(end, 4) for end in ends))
    if level is not None:
        height = frame.at(0, level)[1]
        tag(svg, "line", x1=frame.box[0], x2=frame.box[2], y1=height, y2=height, class_="input")
    for number, line in enumerate(series):
        band = [(p.x, p.low, p.high) for p in line.points if p.low is not None and p.high is not None]
        if len(band) > 1:
            edge = [frame.at(w, high) for w, _, high in band]
            edge += [frame.at(w, low) for w, low, _ in reversed(band)]
            group = tag(svg, "g", class_=f"c{number % COLORS}")
            tag(group, "polygon", points=coordinates(edge), class_="band")
    _lines(svg, frame, series, 3.5)
    return ET.tostring(svg, encoding="unicode")


def over_steps(
    curves: Mapping[str, Curve],
    boundaries: Sequence[int],
    *,
    ident: str,
    title: str,
    smooth: bool = True,
    log: bool = False,
) -> str:
    """Values over the steps of a run.

    Args:
        curves: by name; at least one point in all.
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
    steps = [s for curve in shown.values() for s, _ in curve]
    values = [math.log10(v) if log else v for curve in shown.values() for _, v in curve]
    first, last = min(steps), max(max(steps), min(steps) + 1)
    frame = Frame((460, 240), (52, 12, 12, 34), 11, (first, last), padded(values))
    told = "; ".join(f"{name} {number(c[0][1])} to {number(c[-1][1])}" for name, c in shown.items() if c)
    svg = frame.open(ident, title, f"Steps {first} to {last}: {told}.")
    axes = frame.axes(
        svg, "step", "", round_ticks(frame.x, 5), _log_ticks(frame.y) if log else round_ticks(frame.y, 5)
    )
    for step in boundaries:
        if first < step < last:
            x = frame.at(step, frame.y[0])[0]
            tag(axes, "line", x1=x, x2=x, y1=frame.box[1], y2=frame.box[3], class_="phase")
    for index, (name, curve) in enumerate(shown.items()):
        group = tag(svg, "g", class_=f"c{index % COLORS}")
        drawn = [(s, math.log10(v) if log else v) for s, v in curve]
        if smooth and len(curve) > 12:
            frame.line(group, drawn, class_="faint")
            drawn = [(s, math.log10(v) if log else v) for s, v in _smoothed(curve)]
        frame.line(group, drawn)
        if len(curve) < 12:
            for (step, value), point in zip(curve, drawn, strict=True):
                frame.dot(group, point, 2.5, f"{name}, step {step}: {number(value)}")
    return ET.tostring(svg, encoding="unicode")


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3g}".replace("-", MINUS)


def _lines(svg: Element, frame: Frame, series: Sequence[Series], radius: float) -> None:
    for number, line in enumerate(series):
        group = tag(svg, "g", class_=f"c{number % COLORS}")
        frame.line(group, [p.xy for p in line.points])
        for point in line.points:
            frame.dot(group, point.xy, radius, f"{line.name}: {point.detail}")


def _mark(svg: Element, place: Place, point: Point, *, is_input: bool) -> None:
    """The input is a cross, every peer a square: no one needs colours to tell them apart."""
    group, (px, py) = tag(svg, "g", class_="mark input" if is_input else "mark"), place
    if is_input:
        shape = tag(group, "path", d=f"M{px - 5:.1f} {py - 5:.1f}l10 10m0 -10l-10 10")
    else:
        shape = tag(group, "rect", x=px - 4.5, y=py - 4.5, width=9, height=9)
    tag(shape, "title", f"{point.label}: {point.detail}")


def _log_ticks(ends: tuple[float, float]) -> list[tuple[float, str]]:
    """Powers of ten, or what lies between where there is one at most."""
    powers = range(math.ceil(ends[0]), math.floor(ends[1]) + 1)
    values = list(map(float, powers)) if len(powers) > 1 else [v for v, _ in round_ticks(ends, 4)]
    return [(v, number(10**v)) for v in values]


def _smoothed(curve: Curve) -> list[tuple[int, float]]:
    mean, found = curve[0][1], []
    for step, value in curve:
        mean += _SMOOTH * (value - mean)
        found.append((step, mean))
    return found

"""Charts as inline SVG. Colours and dashes come from the classes c0, c1, ... of the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as ET

from facemend.svg import MINUS, Element, coordinates, padded, round_ticks, tag

COLORS = 6
"""Number of colour classes; later series start again at the first."""

_CHAR = 0.62
"""Width of an average character, in font sizes."""


@dataclass(frozen=True)
class Axis:
    """What an axis shows, and which of its ends is better."""

    label: str
    higher_is_better: bool

    @property
    def hint(self) -> str:
        """The label with its direction."""
        return f"{self.label} ({'higher' if self.higher_is_better else 'lower'} is better)"


@dataclass(frozen=True)
class Point:
    """A measured point.

    Attributes:
        label: short text beside it; "" for none.
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


@dataclass(frozen=True)
class Series:
    """Points that belong together, joined in the order given."""

    name: str
    points: tuple[Point, ...]


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
    points = [point for line in series for point in line.points]
    frame = _Frame(600, 440, (62, 20, 16, 54), 13, x, y, [p.x for p in (*points, *marks)])
    frame.fit_y([p.y for p in (*points, *marks)], flip=not y.higher_is_better)
    details = [f"{line.name}: {'; '.join(p.detail for p in line.points)}." for line in series]
    svg = frame.open(ident, title, " ".join([*details, *(f"{p.label}: {p.detail}." for p in marks)]))
    frame.axes(svg, x.hint, y.hint, ticks=6)
    tag(svg, "text", "better ↗", x=frame.right - 6, y=frame.top + 16, class_="muted", text_anchor="end")
    places = _Labels(frame)
    places.block(frame.right - 70, frame.top, frame.right, frame.top + 22)
    for point in (*points, *marks):
        px, py = frame.at(point.x, point.y)
        places.block(px - 5, py - 5, px + 5, py + 5)
    for line in series:
        places.avoid([frame.at(p.x, p.y) for p in line.points])
    for number, line in enumerate(series):
        group = tag(svg, "g", class_=f"c{number % COLORS}")
        _path(group, [frame.at(p.x, p.y) for p in line.points])
        for point in line.points:
            px, py = frame.at(point.x, point.y)
            _described(tag(group, "circle", cx=px, cy=py, r=4.5), f"{line.name}: {point.detail}")
    for number, point in enumerate(marks):
        _mark(svg, *frame.at(point.x, point.y), point, is_input=number == 0)
    for number, line in enumerate(series):
        group = tag(svg, "g", class_=f"c{number % COLORS} label")
        for point in line.points:
            places.write(group, point, point.label)
    group = tag(svg, "g", class_="label")
    for point in marks:
        places.write(group, point, _short(point.label, 30))
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
    points = [point for line in series for point in line.points]
    frame = _Frame(300, 220, (54, 12, 10, 38), 12, Axis("w", True), y, [0.0, 1.0])
    ends = [v for p in points for v in (p.y, p.low, p.high) if v is not None]
    frame.fit_y(ends if level is None else [*ends, level], flip=False)
    details = [f"{line.name}: {'; '.join(p.detail for p in line.points)}." for line in series]
    svg = frame.open(ident, title, " ".join(details))
    frame.axes(svg, "w", "", ticks=4)
    if level is not None:
        height = frame.at(0, level)[1]
        tag(svg, "line", x1=frame.left, x2=frame.right, y1=height, y2=height, class_="input")
    for number, line in enumerate(series):
        group = tag(svg, "g", class_=f"c{number % COLORS}")
        band = [p for p in line.points if p.low is not None and p.high is not None]
        if len(band) > 1:
            edge = [frame.at(p.x, p.high or 0.0) for p in band]
            edge += [frame.at(p.x, p.low or 0.0) for p in reversed(band)]
            tag(group, "polygon", points=coordinates(edge), class_="band")
        _path(group, [frame.at(p.x, p.y) for p in line.points])
        for point in line.points:
            px, py = frame.at(point.x, point.y)
            _described(tag(group, "circle", cx=px, cy=py, r=3.5), f"{line.name}: {point.detail}")
    return ET.tostring(svg, encoding="unicode")


class _Frame:
    """The plotting area: from values to places."""

    def __init__(
        self,
        width: int,
        height: int,
        margins: tuple[int, int, int, int],
        font: int,
        x: Axis,
        y: Axis,
        xs: Sequence[float],
    ) -> None:
        left, right, top, bottom = margins
        self.width, self.height, self.font = width, height, font
        self.left, self.right, self.top, self.bottom = left, width - right, top, height - bottom
        self.x, self.y = x, y
        self.x_range = padded(xs) if x.label != "w" else (-0.04, 1.04)
        self.flip_x, self.flip_y = not x.higher_is_better, False
        self.y_range = (0.0, 1.0)

    def fit_y(self, ys: Sequence[float], *, flip: bool) -> None:
        self.y_range, self.flip_y = padded(ys), flip

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        up = (y - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        across, up = (1 - across if self.flip_x else across), (1 - up if self.flip_y else up)
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)

    def open(self, ident: str, title: str, description: str) -> Element:
        svg = ET.Element("svg", {"viewBox": f"0 0 {self.width} {self.height}", "role": "img"})
        svg.set("aria-labelledby", f"{ident}-title")
        svg.set("aria-describedby", f"{ident}-desc")
        svg.set("font-size", str(self.font))
        tag(svg, "title", title, id=f"{ident}-title")
        tag(svg, "desc", description, id=f"{ident}-desc")
        return svg

    def axes(self, svg: Element, x_label: str, y_label: str, ticks: int) -> None:
        group = tag(svg, "g", class_="axes")
        values, places = round_ticks(*self.x_range, ticks)
        for value in values:
            px = self.at(value, self.y_range[0])[0]
            tag(group, "line", x1=px, x2=px, y1=self.top, y2=self.bottom)
            text = f"{value:.{places}f}".replace("-", MINUS)
            tag(group, "text", text, x=px, y=self.bottom + 1.4 * self.font, text_anchor="middle")
        values, places = round_ticks(*self.y_range, ticks)
        for value in values:
            py = self.at(self.x_range[0], value)[1]
            tag(group, "line", x1=self.left, x2=self.right, y1=py, y2=py)
            text = f"{value:.{places}f}".replace("-", MINUS)
            tag(group, "text", text, x=self.left - 6, y=py + 0.35 * self.font, text_anchor="end")
        middle = (self.left + self.right) / 2
        tag(group, "text", x_label, x=middle, y=self.height - 5, class_="name", text_anchor="middle")
        if y_label:
            place = f"translate({self.font + 2} {(self.top + self.bottom) / 2}) rotate(-90)"
            tag(group, "text", y_label, transform=place, class_="name", text_anchor="middle")


class _Labels:
    """Finds room for the text beside each point: the nearest place that covers nothing written before."""

    def __init__(self, frame: _Frame) -> None:
        self._frame = frame
        self._taken: list[tuple[float, float, float, float]] = []

    def block(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self._taken.append((x1, y1, x2, y2))

    def avoid(self, places: Sequence[tuple[float, float]]) -> None:
        """Keep off a drawn line: small boxes along it."""
        for (x1, y1), (x2, y2) in pairwise(places):
            steps = math.ceil(math.hypot(x2 - x1, y2 - y1) / 5) or 1
            for k in range(steps + 1):
                x, y = x1 + (x2 - x1) * k / steps, y1 + (y2 - y1) * k / steps
                self.block(x - 2, y - 2, x + 2, y + 2)

    def write(self, group: Element, point: Point, text: str) -> None:
        if not text:
            return
        frame = self._frame
        width, height = _CHAR * frame.font * len(text), frame.font + 1.0
        px, py = frame.at(point.x, point.y)
        box, distance = self._room(px, py, width, height)
        self.block(*box)
        middle = (box[1] + box[3]) / 2
        if distance > 12:  # far away: a thin line says which point is meant
            edge = min(max(px, box[0]), box[2]), min(max(py, box[1]), box[3])
            tag(group, "line", x1=px, y1=py, x2=edge[0], y2=edge[1], class_="leader")
        place = {"x": (box[0] + box[2]) / 2, "y": middle + 0.35 * frame.font}
        tag(group, "text", text, text_anchor="middle", **place)

    def _room(
        self, px: float, py: float, width: float, height: float
    ) -> tuple[tuple[float, float, float, float], float]:
        frame = self._frame
        best: tuple[float, tuple[float, float, float, float], float] | None = None
        for distance in (8.0, 16.0, 28.0, 42.0, 58.0):
            for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)):
                cx = px + dx * (distance + width / 2)
                cy = py + dy * (distance + height / 2)
                box = cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
                inside = box[0] >= frame.left and box[2] <= frame.right + 8
                inside = inside and box[1] >= frame.top and box[3] <= frame.bottom
                covered = sum(_overlap(box, other) for other in self._taken) + (0 if inside else 1e6)
                if covered == 0:
                    return box, distance
                if best is None or covered < best[0]:
                    best = covered, box, distance
        assert best is not None
        return best[1], best[2]


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, across) * max(0.0, down)


def _mark(svg: Element, px: float, py: float, point: Point, *, is_input: bool) -> None:
    """The input is a cross, every peer a square: no one needs colours to tell them apart."""
    group = tag(svg, "g", class_="mark input" if is_input else "mark")
    if is_input:
        d = f"M{px - 5:.1f} {py - 5:.1f}l10 10m0 -10l-10 10"
        shape = tag(group, "path", d=d)
    else:
        shape = tag(group, "rect", x=px - 4.5, y=py - 4.5, width=9, height=9)
    _described(shape, f"{point.label}: {point.detail}")


def _path(group: Element, places: Sequence[tuple[float, float]]) -> None:
    if len(places) > 1:
        tag(group, "polyline", points=coordinates(places))


def _described(element: Element, text: str) -> None:
    tag(element, "title", text)


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"

"""Parts of charts as inline SVG: elements, round tick values, the plotting area, labels that keep clear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from xml.etree import ElementTree as ET

Element = ET.Element
Ends = tuple[float, float]
"""What an axis shows at its start and at its end; the first may be the greater."""
Place = tuple[float, float]
Box = tuple[float, float, float, float]
MINUS = "\N{MINUS SIGN}"

_CHAR = 0.62
"""Width of an average character, in font sizes."""


def tag(parent: Element, name: str, text: str = "", **attributes: str | float) -> Element:
    """Append an element; `class_` becomes class, underscores become hyphens."""
    element = ET.SubElement(parent, name)
    for key, value in attributes.items():
        written = value if isinstance(value, str) else f"{value:.1f}"
        element.set(key.rstrip("_").replace("_", "-"), written)
    if text:
        element.text = text
    return element


def padded(values: Sequence[float]) -> Ends:
    """Range of the values with some air; never empty."""
    low, high = min(values), max(values)
    air = 0.09 * (high - low) or 0.05 * abs(high) or 0.5
    return low - air, high + air


def round_ticks(ends: Ends, count: int) -> list[tuple[float, str]]:
    """Round values inside a range, about `count` of them, and their texts."""
    low, high = sorted(ends)
    raw = (high - low) / count
    power = math.floor(math.log10(raw))
    step = next(s for m in (1, 2, 2.5, 5, 10) if (s := m * 10.0**power) >= raw * 0.999)
    places = next(p for p in range(12) if p == 11 or abs(step - round(step, p)) < 1e-6 * step)
    values = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(v, f"{v:,.{places}f}".replace("-", MINUS)) for v in values]


@dataclass(frozen=True)
class Frame:
    """The plotting area: from values to places.

    Attributes:
        size: (width, height) of the picture.
        margins: left, right, top, bottom of the area.
        font: its size.
        x: ends of the horizontal axis.
        y: ends of the vertical axis, bottom first.
    """

    size: tuple[int, int]
    margins: tuple[int, int, int, int]
    font: int
    x: Ends
    y: Ends

    @property
    def box(self) -> Box:
        """Left, top, right, bottom of the area."""
        left, right, top, bottom = self.margins
        return left, top, self.size[0] - right, self.size[1] - bottom

    def at(self, x: float, y: float) -> Place:
        """The place of two values."""
        left, top, right, bottom = self.box
        across, up = ((v - a) / (b - a) for v, (a, b) in ((x, self.x), (y, self.y)))
        return left + across * (right - left), bottom - up * (bottom - top)

    def open(self, ident: str, title: str, description: str) -> Element:
        """An empty picture, named for those who cannot see it."""
        svg = ET.Element("svg", {"viewBox": f"0 0 {self.size[0]} {self.size[1]}", "role": "img"})
        svg.set("font-size", str(self.font))
        for name, part, text in (("labelledby", "title", title), ("describedby", "desc", description)):
            svg.set(f"aria-{name}", f"{ident}-{part}")
            tag(svg, part, text, id=f"{ident}-{part}")
        return svg

    def axes(
        self, svg: Element, x: str, y: str, xs: Sequence[tuple[float, str]], ys: Sequence[tuple[float, str]]
    ) -> Element:
        """Draw names ("" for none) and ticks of both axes, with their lines."""
        left, top, right, bottom = self.box
        group = tag(svg, "g", class_="axes")
        for value, text in xs:
            px = self.at(value, self.y[0])[0]
            tag(group, "line", x1=px, x2=px, y1=top, y2=bottom)
            tag(group, "text", text, x=px, y=bottom + 1.4 * self.font, text_anchor="middle")
        for value, text in ys:
            py = self.at(self.x[0], value)[1]
            tag(group, "line", x1=left, x2=right, y1=py, y2=py)
            tag(group, "text", text, x=left - 6, y=py + 0.35 * self.font, text_anchor="end")
        below = {"x": (left + right) / 2, "y": self.size[1] - 5}
        tag(group, "text", x, class_="name", text_anchor="middle", **below)
        if y:
            place = f"translate({self.font + 2} {(top + bottom) / 2}) rotate(-90)"
            tag(group, "text", y, transform=place, class_="name", text_anchor="middle")
        return group

    def line(self, parent: Element, points: Sequence[Place], **attributes: str) -> None:
        """Join points by a line."""
        if len(points) > 1:
            tag(parent, "polyline", points=coordinates([self.at(*p) for p in points]), **attributes)

    def dot(self, parent: Element, point: Place, radius: float, text: str) -> None:
        """A point, and what it says to the pointer."""
        px, py = self.at(*point)
        tag(tag(parent, "circle", cx=px, cy=py, r=radius), "title", text)


def coordinates(places: Sequence[Place]) -> str:
    """Places as the `points` of a line."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


class Labels:
    """Finds room for the text beside each point: the nearest place that covers nothing written before."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._taken: list[Box] = []

    def block(self, *box: float) -> None:
        """Keep a box clear: left, top, right, bottom."""
        x1, y1, x2, y2 = box
        self._taken.append((x1, y1, x2, y2))

    def avoid(self, places: Sequence[Place]) -> None:
        """Keep off a drawn line: small boxes along it."""
        for (x1, y1), (x2, y2) in pairwise(places):
            steps = math.ceil(math.hypot(x2 - x1, y2 - y1) / 5) or 1
            for k in range(steps + 1):
                x, y = x1 + (x2 - x1) * k / steps, y1 + (y2 - y1) * k / steps
                self.block(x - 2, y - 2, x + 2, y + 2)

    def write(self, group: Element, place: Place, text: str) -> None:
        """Write beside a place."""
        (px, py), font = place, self._frame.font
        box, distance = self._room(px, py, _CHAR * font * len(text), font + 1.0)
        self.block(*box)
        if distance > 12:  # far away: a thin line says which point is meant
            edge = min(max(px, box[0]), box[2]), min(max(py, box[1]), box[3])
            tag(group, "line", x1=px, y1=py, x2=edge[0], y2=edge[1], class_="leader")
        middle = {"x": (box[0] + box[2]) / 2, "y": (box[1] + box[3]) / 2 + 0.35 * font}
        tag(group, "text", text, text_anchor="middle", **middle)

    def _room(self, px: float, py: float, width: float, height: float) -> tuple[Box, float]:
        """The box that covers least, the nearest of several, and its distance."""
        left, top, right, bottom = self._frame.box
        ways = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
        found: list[tuple[float, Box, float]] = []
        for distance, (dx, dy) in product((8.0, 16.0, 28.0, 42.0, 58.0), ways):
            cx, cy = px + dx * (distance + width / 2), py + dy * (distance + height / 2)
            box = cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
            inside = box[0] >= left and box[2] <= right + 8 and box[1] >= top and box[3] <= bottom
            covered = sum(_overlap(box, other) for other in self._taken) + (0 if inside else 1e6)
            if covered == 0:
                return box, distance
            found.append((covered, box, distance))
        return min(found, key=lambda entry: entry[0])[1:]


def _overlap(a: Box, b: Box) -> float:
    across, down = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    return max(0.0, across) * max(0.0, down)

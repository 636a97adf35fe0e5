"""Overlapping tiles: a large picture through a network in pieces, with no seams and little memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

Window = tuple[slice, slice]
"""Rows and columns of an array (H, W, ...)."""


@dataclass(frozen=True)
class Tile:
    """A piece of a picture.

    Attributes:
        outer: what is to be looked at: the piece with a margin, cut at the edges of the picture.
        place: the piece itself; the places of all tiles cover the picture once.
    """

    outer: Window
    place: Window

    def result(self, scale: int) -> Window:
        """Where the result belongs in a picture `scale` times as large."""
        return _scaled(self.place, scale)

    def inner(self, scale: int) -> Window:
        """Which part of what was made of `outer`, `scale` times as large, belongs there."""
        rows, columns = (
            slice(place.start - outer.start, place.stop - outer.start)
            for place, outer in zip(self.place, self.outer, strict=True)
        )
        return _scaled((rows, columns), scale)


def tiles(width: int, height: int, *, side: int, margin: int) -> Iterator[Tile]:
    """Cut a picture into tiles, row by row.

    With a margin of at least the reach of a convolutional network, and the edges of the picture where they
    are, the network says of every piece what it says of the whole picture.

    Args:
        width: of the picture, pixels.
        height: of the picture, pixels.
        side: longest side of a piece without its margin, >= 1; pieces are of equal size within a pixel.
        margin: pixels around it, >= 0.

    Yields:
        The tiles.
    """
    for rows in _spans(height, side):
        for columns in _spans(width, side):
            outer = _grown(rows, margin, height), _grown(columns, margin, width)
            yield Tile(outer, (rows, columns))


def _spans(length: int, side: int) -> list[slice]:
    count = -(-length // side)
    edges = [length * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _grown(span: slice, margin: int, length: int) -> slice:
    return slice(max(0, span.start - margin), min(length, span.stop + margin))


def _scaled(window: Window, scale: int) -> Window:
    rows, columns = (slice(span.start * scale, span.stop * scale) for span in window)
    return rows, columns

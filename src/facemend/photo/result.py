"""What comes of a photo, and the clock of the work on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from facemend.imaging import Picture
from facemend.photo.prepared import SkippedFace
from facemend.types import Face, FloatImage, Matrix23

OnPart = Callable[[str], None]
"""Told the name of each part of the work before it begins, and now and then in a long one; what it raises
ends the work."""


def unheard(part: str) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, eq=False)
class RestoredFace:
    """A face before and after.

    Attributes:
        face: where it is in the photo.
        crop: (S, S, 3) float32 RGB [0, 1], aligned, as it was.
        restored: the same, restored, as the network draws it: `strength` counts in the photo only.
        matrix: 2x3, photo pixels -> crop pixels.
    """

    face: Face
    crop: FloatImage
    restored: FloatImage
    matrix: Matrix23


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """A photo after the work, and what was done.

    Attributes:
        picture: the photo, of the same kind as the input (depth, alpha, metadata).
        faces: the faces that were worked on, from left to right.
        skipped: faces that were left as they are.
        notes: what the user should know, such as that no face was found.
        seconds: time per part.
        model: name of the model.
        w: the fidelity weight used.
        factor: how many times as large as the input the photo was made; an aligned crop may come out larger.
    """

    picture: Picture
    faces: tuple[RestoredFace, ...]
    skipped: tuple[SkippedFace, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    model: str
    w: float
    factor: int


class Clock:
    """Adds up seconds per part, and tells of each part that begins."""

    def __init__(self, on_part: OnPart = unheard) -> None:
        self.seconds: dict[str, float] = {}
        self._on_part = on_part

    def still(self, part: str) -> None:
        """Tell that a part begins, or that a long one goes on."""
        self._on_part(part)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time what is done inside, as a share of that part."""
        with together([self], part):
            yield

    def add(self, part: str, seconds: float) -> None:
        """Add to a part."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds


@contextmanager
def together(clocks: Sequence[Clock], part: str) -> Iterator[None]:
    """Time what is done inside for several photos at once; each clock takes an equal share."""
    for clock in clocks:
        clock.still(part)
    start = perf_counter()
    yield
    share = (perf_counter() - start) / len(clocks)
    for clock in clocks:
        clock.add(part, share)

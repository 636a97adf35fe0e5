"""What comes of a photo, and the clock of the work on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from time import perf_counter
from typing import Literal

from PIL import Image

from facemend.files import file_stamp
from facemend.imaging import AnyPath, Outputs, Picture, Pixels, format_of, read_content, to_pillow
from facemend.photo.auto import Choice
from facemend.photo.prepared import SkippedFace
from facemend.types import Diagnosis, Face, FloatImage, Matrix23

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
        choice: the w and strength of this face alone.
        diagnosis: what the model says of it; None: this model says nothing.
    """

    face: Face
    crop: FloatImage
    restored: FloatImage
    matrix: Matrix23
    choice: Choice
    diagnosis: Diagnosis | None = None


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
        w: the fidelity weight asked for; of each face: its `choice`.
        chosen: indices of the faces among those that there were to choose from; None: all were taken.
        inputs: files that it was made from, the photo first.
        untouched: nothing of the photo was to be changed or left out.
        seen: size in bytes and time of change (ns) of the photo's file as it was read; None: it was none.
        factor: how many times as large as the input the photo was made; an aligned crop may come out larger.
    """

    picture: Picture
    faces: tuple[RestoredFace, ...]
    skipped: tuple[SkippedFace, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    model: str
    w: float | Literal["auto"]
    factor: int
    chosen: tuple[int, ...] | None = field(default=None, kw_only=True)
    inputs: tuple[Path, ...] = field(default=(), kw_only=True)
    untouched: bool = field(default=False, kw_only=True)
    seen: tuple[int, int] | None = field(default=None, kw_only=True)

    def numbered(self) -> Iterator[tuple[int, RestoredFace]]:
        """The faces with their numbers, 1 the leftmost; a choice of some of them does not change these."""
        indices = range(len(self.faces)) if self.chosen is None else self.chosen
        return ((index + 1, face) for index, face in zip(indices, self.faces, strict=True))

    def alone(self) -> PhotoResult:
        """The same without what a task keeps beside it: the photo as it was takes memory."""
        return PhotoResult(**{each.name: getattr(self, each.name) for each in fields(PhotoResult)})

    def save(self, path: AnyPath, *, overwrite: bool = False) -> Path:
        """Write the photo as `facemend restore` does: whole or not at all; the folder is made if needed.

        The suffix says the format, and what that holds of the input is kept; a file in which nothing was to
        be changed is copied byte by byte, where the format stays.

        Args:
            path: file to write.
            overwrite: whether it may replace a file (never an input).

        Returns:
            The path.

        Raises:
            OutputError: it is an input, exists already, cannot be written, or no format has its suffix.
            MissingExtraError: HEIC, and pillow-heif is not installed.
        """
        path = Path(path)
        format = format_of(path)
        outputs = Outputs(self.inputs, overwrite=overwrite)
        outputs.claim(path)
        same = self.seen is not None and file_stamp(self.inputs[0]) == self.seen
        if self.untouched and same and format == self.picture.format:
            outputs.save_content(path, read_content(self.inputs[0]))
        else:
            outputs.save(path, self.picture)
        return path

    def to_pil(self) -> Image.Image:
        """The photo as a Pillow image: L, LA, I;16, RGB or RGBA, with profile and EXIF in its `info`.

        Pillow has no 16 bits for more than one channel: such photos are cut to 8; `to_array` has them all.
        """
        return to_pillow(self.picture)

    def to_array(self) -> Pixels:
        """The photo as an array, straight alpha with it.

        Returns:
            uint8, or uint16 where the input had more than 8 bits or was of floats, the whole range of the
            type: (H, W) gray, (H, W, 2) gray + alpha, (H, W, 3) RGB, (H, W, 4) RGBA.
        """
        return self.picture.to_array()


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

"""What decoders give, as the arrays of a picture: each sample is copied once, to where it stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from facemend.imaging.color import Pixels
from facemend.imaging.metadata import ON_ITS_SIDE, upright
from facemend.imaging.rows import bands

_BACK = {6: 8, 8: 6}
"""Orientations that another one undoes; each of the rest undoes itself."""


@dataclass(frozen=True)
class Channels:
    """The samples of a picture, which may still be on their way.

    Attributes:
        shape: (height, width, channels): gray, gray + alpha, RGB or RGBA.
        dtype: uint8 or uint16.
        parts: (h, width, channels) each, from the top; they are taken once.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[np.uint8 | np.uint16]
    parts: Iterable[Pixels]

    @classmethod
    def of_array(cls, values: Pixels) -> Channels:
        """Those that are there already, (H, W, C)."""
        height, width, channels = values.shape
        return cls((height, width, channels), values.dtype, (values,))

    @classmethod
    def of_pillow(cls, image: Image.Image, mode: str) -> Channels:
        """Those of a Pillow image, with 8 bits, in the mode L, LA, RGB or RGBA."""
        shape = (image.height, image.width, len(mode))
        return cls(shape, np.dtype(np.uint8), pillow_bands(image, mode))

    @property
    def gray(self) -> bool:
        """Whether there is a single channel of colour."""
        return self.shape[2] < 3

    def arrays(self, orientation: int = 1) -> tuple[Pixels, Pixels | None]:
        """Colour (H, W, 3) and alpha (H, W), if there is one; new arrays.

        Args:
            orientation: by EXIF, 1..8, which is applied; other numbers change nothing.
        """
        height, width, channels = self.shape
        size = (width, height) if orientation in ON_ITS_SIDE else (height, width)
        pixels = np.empty((*size, 3), self.dtype)
        alpha = np.empty(size, self.dtype) if channels in (2, 4) else None
        back = _BACK.get(orientation, orientation)
        stored = upright(pixels, back), None if alpha is None else upright(alpha, back)  # views
        top = 0
        for part in self.parts:
            rows = slice(top, top := top + len(part))
            stored[0][rows] = part[..., :1] if self.gray else part[..., :3]
            if stored[1] is not None:
                stored[1][rows] = part[..., -1]
        return pixels, alpha


def pillow_bands(image: Image.Image, mode: str) -> Iterator[Pixels]:
    """A Pillow image in bands (h, W, C) of a mode; an array of it as a whole would be held twice."""
    for rows in bands(image.height, image.width):
        band = image.crop((0, rows.start, image.width, rows.stop))
        values = np.asarray(band if band.mode == mode else band.convert(mode))
        yield values.reshape(len(values), image.width, -1)

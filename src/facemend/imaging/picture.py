"""A picture with everything that must survive the way through the program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemend.errors import InputError
from facemend.imaging.coding import UNKNOWN, Coding
from facemend.imaging.color import Pixels, from_float, luma, to_float
from facemend.imaging.resize import resize
from facemend.types import FloatImage


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture. It does not know where it came from.

    Attributes:
        pixels: (H, W, 3) uint8 or uint16, RGB, upright (EXIF orientation applied).
        alpha: (H, W) of the same type, straight (not premultiplied), or None if opaque.
        gray: the source had a single colour channel; the three channels are equal and are written as one
            where the format can.
        icc: colour profile of the pixels; kept, never applied (CMYK apart). None: assume sRGB.
        exif: EXIF block as in a JPEG file (starting "Exif"), without orientation, thumbnail and pixel size.
        xmp: XMP packet, UTF-8, upright and without pixel size.
        iptc: IPTC block (IIM): captions, names, keywords of press and archives.
        text: texts of a PNG, keyword and text each.
        dpi: pixels an inch, across and down, as the file tells it outside EXIF.
        format: format of the source, a name of `formats.FORMATS`: "png", "jpeg", "webp", "tiff", ...
        coding: how the source was compressed; a file of the same format is written alike.
        notes: what of the source could not be kept, such as further frames; one line each.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    gray: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    format: str = "png"
    xmp: bytes | None = None
    coding: Coding = UNKNOWN
    notes: tuple[str, ...] = ()
    iptc: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()
    dpi: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        p, a = self.pixels, self.alpha
        if p.ndim != 3 or p.shape[2] != 3 or p.dtype not in (np.uint8, np.uint16) or p.size == 0:
            raise InputError(f"a picture needs (H, W, 3) uint8 or uint16 pixels, got {p.shape} {p.dtype}")
        if a is not None and (a.shape != p.shape[:2] or a.dtype != p.dtype):
            raise InputError(f"alpha {a.shape} {a.dtype} does not fit the pixels {p.shape} {p.dtype}")

    @classmethod
    def from_array(cls, array: NDArray[Any]) -> Picture:
        """Wrap an array.

        Args:
            array: (H, W) or (H, W, C) with C = 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA; uint8, uint16, or
                floats in [0, 1], which become 8 bits.

        Raises:
            InputError: another shape or type.
        """
        if array.dtype.kind == "f":
            array = from_float(array.astype(np.float32, copy=False))
        if array.ndim == 2:
            array = array[..., None]
        if array.ndim != 3 or not 1 <= array.shape[2] <= 4:
            raise InputError(
                f"an array of shape {array.shape} is no picture: use (H, W), (H, W, 3) or (H, W, 4)"
            )
        channels = array.shape[2]
        gray = channels < 3
        pixels = np.repeat(array[..., :1], 3, axis=2) if gray else array[..., :3].copy()
        return cls(pixels, array[..., -1].copy() if channels in (2, 4) else None, gray)

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])

    def as_float(self) -> FloatImage:
        """The colour pixels as (H, W, 3) float32 RGB [0, 1]; alpha is left out."""
        return to_float(self.pixels)

    def with_pixels(self, image: FloatImage) -> Picture:
        """This picture with other pixels, at the same bit depth.

        Args:
            image: (H', W', 3) float32 RGB [0, 1], rounded to nearest. A gray picture takes its luma.

        Returns:
            A new picture with the same metadata; alpha is resized if the size changed.
        """
        if self.gray:
            image = np.repeat(luma(image)[..., None], 3, axis=2)
        depth = np.uint16 if self.pixels.dtype == np.uint16 else np.uint8
        size = image.shape[1], image.shape[0]
        alpha = None if self.alpha is None else resize(self.alpha, size, "lanczos")
        return replace(self, pixels=from_float(image, depth), alpha=alpha)

    def in_rgb(self) -> Picture:
        """This picture as one in colour, though it may look gray; a gray colour profile is left out."""
        is_gray_profile = self.icc is not None and self.icc[16:20] == b"GRAY"  # colour space of its header
        return replace(self, gray=False, icc=None if is_gray_profile else self.icc)

    def resized(self, scale: float) -> Picture:
        """This picture `scale` times as large (> 0), at least one pixel each way; Lanczos or area."""
        if scale == 1:
            return self
        size = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        alpha = None if self.alpha is None else resize(self.alpha, size, "lanczos")
        return replace(self, pixels=resize(self.pixels, size, "lanczos"), alpha=alpha)

"""A picture with everything that must survive the way through the program."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from facemend.errors import InputError
from facemend.imaging.arrays import HasArray, as_pixels
from facemend.imaging.channels import Channels
from facemend.imaging.coding import UNKNOWN, Coding
from facemend.imaging.color import Pixels, from_float, luma, to_float
from facemend.imaging.resize import resize
from facemend.imaging.rows import by_bands
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
        extras: whether its file may hold more than pixels, colour profile and resolution, read or not.
        format: format of the source, a name of `formats.FORMATS`: "png", "jpeg", "webp", "tiff", ...
        coding: how the source was compressed; a file of the same format is written alike.
        notes: what of the source could not be kept, such as further frames; one line each.
        quality: 1..100, of what is compressed with loss when it is written; 0: as the source.
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
    quality: int = 0
    iptc: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()
    dpi: tuple[float, float] | None = None
    extras: bool = True

    def __post_init__(self) -> None:
        p, a = self.pixels, self.alpha
        if p.ndim != 3 or p.shape[2] != 3 or p.dtype not in (np.uint8, np.uint16) or p.size == 0:
            raise InputError(f"a picture needs (H, W, 3) uint8 or uint16 pixels, got {p.shape} {p.dtype}")
        if a is not None and (a.shape != p.shape[:2] or a.dtype != p.dtype):
            raise InputError(f"alpha {a.shape} {a.dtype} does not fit the pixels {p.shape} {p.dtype}")

    @classmethod
    def from_array(cls, array: HasArray, depth: type[np.uint8] | type[np.uint16] = np.uint8) -> Picture:
        """Wrap a copy of an array.

        Args:
            array: (H, W) or (H, W, C) with C = 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA; uint8, uint16, floats
                in [0, 1], or bool (True is white). Also what numpy takes as such, as a torch tensor.
            depth: what floats become.

        Raises:
            InputError: another shape or type, no pixels, masked values, NaN, or floats outside [0, 1].
        """
        channels = Channels.of_array(as_pixels(array, depth))
        return cls(*channels.arrays(), channels.gray)

    def to_array(self) -> Pixels:
        """A copy of the pixels, straight alpha with them: what `from_array` takes.

        Returns:
            uint8 or uint16, the whole range of the type: (H, W) gray, (H, W, 2) gray + alpha, (H, W, 3) RGB,
            (H, W, 4) RGBA.
        """
        pixels = self.pixels[..., :1] if self.gray else self.pixels
        if self.alpha is not None:
            return np.concatenate([pixels, self.alpha[..., None]], axis=2)
        return pixels[..., 0].copy() if self.gray else pixels.copy()

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
        size = image.shape[1], image.shape[0]
        alpha = None if self.alpha is None else resize(self.alpha, size, "lanczos")
        return replace(self, pixels=by_bands(self.from_floats, image, dtype=self.pixels.dtype), alpha=alpha)

    def from_floats(self, image: FloatImage) -> Pixels:
        """Floats (H', W', 3) in [0, 1] as pixels of this picture: rounded to its depth, gray if it is."""
        if self.gray:
            image = np.repeat(luma(image)[..., None], 3, axis=2)
        return from_float(image, self.pixels.dtype)

    def without_metadata(self) -> Picture:
        """This picture without EXIF, XMP, IPTC and texts; itself if neither it nor its file has any.

        Colour profile and resolution stay.
        """
        told = self.exif or self.xmp or self.iptc or self.text
        return replace(self, exif=None, xmp=None, iptc=None, text=()) if told or self.extras else self

    def in_rgb(self) -> Picture:
        """This picture as one in colour, though it may look gray; a gray colour profile is left out."""
        is_gray_profile = self.icc is not None and self.icc[16:20] == b"GRAY"  # colour space of its header
        return replace(self, gray=False, icc=None if is_gray_profile else self.icc)

    def resized(self, scale: float) -> Picture:
        """This picture `scale` times as large (> 0), at least one pixel each way; Lanczos or area.

        What was transparent has other colours then, see `seen`.
        """
        if scale == 1:
            return self
        size = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        alpha = None if self.alpha is None else resize(self.alpha, size, "lanczos")
        return replace(self, pixels=resize(self.seen().pixels, size, "lanczos"), alpha=alpha)

    def seen(self) -> Picture:
        """This picture with the nearest visible colours where it is transparent.

        Nobody sees those that are there, often black; enlarged, they would darken the edge of what is seen.
        """
        hidden = None if self.alpha is None else self.alpha == 0
        if hidden is None or not hidden.any() or hidden.all():
            return self
        kind = cv2.DIST_LABEL_PIXEL  # which of the visible ones is nearest
        _, nearest = cv2.distanceTransformWithLabels(hidden.astype(np.uint8), cv2.DIST_L2, 3, labelType=kind)
        colours = np.zeros((nearest.max() + 1, 3), self.pixels.dtype)
        colours[nearest[~hidden]] = self.pixels[~hidden]
        pixels = self.pixels.copy()
        pixels[hidden] = colours[nearest[hidden]]
        return replace(self, pixels=pixels)

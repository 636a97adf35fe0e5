"""Colour: depth conversion, luma and chroma, gray and toned photos. Everything RGB."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from facemend.imaging.blur import gaussian_blur
from facemend.imaging.rows import by_bands
from facemend.types import FloatImage

Pixels = NDArray[np.uint8 | np.uint16]
"""Integer pixels of any shape; the whole range of the type is [0, 1]."""

AnyPixels = FloatImage | Pixels
"""Floats in [0, 1], or integers."""

FloatPlane = NDArray[np.float32]
"""(H, W) float32, [0, 1]."""

GRAY_VARIANCE = 10.0
"""Published limit of `is_gray` for photos, on the squared 0..255 scale."""

TONED_RESIDUE = 3.3
"""Limit of `is_toned`, levels of 255. Made-up toned, unevenly yellowed, noisy prints of 296 training faces
stay below 3.0 (99 %), the same faces in colour above 3.06 (98 %)."""

BROAD = 0.08
"""Scale above which a face's own colours and light are trusted, share of its crop's side (docs/log.md)."""

_TONED_SIDE = 64


def to_float(pixels: AnyPixels) -> NDArray[np.float32]:
    """Integer pixels as float32 in [0, 1], same shape; floats are given back as they are."""
    if pixels.dtype == np.float32:
        return cast("NDArray[np.float32]", pixels)
    top = np.iinfo(cast(Pixels, pixels).dtype).max
    return np.multiply(pixels, np.float32(1 / top), dtype=np.float32)


def from_float(image: NDArray[np.float32], dtype: DTypeLike = np.uint8) -> Pixels:
    """Float pixels in [0, 1] as uint8 or uint16, clipped, rounded to nearest, same shape. NaN becomes 0."""
    top = np.float32(np.iinfo(dtype).max)
    scaled = np.asarray(np.fmax(image, np.float32(0)))  # which takes the number where the other is none
    np.minimum(scaled, np.float32(1), out=scaled)
    scaled *= top  # in place: of a large photo each copy counts
    result: Pixels = np.rint(scaled, out=scaled).astype(dtype)
    return result


def to_8_bits(pixels: NDArray[np.float32 | np.uint8 | np.uint16]) -> NDArray[np.uint8]:
    """Pixels (H, W, ...) as uint8, rounded to nearest; those of 8 bits as they are."""
    if pixels.dtype == np.uint8:
        return cast("NDArray[np.uint8]", pixels)
    return by_bands(lambda x: from_float(to_float(x)), pixels, dtype=np.uint8)


LUMA = (0.299, 0.587, 0.114)
"""BT.601: the shares of R, G and B."""


def luma(image: FloatImage) -> FloatPlane:
    """BT.601 luma: .299 R + .587 G + .114 B. (H, W, 3) -> (H, W), float32 [0, 1]."""
    return cast(FloatPlane, cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY))


def rgb_to_ycbcr(image: FloatImage) -> FloatImage:
    """Full-range BT.601: (H, W, 3) RGB in [0, 1] -> luma in [0, 1], Cb and Cr in [0, 1] around .5."""
    y = luma(image)
    cb = (image[..., 2] - y) / np.float32(1.772) + np.float32(0.5)
    cr = (image[..., 0] - y) / np.float32(1.402) + np.float32(0.5)
    result: FloatImage = np.stack([y, cb, cr], axis=-1)
    return result


def ycbcr_to_rgb(image: FloatImage) -> FloatImage:
    """Inverse of `rgb_to_ycbcr`, clipped to [0, 1]."""
    y = image[..., 0]
    red = y + np.float32(1.402) * (image[..., 2] - np.float32(0.5))
    blue = y + np.float32(1.772) * (image[..., 1] - np.float32(0.5))
    green = (y - np.float32(0.299) * red - np.float32(0.114) * blue) / np.float32(0.587)
    result: FloatImage = np.clip(np.stack([red, green, blue], axis=-1), 0, 1)
    return result


def is_gray(image: FloatImage) -> bool:
    """Whether a photo is gray or evenly tinted.

    The published rule: the variances of R - G, G - B and B - R over the picture, on the 0..255 scale, are at
    most `GRAY_VARIANCE` on average. An even tint moves the differences and not their variance.

    Args:
        image: (H, W, 3) float32 RGB [0, 1].
    """
    red, green, blue = (image[..., i] for i in range(3))
    variances = [float(np.var(d, dtype=np.float64)) for d in (red - green, green - blue, blue - red)]
    return float(np.mean(variances)) * 255**2 <= GRAY_VARIANCE


def is_toned(image: FloatImage) -> bool:
    """Whether a picture is monochrome in any tone: sepia, cyanotype, a yellowed or hand-printed gray photo.

    There chroma follows from luma. A cubic of luma is fitted to Cb and to Cr of a small copy (shrinking
    averages noise away); what it leaves unexplained is small for a toned photo and large for a colour one.

    Args:
        image: (H, W, 3) float32 RGB [0, 1].
    """
    side = (min(_TONED_SIDE, image.shape[1]), min(_TONED_SIDE, image.shape[0]))
    y, cb, cr = cv2.split(rgb_to_ycbcr(cv2.resize(image, side, interpolation=cv2.INTER_AREA)))
    powers = np.stack([y.ravel().astype(np.float64) ** k for k in range(4)], axis=1)
    chroma = np.stack([cb.ravel(), cr.ravel()], axis=1).astype(np.float64)
    fit = np.linalg.lstsq(powers, chroma, rcond=None)[0]
    rest = np.square(chroma - powers @ fit).mean(axis=0).sum()
    return float(np.sqrt(rest)) * 255 <= TONED_RESIDUE


def match_broad_colours(restored: FloatImage, original: FloatImage, sigma: float) -> FloatImage:
    """Give `restored` the broad colours and the broad light of `original`; its fine ones stay.

    Blur, noise, dots, JPEG and downsampling hardly touch what is broad, so there the input is right and a
    network that paints skin pinker or a forehead brighter is wrong.

    Args:
        restored: (H, W, 3) float32 RGB [0, 1].
        original: same shape, aligned pixel by pixel.
        sigma: standard deviation of the Gaussian that says what is broad, pixels.

    Returns:
        (H, W, 3) float32 RGB, clipped to [0, 1].
    """
    offset = gaussian_blur(original - restored, sigma)
    offset += restored
    return np.clip(offset, 0, 1, out=offset)


def keep_chroma(restored: FloatImage, original: FloatImage) -> FloatImage:
    """Luma of `restored` with the chroma (Cb, Cr) of `original`: gray stays gray, sepia stays sepia.

    Args:
        restored: (H, W, 3) float32 RGB [0, 1].
        original: same shape, aligned pixel by pixel.

    Returns:
        (H, W, 3) float32 RGB, clipped to [0, 1].
    """
    # Equal steps on all three channels move luma and leave both chroma differences alone.
    return np.clip(original + (luma(restored) - luma(original))[..., None], 0, 1)


def take_chroma(photo: FloatImage, coloured: FloatImage, weight: FloatPlane) -> FloatImage:
    """Luma of `photo` with the chroma (Cb, Cr) of `coloured`: colour is added, light and detail stay.

    Where a colour of that luma does not exist, it is the palest part of it that does: luma is never clipped.

    Args:
        photo: (H, W, 3) float32 RGB [0, 1].
        coloured: same shape, aligned pixel by pixel; may leave [0, 1].
        weight: (H, W) float32 in [0, 1]: how much of the new chroma, against that of `photo`; at 0 a pixel
            stays as it is, bit for bit.

    Returns:
        (H, W, 3) float32 RGB in [0, 1].
    """
    # Adding equal steps to all channels moves luma alone; what is left has luma 0, and any share of it too.
    change = (coloured - luma(coloured)[..., None]) - (photo - luma(photo)[..., None])
    change *= weight[..., None]
    room = np.where(change > 0, 1 - photo, photo)
    share = np.divide(room, np.abs(change), out=np.ones_like(change), where=np.abs(change) > room)
    result: FloatImage = np.clip(photo + share.min(axis=-1, keepdims=True) * change, 0, 1)
    return result

"""How bad a degradation is, in four figures that one can say of a photo without knowing its plan."""

from __future__ import annotations

import functools
import io
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facemend.degradations.kernels import gaussian_taps
from facemend.degradations.parts import Sharpening
from facemend.degradations.plan import Plan

FWHM = 2.355
"""Full width at half maximum of a Gaussian over its standard deviation."""
LUMA_OF_NOISE = math.hypot(0.299, 0.587, 0.114)
"""Luma noise where each channel has its own of deviation 1."""


@dataclass(frozen=True)
class Severity:
    """Damage of a face.

    Attributes:
        resolution: how many pixels a side would hold its real detail, at most the face's own size.
        blur: standard deviation of the blur, pixels of the face.
        noise: standard deviation of the luma noise that is left, 0..255 scale, in pixels of the scan.
        jpeg: lowest quality that it went through, 1..100; 100 for none.
    """

    resolution: float
    blur: float
    noise: float
    jpeg: float


def severity(plan: Plan) -> Severity:
    """The figures of a plan.

    - blur: variances add up: the product of both deviations of the Gaussian blur (its area), and a twelfth
      of the square of the path of motion blur. Soft focus, which keeps the sharp picture, does not count.
    - resolution: size / p. p is the pixel pitch: squares of the pitch of the scan (`down`, over the smallest
      share of an earlier JPEG), of the half-tone's pitch and of the blur's width at half maximum add up.
    - noise: the squares of the luma of the scan's noise and of the grain add up. Grain is averaged over the
      clumps that fall into a pixel of the scan; behind a half-tone there is none. Sharpening raises noise,
      and each JPEG leaves a part of it.
    - jpeg: the lowest of all JPEGs.
    """
    pixel = max(1.0, plan.down)
    variance = plan.blur.sigma_x * plan.blur.sigma_y if plan.blur else 0.0
    variance += plan.motion.length**2 / 12 if plan.motion else 0.0
    screen = plan.print.halftone.pitch if plan.print and plan.print.halftone else 0.0
    scan = pixel / min((earlier.scale for earlier in plan.generations), default=1.0)
    grain = plan.print.grain if plan.print and not screen else None
    grains = grain.strength * min(1.0, max(1.0, grain.size) / pixel) if grain else 0.0
    jpegs = [earlier.quality for earlier in plan.generations]
    return Severity(
        resolution=plan.size / math.sqrt(scan**2 + screen**2 + FWHM**2 * variance),
        blur=math.sqrt(variance),
        noise=_noise_left(plan, grains),
        jpeg=min([*jpegs, 100 if plan.jpeg_quality is None else plan.jpeg_quality]),
    )


def _noise_left(plan: Plan, grains: float) -> float:
    """Luma noise at the end of a plan, from that of its film in a pixel of the scan."""
    one_plane = plan.print is not None and plan.print.tone is not None and plan.print.tone.neutral
    left = math.hypot(plan.noise_sigma * (1 if one_plane else LUMA_OF_NOISE), grains)
    if plan.sharpening:
        left *= sharpened(plan.sharpening)
    if plan.generations:
        for earlier in plan.generations:  # made smaller averages, made larger again interpolates
            left = 2 / 3 * after_jpeg(left * earlier.scale, earlier.quality)
        return left  # in blocks no more: hardly anything of it is rounded away by the last JPEG
    return left if plan.jpeg_quality is None else after_jpeg(left, plan.jpeg_quality)


def sharpened(mask: Sharpening) -> float:
    """By how much an unsharp mask raises the deviation of white noise."""
    taps = gaussian_taps(math.ceil(4 * mask.sigma), mask.sigma)
    middle, squares = float(taps.max()) ** 2, float((taps**2).sum()) ** 2
    more = 1 + mask.amount
    return math.sqrt(more**2 - 2 * mask.amount * more * middle + mask.amount**2 * squares)


def after_jpeg(noise: float, quality: int) -> float:
    """Deviation of white luma noise in a flat region behind a JPEG, 0..255 scale.

    Each of the 64 cosine coefficients of a block carries that noise, and is rounded to a multiple of its
    step: most of what is weaker than half a step goes, what is stronger stays.

    Args:
        noise: before it, 0..255 scale.
        quality: libjpeg's, 1 to 100.
    """
    values = noise * _normal() / (steps := _luma_steps(quality)[:, None])
    return float(np.sqrt(np.square(steps * np.rint(values)).mean()))


@functools.cache
def _normal() -> NDArray[np.float64]:
    """Numbers that stand for a normal distribution: the middles of 1,000 parts of equal probability."""
    return np.array([NormalDist().inv_cdf((i + 0.5) / 1000) for i in range(1000)])


@functools.cache
def _luma_steps(quality: int) -> NDArray[np.float64]:
    """(64,) quantisation steps of luma, as libjpeg writes them."""
    data = io.BytesIO()
    Image.new("L", (8, 8)).save(data, "JPEG", quality=quality)
    return np.array(Image.open(data).quantization[0], np.float64)  # type: ignore[attr-defined]

"""How bad a degradation is, in four figures that one can say of a photo without knowing its plan."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facemend.degradations.kernels import gaussian_kernel
from facemend.degradations.parts import GaussianBlur
from facemend.degradations.plan import Plan, apply
from facemend.imaging import to_float
from facemend.imaging.color import luma

FWHM = 2.355
"""Full width at half maximum of a Gaussian over its standard deviation."""


@dataclass(frozen=True)
class Severity:
    """Damage of a face.

    Attributes:
        resolution: how many pixels a side would hold its real detail, at most the face's own size.
        blur: standard deviation of the blur, pixels of the face.
        noise: standard deviation of what noise and grain have changed of the luma, 0..255 scale.
        jpeg: lowest quality that it went through, 1..100; 100 for none.
    """

    resolution: float
    blur: float
    noise: float
    jpeg: float


def severity(plan: Plan, face: NDArray[np.uint8]) -> Severity:
    """The figures of a plan.

    - blur: variances add up: the product of both deviations of the Gaussian blur's kernel (its area; a kernel
      that is cut off blurs less than its sigma says), and a twelfth of the square of the path of motion
      blur. Soft focus, which keeps the sharp picture, does not count.
    - resolution: size / p. p is the pixel pitch: squares of the pitch of the scan (`down`, over the smallest
      share of an earlier JPEG), of the half-tone's pitch and of the blur's width at half maximum add up.
    - noise: of the difference to the same degradation without noise and grain, so behind averaging, half-tone
      and JPEG: what one sees of it.
    - jpeg: the lowest of all JPEGs.

    Args:
        plan: the degradation.
        face: (S, S, 3) uint8 RGB, clean, that it is applied to: how much of the noise is left hangs on it.
    """
    pixel = max(1.0, plan.down)
    variance = _variance(plan.blur) if plan.blur else 0.0
    variance += plan.motion.length**2 / 12 if plan.motion else 0.0
    screen = plan.print.halftone.pitch if plan.print and plan.print.halftone else 0.0
    scan = pixel / min((earlier.scale for earlier in plan.generations), default=1.0)
    jpegs = [earlier.quality for earlier in plan.generations]
    return Severity(
        resolution=plan.size / math.sqrt(scan**2 + screen**2 + FWHM**2 * variance),
        blur=math.sqrt(variance),
        noise=_noise_left(plan, face),
        jpeg=min([*jpegs, 100 if plan.jpeg_quality is None else plan.jpeg_quality]),
    )


def _variance(blur: GaussianBlur) -> float:
    """Square root of the determinant of the kernel's covariance, square pixels."""
    kernel = gaussian_kernel(blur.radius, blur.sigma_x, blur.sigma_y, blur.rotation).astype(np.float64)
    away = np.arange(-blur.radius, blur.radius + 1)
    xx, yy = float(kernel.sum(0) @ away**2), float(kernel.sum(1) @ away**2)
    xy = float(away @ kernel @ away)
    return math.sqrt(max(0.0, xx * yy - xy**2))


def _noise_left(plan: Plan, face: NDArray[np.uint8]) -> float:
    quiet = replace(plan, noise_sigma=0.0, print=plan.print and replace(plan.print, grain=None))
    if quiet == plan:
        return 0.0
    with_noise, without = (luma(to_float(apply(face, each))) for each in (plan, quiet))
    return 255 * float((with_noise - without).std())

"""How bad a degradation is, in four figures that one can say of a photo without knowing its plan."""

from __future__ import annotations

import math
from dataclasses import dataclass

from facemend.degradations.plan import Plan

FWHM = 2.355
"""Full width at half maximum of a Gaussian over its standard deviation."""


@dataclass(frozen=True)
class Severity:
    """Damage of a face.

    Attributes:
        resolution: how many pixels a side would hold its real detail, at most the face's own size.
        blur: standard deviation of the blur, pixels of the face.
        noise: standard deviation of the noise, 0..255 scale, in pixels of the scan.
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
    - noise: the squares of the scan's noise and of the grain, which is averaged over the clumps that fall
      into a pixel of the scan, add up.
    - jpeg: the lowest of all JPEGs.
    """
    pixel = max(1.0, plan.down)
    variance = plan.blur.sigma_x * plan.blur.sigma_y if plan.blur else 0.0
    variance += plan.motion.length**2 / 12 if plan.motion else 0.0
    screen = plan.print.halftone.pitch if plan.print and plan.print.halftone else 0.0
    scan = pixel / min((earlier.scale for earlier in plan.generations), default=1.0)
    grain = plan.print.grain if plan.print else None
    grains = grain.strength * min(1.0, max(1.0, grain.size) / pixel) if grain else 0.0
    jpegs = [earlier.quality for earlier in plan.generations]
    return Severity(
        resolution=plan.size / math.sqrt(scan**2 + screen**2 + FWHM**2 * variance),
        blur=math.sqrt(variance),
        noise=math.hypot(plan.noise_sigma, grains),
        jpeg=min([*jpegs, 100 if plan.jpeg_quality is None else plan.jpeg_quality]),
    )

"""Prints on paper: half-tone screens, and the surface of the paper. (H, W) gray or (H, W, 3) RGB, float32."""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.degradations.noise import noise_field
from facemend.degradations.parts import Halftone, Paper
from facemend.imaging.color import FloatPlane
from facemend.types import FloatImage


def screen(height: int, width: int, pitch: float, angle: float) -> FloatPlane:
    """Threshold of a half-tone screen with diamond dots, which meet as a chequerboard at half coverage.

    The sum of a triangle wave along each of two axes, put through its distribution function, so that all
    values are equally frequent and the part below t is t.

    Args:
        height: of the picture, pixels.
        width: of the picture, pixels.
        pitch: distance of the dots, pixels.
        angle: of one axis to the picture's x axis, radians.

    Returns:
        (height, width) float32 in [0, 1].
    """
    x, y = np.arange(width, dtype=np.float64) / pitch, np.arange(height, dtype=np.float64) / pitch
    cos, sin = math.cos(angle), math.sin(angle)
    total = _wave(cos * x, sin * y) + _wave(-sin * x, cos * y)  # [0, 2], triangular
    rest = 2 - total
    return cast(FloatPlane, np.where(total < 1, total * total / 2, 1 - rest * rest / 2))


def _wave(along_x: NDArray[np.float64], along_y: NDArray[np.float64]) -> FloatPlane:
    """Triangle wave of period 1 and range [0, 1] of the sum of two coordinates."""
    # Whole periods are taken off in double precision: far from the corner float32 would lose the fraction.
    phase = np.add.outer((along_y % 1).astype(np.float32), (along_x % 1).astype(np.float32))
    np.subtract(phase, 1, out=phase)  # (-1, 1); the wave is even about 0
    np.abs(phase, out=phase)
    phase -= np.float32(0.5)
    return cast(FloatPlane, np.abs(phase, out=phase) * np.float32(2))


def halftone(image: FloatImage, dots: Halftone) -> FloatImage:
    """Print a picture with half-tone screens.

    Hardness 0 changes nothing; the larger it is, the nearer the dots are to black or white, and the mean
    tone to the picture's. With three or four angles the inks are cyan, magenta, yellow and perhaps black
    (which takes over half of what the other three share), each under its own angle: a rosette.
    """
    height, width = image.shape[:2]
    first = screen(height, width, dots.pitch, dots.angles[0])
    if image.ndim == 2 or len(dots.angles) == 1:
        return _dotted(image, first if image.ndim == 2 else cv2.merge([first] * 3), dots.hardness)
    planes = cv2.split(image)
    black = None
    if len(dots.angles) == 4:
        # What the black ink lets through; the others then need to hold back less.
        black = (1 + cv2.max(cv2.max(planes[0], planes[1]), planes[2])) / 2
        planes = [plane / black for plane in planes]
    screens = [first, *(screen(height, width, dots.pitch, angle) for angle in dots.angles[1:])]
    inked = [_dotted(plane, dots_of, dots.hardness) for plane, dots_of in zip(planes, screens, strict=False)]
    if black is not None:
        black = _dotted(black, screens[3], dots.hardness)
        inked = [plane * black for plane in inked]
    return cast(FloatImage, cv2.merge(inked))


def _dotted(tone: FloatImage, threshold: FloatImage, hardness: float) -> FloatImage:
    dotted = tone * np.float32(hardness + 1)
    dotted -= np.float32(hardness) * threshold
    return np.clip(dotted, 0, 1, out=dotted)


def paper(image: FloatImage, sheet: Paper) -> FloatImage:
    """Shade the picture with the bumps of its paper, lit from the side, and clip.

    The shading is the slope of a random surface, of deviation `strength`, and multiplies the picture: it
    shows on white and not in black.
    """
    height, width = image.shape[:2]
    surface = noise_field(height + 1, width + 1, sheet.size, sheet.seed)
    slope = surface[1:, 1:] - surface[:-1, :-1]
    # Deviation of a difference over a distance of sqrt(2) in a field with correlation exp(-d^2 / 4 size^2).
    slope *= np.float32(sheet.strength / math.sqrt(-2 * math.expm1(-0.5 / sheet.size**2)))
    slope += 1
    slope = image * (slope if image.ndim == 2 else cv2.merge([slope] * 3))
    return cast(FloatImage, np.clip(slope, 0, 1, out=slope))

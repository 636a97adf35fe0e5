"""What age does to prints: scratches, dust, folds. (H, W) gray or (H, W, 3) RGB, float32 [0, 1].

Places are drawn as shares of the picture and widths are in pixels, so the same numbers mean the same damage
at another size when the widths are scaled.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.degradations.parts import Dust, Folds, Scratches
from facemend.types import FloatImage

Canvas = NDArray[np.uint8]
"""(H, W) uint8: 128 leaves a pixel alone, 255 makes it white, 1 black, in proportion."""

_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
_NOTHING = 128
_LIGHT = 0.65  # share of scratches and dust that are lighter than the picture


def scratches(image: FloatImage, lines: Scratches) -> FloatImage:
    """Draw thin, slightly bent lines, light or dark, about the vertical: the way film is moved."""
    height, width = image.shape[:2]
    rng = np.random.default_rng(lines.seed)
    canvas = np.full((height, width), _NOTHING, np.uint8)
    for _ in range(lines.count):
        x, y = rng.random(2) * (width, height)
        angle = math.pi / 2 + lines.slant * rng.standard_normal()
        length = rng.uniform(0.1, 1.2) * height
        steps = np.linspace(-0.5, 0.5, 6) * length
        bend = np.cumsum(rng.standard_normal(6)) * length * 0.003
        cos, sin = math.cos(angle), math.sin(angle)
        points = np.column_stack((x + cos * steps - sin * bend, y + sin * steps + cos * bend))
        thickness = lines.width * rng.uniform(0.6, 1.4)
        _stroke(canvas, points, thickness, lines.opacity * _side(rng))
    return _blended(image, canvas)


def dust(image: FloatImage, bits: Dust) -> FloatImage:
    """Draw specks (small ellipses of uneven size) and hairs (curved lines), light or dark."""
    height, width = image.shape[:2]
    rng = np.random.default_rng(bits.seed)
    canvas = np.full((height, width), _NOTHING, np.uint8)
    for _ in range(bits.specks):
        centre = rng.random(2) * (width, height)
        radius = bits.size * min(4.0, math.exp(0.6 * rng.standard_normal()))
        axes = np.array((radius, radius * rng.uniform(0.4, 1)))
        turn, opacity = rng.uniform(0, 180), bits.opacity * _side(rng)
        # Less than a pixel across is a pixel of less weight.
        opacity *= float(np.prod(np.minimum(1, 2 * axes)))
        _speck(canvas, centre, np.maximum(axes, 0.5), turn, opacity)
    for _ in range(bits.hairs):
        start = rng.random(2) * (width, height)
        heading = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, 0.3, 10))
        step = bits.size * rng.uniform(2, 6)
        points = start + step * np.cumsum(np.column_stack((np.cos(heading), np.sin(heading))), axis=0)
        _stroke(canvas, points, bits.size * 0.5, bits.opacity * _side(rng))
    return _blended(image, canvas)


def folds(image: FloatImage, creases: Folds) -> FloatImage:
    """Draw creases from edge to edge: a broken white line, lighter on one side and darker on the other."""
    height, width = image.shape[:2]
    rng = np.random.default_rng(creases.seed)
    for _ in range(creases.count):
        angle = rng.choice((0, math.pi / 2)) + rng.normal(0, 0.25)  # of the normal: mostly along an edge
        x, y = rng.uniform(0.1, 0.9, 2) * (width, height)
        cos, sin = math.cos(angle), math.sin(angle)
        across = np.add.outer(
            (sin * (np.arange(height) - y)).astype(np.float32),
            (cos * (np.arange(width) - x)).astype(np.float32),
        )
        image = image.copy()
        near = np.nonzero(np.abs(across) < 3 * creases.width)
        shade = across[near] / np.float32(creases.width)
        shade *= np.float32(0.6 * creases.opacity) * np.exp(-shade * shade)
        image[near] = np.clip(image[near] + (shade if image.ndim == 2 else shade[:, None]), 0, 1)
        image = _blended(image, _crack(rng, (height, width), (x, y), angle, creases))
    return image


def _crack(
    rng: np.random.Generator,
    shape: tuple[int, int],
    through: tuple[float, float],
    angle: float,
    creases: Folds,
) -> Canvas:
    """The line along a crease, where the emulsion is broken: pieces of uneven opacity."""
    canvas = np.full(shape, _NOTHING, np.uint8)
    reach = math.hypot(*shape)
    along = np.linspace(-reach, reach, 65)
    off = rng.normal(0, 0.15 * creases.width, 65)
    cos, sin = math.cos(angle), math.sin(angle)
    points = np.column_stack((through[0] - sin * along + cos * off, through[1] + cos * along + sin * off))
    for piece, part in enumerate(rng.uniform(0.1, 1, 64)):
        _stroke(canvas, points[piece : piece + 2], 0.3 * creases.width, creases.opacity * part)
    return canvas


def _side(rng: np.random.Generator) -> float:
    """Opacity of one piece of damage, 0.4 to 1; negative for a dark one."""
    return float(rng.uniform(0.4, 1) * (1 if rng.random() < _LIGHT else -1))


def _stroke(canvas: Canvas, points: NDArray[np.float64], thickness: float, opacity: float) -> None:
    """A line through points (N, 2); one that is thinner than a pixel is a pixel wide and fainter."""
    value = _value(opacity * min(1.0, thickness))
    line = np.round(points * 2**_SHIFT).astype(np.int32)
    cv2.polylines(canvas, [line], False, value, max(1, round(thickness)), cv2.LINE_AA, _SHIFT)


def _speck(
    canvas: Canvas, centre: NDArray[np.float64], axes: NDArray[np.float64], turn: float, opacity: float
) -> None:
    (x, y), (a, b) = np.round(np.array((centre, axes)) * 2**_SHIFT).astype(int).tolist()
    cv2.ellipse(canvas, (x, y), (a, b), turn, 0, 360, _value(opacity), -1, cv2.LINE_AA, _SHIFT)


def _value(opacity: float) -> int:
    return round(_NOTHING + 127 * max(-1.0, min(1.0, opacity)))


def _blended(image: FloatImage, canvas: Canvas) -> FloatImage:
    """The picture moved towards white or black where something is drawn; a copy."""
    result = image.copy()
    touched = np.nonzero(canvas != _NOTHING)
    opacity = (canvas[touched].astype(np.float32) - _NOTHING) / 127
    if image.ndim == 3:
        opacity = opacity[:, None]
    old = image[touched]
    result[touched] = old + opacity * np.where(opacity > 0, 1 - old, old)
    return result

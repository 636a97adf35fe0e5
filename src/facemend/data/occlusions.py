"""Drawn things in front of a face: glasses, a hat, fingers, cloth, strands of hair.

Few training faces have any, so a network takes them for damage and paints skin over them. Drawn in the HQ
picture, before it is degraded: what stands before the face is to be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.template import template_points

Image = NDArray[np.floating[Any]]
Points = NDArray[np.float64]
# (picture 0..1, generator) -> picture 0..1, same shape.
Draw = Callable[[Image, np.random.Generator], Image]


def occlude(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Put one thing in front of an aligned face.

    Args:
        image: (S, S, 3) uint8 RGB, aligned to the FFHQ template.
        rng: source of every choice.

    Returns:
        A changed copy.
    """
    draw = KINDS[list(KINDS)[rng.integers(len(KINDS))]]
    changed = draw(image.astype(np.float32) / 255, rng)
    return np.rint(np.clip(changed, 0, 1) * 255).astype(np.uint8)


def glasses(image: Image, rng: np.random.Generator) -> Image:
    """Frames round the eyes with clear or dark lenses, bridge and temples."""
    side = image.shape[0]
    eyes = _template(side, rng)[:2]
    gap = float(np.linalg.norm(eyes[1] - eyes[0]))
    along = (eyes[1] - eyes[0]) / gap
    down = np.array([-along[1], along[0]])
    width, height = gap * rng.uniform(0.33, 0.43), gap * rng.uniform(0.22, 0.38)
    power = rng.uniform(2, 5)  # 2 is an ellipse, 5 nearly a rectangle
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power) * width
    y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / power) * height
    lenses = [eye + down * gap * 0.04 + x[:, None] * along + y[:, None] * down for eye in eyes]

    if rng.random() < 0.4:  # sunglasses: dark, darker above
        tint = _paint(rng, 0.0, 0.25)
        fall = np.linspace(1.0, rng.uniform(0.7, 1.0), side, dtype=np.float32)[:, None]
        image = _over(image, _filled(lenses, side) * fall * rng.uniform(0.65, 0.97), tint)
    if rng.random() < 0.5:  # a reflection across the lenses
        across, along_lens = np.array([width * 0.5, 0]), np.array([-width * 0.5, height])
        start = rng.uniform(-0.5, 0.5, 2) * (width, height)
        streak = start + np.stack([across * 0, across, across + along_lens, along_lens])
        shine = [lens.mean(0) + streak for lens in lenses]
        both = _filled(shine, side) * _filled(lenses, side) * rng.uniform(0.1, 0.5)
        image = _over(image, _soft(both, side * 0.004), np.ones(3, np.float32))

    thick = side * rng.uniform(0.004, 0.022)
    bridge = [eyes[0] + along * width, eyes[1] - along * width] - down * height * rng.uniform(0, 0.5)
    reach = gap * rng.uniform(0.65, 0.9)
    arms = [
        np.stack([eye + out * along * width, eye + out * along * reach - down * gap * 0.04])
        for eye, out in zip(eyes, (-1, 1), strict=True)
    ]
    frame = _lines([np.concatenate([lens, lens[:1]]) for lens in lenses], thick, side)
    frame = np.maximum(frame, _lines([bridge, *arms], thick, side))
    shadow = _soft(np.roll(frame, max(1, side // 100), axis=0), side * 0.01) * 0.35
    image = _over(image, shadow, np.zeros(3, np.float32))
    return _over(image, frame * rng.uniform(0.8, 1.0), _paint(rng, 0.0, 0.6))


def hat(image: Image, rng: np.random.Generator) -> Image:
    """Cloth from the forehead upwards, with or without a brim and its shadow."""
    side = image.shape[0]
    brow = rng.uniform(0.2, 0.36) * side
    bend = rng.uniform(-0.06, 0.08) * side
    tilt = rng.uniform(-0.05, 0.05) * side
    x = np.linspace(-0.1, 1.1, 40)
    edge = brow + bend * (1 - (2 * x - 1) ** 2) + tilt * (2 * x - 1)
    line = np.stack([x * side, edge], 1)
    crown = np.concatenate([line, [[side * 1.1, -side], [-side * 0.1, -side]]])
    mask = _filled([crown], side)
    image = _over(image, _soft(np.roll(mask, side // 30, axis=0), side * 0.03) * 0.5, np.zeros(3, np.float32))
    image = _over(image, mask, _cloth(side, rng))
    if rng.random() < 0.6:
        band = _lines([line], side * rng.uniform(0.02, 0.08), side)
        image = _over(image, band, _cloth(side, rng))
    return image


def fingers(image: Image, rng: np.random.Generator) -> Image:
    """Two to four fingers of the face's own colour, from one side or from below."""
    side = image.shape[0]
    nose = _template(side, rng)[2].astype(int)
    cheek = image[nose[1] - side // 20 : nose[1] + side // 20, nose[0] - side // 10 : nose[0] + side // 10]
    skin = np.median(cheek.reshape(-1, 3), axis=0) * rng.uniform(0.8, 1.1)
    target = rng.uniform((0.25, 0.35), (0.75, 0.8)) * side
    angle = rng.uniform(0.0, np.pi)  # from the right, below, the left
    away = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-away[1], away[0]])
    thick = side * rng.uniform(0.05, 0.09)
    count = int(rng.integers(2, 5))
    for number in range(count):
        tip = target + across * thick * 1.02 * (number - count / 2) + away * rng.uniform(-0.06, 0.06) * side
        bent = tip + away * 0.3 * side + across * rng.uniform(-0.03, 0.03) * side
        finger = np.stack([tip, bent, bent + away * side])
        mask = _lines([finger], thick, side)
        image = _over(image, _soft(mask, side * 0.02) * 0.4, np.zeros(3, np.float32))
        # Round: bright along the middle, dark at the rims.
        height = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / (thick / 2)
        light = 0.72 + 0.33 * np.sqrt(np.clip(height, 0, 1))[..., None]
        image = _over(image, mask, (skin * light).astype(np.float32))
    return image


def cloth(image: Image, rng: np.random.Generator) -> Image:
    """A scarf, collar, mask or any flat thing over the lower face or one side."""
    side = image.shape[0]
    if rng.random() < 0.6:
        x = np.linspace(-0.1, 1.1, 9)
        edge = rng.uniform(0.62, 0.92) + rng.normal(0, 0.02, 9) + rng.uniform(-0.1, 0.1) * (2 * x - 1)
        shape = np.concatenate([np.stack([x, edge], 1), [[1.1, 2], [-0.1, 2]]]) * side
    else:
        centre = rng.uniform(0.1, 0.9, 2)
        angle = np.sort(rng.uniform(0, 2 * np.pi, 7))
        reach = rng.uniform(0.08, 0.22, 7)
        shape = (centre + np.stack([np.cos(angle), np.sin(angle)], 1) * reach[:, None]) * side
    mask = _filled([shape], side)
    image = _over(image, _soft(mask, side * 0.015) * 0.4, np.zeros(3, np.float32))
    return _over(image, mask, _cloth(side, rng))


def strands(image: Image, rng: np.random.Generator) -> Image:
    """Thin hair falling over the face."""
    side = image.shape[0]
    start = rng.uniform(0.1, 0.9)
    for _ in range(3):  # tufts, each of its own shade
        curves = []
        for _ in range(int(rng.integers(1, 8))):
            top = np.array([start + rng.normal(0, 0.07), rng.uniform(-0.05, 0.15)])
            end = top + np.array([rng.normal(0, 0.12), rng.uniform(0.3, 0.8)])
            middle = (top + end) / 2 + rng.normal(0, 0.05, 2)
            t = np.linspace(0, 1, 24)[:, None]
            curves.append(((1 - t) ** 2 * top + 2 * t * (1 - t) * middle + t**2 * end) * side)
        mask = _lines(curves, side * rng.uniform(0.002, 0.007), side)
        image = _over(image, mask * rng.uniform(0.5, 1.0), _paint(rng, 0.03, 0.5))
    return image


KINDS: dict[str, Draw] = {
    "glasses": glasses,
    "hat": hat,
    "fingers": fingers,
    "cloth": cloth,
    "strands": strands,
}


def _template(side: int, rng: np.random.Generator) -> Points:
    """Eyes, nose and mouth corners of the template, a little off, as faces are."""
    points = template_points(side)
    return points + rng.normal(0, 0.008 * side, points.shape)


def _paint(rng: np.random.Generator, low: float, high: float) -> Image:
    """A colour, mostly near gray."""
    level = rng.uniform(low, high)
    return np.clip(level + rng.normal(0, 0.06, 3), 0, 1).astype(np.float32)


def _cloth(side: int, rng: np.random.Generator) -> Image:
    """(side, side, 3): a colour with broad folds, a weave, perhaps stripes."""
    colour = rng.uniform(0.05, 0.95, 3) if rng.random() < 0.5 else _paint(rng, 0.05, 0.9)
    folds = cv2.resize(
        rng.normal(0, 1, (5, 7)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )
    weave = rng.normal(0, 1, (side, side)).astype(np.float32)
    light = 1 + 0.18 * folds + rng.uniform(0, 0.08) * weave
    if rng.random() < 0.3:
        rows, columns = np.mgrid[:side, :side] / side
        angle, beats = rng.uniform(0, np.pi), rng.uniform(6, 40)
        wave = np.sin(2 * np.pi * beats * (columns * np.cos(angle) + rows * np.sin(angle)))
        light = light + rng.uniform(0.1, 0.4) * np.sign(wave)
    return np.asarray(np.clip(colour * light[..., None], 0, 1), np.float32)


def _filled(shapes: list[Points], side: int) -> Image:
    """(side, side) cover of polygons, 0..1, with smooth edges."""
    mask = np.zeros((side, side), np.uint8)
    for shape in shapes:
        cv2.fillPoly(mask, [np.rint(shape * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return np.asarray(mask, np.float32) / 255


def _lines(shapes: list[Points], thick: float, side: int) -> Image:
    """(side, side) cover of polylines of some thickness, drawn at four times the size for thin ones."""
    mask = np.zeros((side * 4, side * 4), np.uint8)
    for shape in shapes:
        points = [np.rint(shape * 64).astype(np.int32)]
        cv2.polylines(mask, points, False, 255, max(1, round(thick * 4)), cv2.LINE_8, shift=4)
    return np.asarray(cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA), np.float32) / 255


def _soft(mask: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.3, sigma)), np.float32)


def _over(image: Image, mask: Image, paint: Image) -> Image:
    """Paint, (3,) or (S, S, 3), laid over a picture where the mask covers."""
    return np.asarray(image + mask[..., None] * (paint - image))

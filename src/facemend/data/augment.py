"""Face-true augmentation of HQ pictures: things in front, flip, small similarity, brightness and contrast."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.data.occlusions import occlude


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the changes.

    Attributes:
        crop: side of the crop as a share of the picture, (low, high); above 1 zooms out by reflection.
        rotate: largest rotation, degrees.
        shift: largest move of the crop's centre, as a share of the room left plus this share of the side.
        light: largest change of brightness and contrast, as a share.
        flip: probability of a mirror image.
        occlude: probability of glasses, a hat, fingers, cloth or hair drawn over the face.
    """

    crop: tuple[float, float] = (1.0, 1.0)
    rotate: float = 0.0
    shift: float = 0.0
    light: float = 0.0
    flip: float = 0.5
    occlude: float = 0.0


@dataclass(frozen=True)
class View:
    """One drawn view: what `augment` does to a picture of a given side, in pixels of that picture."""

    share: float
    angle: float
    centre: tuple[float, float]
    mirror: bool
    gain: float
    lift: float


def draw_view(how: Augmentation, side: int, rng: np.random.Generator) -> View:
    """Draw the changes for a picture of `side` pixels."""
    share = rng.uniform(*how.crop)
    angle = np.deg2rad(rng.uniform(-how.rotate, how.rotate))
    room = (max(0.0, 1 - share) / 2 + how.shift) * side
    x, y = side / 2 + rng.uniform(-room, room, 2)
    mirror = bool(rng.random() < how.flip)
    gain, lift = 1 + rng.uniform(-how.light, how.light), rng.uniform(-how.light, how.light) * 128
    return View(share, angle, (x, y), mirror, gain, lift)


def render(image: NDArray[np.uint8], view: View, size: int) -> NDArray[np.uint8]:
    """Show a picture (S, S, 3) uint8 RGB as a view says, (size, size, 3)."""
    side = image.shape[0]
    centre = np.array(view.centre)
    scale = view.share * side / size  # picture pixels per result pixel
    if scale > 1.4:
        # The warp samples at points; shrink by area first so that it does not alias.
        image = cv2.resize(image, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
        centre, scale = centre * image.shape[0] / side, scale * image.shape[0] / side
    cosine, sine = np.cos(view.angle) * scale, np.sin(view.angle) * scale
    linear = np.array([[cosine, -sine], [sine, cosine]])
    if view.mirror:
        linear[:, 0] = -linear[:, 0]
    # Result pixel centres -> picture pixel centres.
    offset = centre - 0.5 - linear @ np.full(2, (size - 1) / 2)
    matrix = np.concatenate([linear, offset[:, None]], axis=1)
    shown = cv2.warpAffine(
        image,
        matrix,
        (size, size),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    if view.gain != 1 or view.lift != 0:
        shown = np.clip(np.rint(shown * view.gain + view.lift), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(shown)


def augment(
    image: NDArray[np.uint8], how: Augmentation, size: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], bool]:
    """Draw a changed view.

    Args:
        image: (S, S, 3) uint8 RGB.
        how: ranges.
        size: side of the result, pixels.
        rng: source of every choice.

    Returns:
        (size, size, 3) uint8 RGB, and whether it is mirrored.
    """
    if how.occlude and rng.random() < how.occlude:
        image = occlude(image, rng)
    view = draw_view(how, image.shape[0], rng)
    return render(image, view, size), view.mirror

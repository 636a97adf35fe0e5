"""The LQ maker: seeded, printable, replayable degradations of face pictures. numpy and OpenCV, no torch.

A `Recipe` holds ranges; `Recipe.draw` gives a `Plan` with every number of one degradation; `apply` replays
it. Order: move -> motion blur -> print (soft focus, gray, grain, half-tone, paper, levels, tint) -> damage
(scratches, dust, folds) -> Gaussian blur -> bilinear downsampling -> Gaussian noise -> sharpening -> JPEGs ->
bilinear back to the input size -> channel shift -> gray -> photometric jitter -> 8 bits.
A `Mixture` draws from several recipes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facemend.degradations.mixture import Mixture, recipe_of
from facemend.degradations.old_photo import OldPhoto
from facemend.degradations.parts import GaussianBlur, MotionBlur
from facemend.degradations.plan import Plan, apply
from facemend.degradations.presets import PRESETS, preset
from facemend.degradations.recipe import REFERENCE_SIZE, Recipe
from facemend.errors import ConfigError

__all__ = [
    "PRESETS",
    "REFERENCE_SIZE",
    "GaussianBlur",
    "Mixture",
    "MotionBlur",
    "OldPhoto",
    "Plan",
    "Recipe",
    "apply",
    "degrade",
    "preset",
    "recipe_of",
]


def degrade(
    image: NDArray[np.uint8], how: str | Recipe | Mixture | Plan = "medium", seed: int = 0
) -> tuple[NDArray[np.uint8], Plan]:
    """Degrade a picture and say what was done.

    Args:
        image: (H, W, 3) uint8 RGB. A recipe takes the shorter side for the size of the face.
        how: preset name, recipe, mixture of recipes, or a plan to replay.
        seed: seed of the draw; a plan carries its own numbers and ignores it.

    Returns:
        The degraded picture, (H, W, 3) uint8 RGB, and the plan that gives it again.

    Raises:
        ConfigError: no such preset, a negative seed, or the image has another shape or type.
        InputError: it is too large, see `apply`.
    """
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise ConfigError(f"degradation: takes an array, got a {kind}: read_picture(path).pixels is one")
    if isinstance(how, str):
        how = preset(how)
    if isinstance(how, Recipe | Mixture):
        if seed < 0:
            raise ConfigError(f"degradation: the seed must be 0 or more, got {seed}")
        how = how.draw(np.random.default_rng(seed), max(1, min(image.shape[:2], default=1)))
    return apply(image, how), how

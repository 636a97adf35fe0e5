"""Mixtures: each plan comes from one of several recipes, by weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facemend.degradations.plan import Plan
from facemend.degradations.presets import preset
from facemend.degradations.recipe import REFERENCE_SIZE, Recipe
from facemend.errors import ConfigError


@dataclass(frozen=True)
class Mixture:
    """Recipes with weights.

    Attributes:
        parts: (weight, recipe); a recipe is used in weight / (sum of weights) of the draws.
    """

    parts: tuple[tuple[float, Recipe], ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigError("degradation mixture: there is no recipe in it")
        for weight, _ in self.parts:
            if not (isinstance(weight, int | float) and 0 < weight < math.inf):
                raise ConfigError(f"degradation mixture: weights must be above 0, got {weight}")

    def draw(self, rng: np.random.Generator, size: int = REFERENCE_SIZE) -> Plan:
        """Choose a recipe and draw one plan; see `Recipe.draw`."""
        edges = np.cumsum([weight for weight, _ in self.parts])
        which = int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))
        return self.parts[min(which, len(self.parts) - 1)][1].draw(rng, size)


def recipe_of(value: str | Mapping[str, float]) -> Recipe | Mixture:
    """What a config says of a degradation, as something to draw from.

    Args:
        value: name of a preset, or names with weights, for instance {"mixed": 0.6, "scan": 0.4}.

    Raises:
        ConfigError: there is no such preset, or a weight is not above 0.
    """
    if isinstance(value, str):
        return preset(value)
    return Mixture(tuple((weight, preset(name)) for name, weight in value.items()))

"""Ranges for what old photographs have and new ones do not: how they were printed, kept and scanned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from facemend.degradations.parts import (
    LEAST_LENGTH,
    Damage,
    Dust,
    Folds,
    Grain,
    Halftone,
    JpegGeneration,
    Levels,
    Paper,
    Print,
    Scratches,
    Sharpening,
    SoftFocus,
    Tone,
)
from facemend.degradations.ranges import Range, check
from facemend.errors import ConfigError

_INKS = np.radians((-30, 30, -45, 0))  # cyan, magenta, yellow and black about the angle of the black screen


@dataclass(frozen=True)
class Tint:
    """A kind of toning: how often against the others, hue, strength in mid-tones, strength of the paper."""

    weight: float
    hue: Range
    strength: Range
    paper: Range

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ConfigError(f"degradation recipe: the weight of a tint must be above 0, got {self.weight}")
        check(self, (("hue", 0, 1), ("strength", 0, 1), ("paper", 0, 1)))


SEPIA = Tint(0.7, (0.075, 0.125), (0.01, 0.14), (0.0, 0.09))
CYAN = Tint(0.15, (0.54, 0.68), (0.02, 0.25), (0.0, 0.05))
SELENIUM = Tint(0.15, (0.88, 0.99), (0.01, 0.06), (0.0, 0.01))


@dataclass(frozen=True)
class OldPhoto:
    """Probabilities and ranges (low, high), uniform; lengths are in pixels of a 512 px face.

    Attributes:
        gray_probability: how often the original has no colour.
        tone_probability: how many of those are toned.
        tints: kinds of toning.
        soft_probability: soft focus; soft_sigma, soft_share: see `parts.SoftFocus`.
        grain_probability: film grain; grain_strength (0..255 scale), grain_size: see `parts.Grain`.
        halftone_probability: half-tone print; halftone_pitch, halftone_hardness, halftone_angle (radians):
            see `parts.Halftone`. A pitch below two pixels of the face or of the scan makes no screen: such
            a grid averages it away. Coloured originals get three or four inks, with equal chances.
        paper_probability: paper surface; paper_strength, paper_size: see `parts.Paper`.
        levels_probability: fading or too much contrast; levels_black, levels_white, levels_gamma.
        scratch_probability: scratches; scratch_count, scratch_width, scratch_opacity, scratch_slant.
        dust_probability: dust; dust_specks, dust_hairs, dust_size, dust_opacity.
        fold_probability: creases; fold_count, fold_width, fold_opacity.
        sharpen_probability: over-sharpening; sharpen_sigma (pixels of the scan), sharpen_amount.
        again_probability: earlier JPEGs; again_count, again_scale, again_quality: see `parts.JpegGeneration`.
    """

    gray_probability: float = 0.0
    tone_probability: float = 0.0
    tints: tuple[Tint, ...] = (SEPIA, CYAN, SELENIUM)
    soft_probability: float = 0.0
    soft_sigma: Range = (4.0, 16.0)
    soft_share: Range = (0.1, 0.6)
    grain_probability: float = 0.0
    grain_strength: Range = (2.0, 12.0)
    grain_size: Range = (0.4, 2.5)
    halftone_probability: float = 0.0
    halftone_pitch: Range = (2.5, 6.5)
    halftone_hardness: Range = (0.15, 1.2)
    halftone_angle: Range = (0.5, 1.1)
    paper_probability: float = 0.0
    paper_strength: Range = (0.005, 0.035)
    paper_size: Range = (1.0, 4.0)
    levels_probability: float = 0.0
    levels_black: Range = (-0.1, 0.25)
    levels_white: Range = (0.8, 1.15)
    levels_gamma: Range = (0.6, 1.3)
    scratch_probability: float = 0.0
    scratch_count: tuple[int, int] = (1, 10)
    scratch_width: Range = (0.5, 2.0)
    scratch_opacity: Range = (0.2, 0.8)
    scratch_slant: Range = (0.02, 0.25)
    dust_probability: float = 0.0
    dust_specks: tuple[int, int] = (2, 60)
    dust_hairs: tuple[int, int] = (0, 3)
    dust_size: Range = (0.6, 2.0)
    dust_opacity: Range = (0.3, 0.9)
    fold_probability: float = 0.0
    fold_count: tuple[int, int] = (1, 2)
    fold_width: Range = (3.0, 10.0)
    fold_opacity: Range = (0.2, 0.7)
    sharpen_probability: float = 0.0
    sharpen_sigma: Range = (0.6, 2.0)
    sharpen_amount: Range = (0.3, 2.0)
    again_probability: float = 0.0
    again_count: tuple[int, int] = (1, 2)
    again_scale: Range = (0.7, 1.0)
    again_quality: tuple[int, int] = (50, 92)

    def __post_init__(self) -> None:
        if not self.tints:
            raise ConfigError("degradation recipe: tints must name at least one kind of toning")
        check(self, _BOUNDS)

    def draw_print(self, rng: np.random.Generator, scale: float, pixel: float) -> Print:
        """How the original was made.

        Args:
            rng: source of all random numbers.
            scale: side of the face / 512.
            pixel: side of a pixel of the scan in pixels of the face, >= 1.
        """
        gray = rng.random() < self.gray_probability
        tone = self._draw_tone(rng) if gray else None
        soft = grain = halftone = paper = levels = None
        if rng.random() < self.soft_probability:
            soft = SoftFocus(_length(rng, self.soft_sigma, scale), rng.uniform(*self.soft_share))
        if rng.random() < self.grain_probability:
            strength, size = rng.uniform(*self.grain_strength), _length(rng, self.grain_size, scale)
            grain = Grain(strength, size, int(rng.integers(2**32)))
        if rng.random() < self.halftone_probability:
            halftone = self._draw_halftone(rng, scale, gray)
            halftone = halftone if halftone.pitch >= 2 * pixel else None
        if rng.random() < self.paper_probability:
            depth, size = rng.uniform(*self.paper_strength), _length(rng, self.paper_size, scale)
            paper = Paper(depth, size, int(rng.integers(2**32)))
        if rng.random() < self.levels_probability:
            black, white = rng.uniform(*self.levels_black), rng.uniform(*self.levels_white)
            levels = Levels(black, white, rng.uniform(*self.levels_gamma))
        return Print(soft, tone, grain, halftone, paper, levels)

    def _draw_tone(self, rng: np.random.Generator) -> Tone:
        if rng.random() >= self.tone_probability:
            return Tone()
        weights = np.array([kind.weight for kind in self.tints])
        kind = self.tints[int(rng.choice(len(weights), p=weights / weights.sum()))]
        return Tone(rng.uniform(*kind.hue), rng.uniform(*kind.strength), rng.uniform(*kind.paper))

    def _draw_halftone(self, rng: np.random.Generator, scale: float, gray: bool) -> Halftone:
        pitch, hardness = rng.uniform(*self.halftone_pitch) * scale, rng.uniform(*self.halftone_hardness)
        angle = rng.uniform(*self.halftone_angle)
        cyan, magenta, yellow, black = (angle + _INKS).tolist()
        if gray:
            return Halftone(pitch, hardness, (black,))
        if rng.random() < 0.5:
            return Halftone(pitch, hardness, (cyan, magenta, yellow))
        return Halftone(pitch, hardness, (cyan, magenta, yellow, black))

    def draw_damage(self, rng: np.random.Generator, scale: float) -> Damage | None:
        """What age did to it; None for nothing. Arguments as for `draw_print`."""
        scratches = dust = folds = None
        if rng.random() < self.scratch_probability:
            count = int(rng.integers(*self.scratch_count, endpoint=True))
            width, opacity = _length(rng, self.scratch_width, scale), rng.uniform(*self.scratch_opacity)
            slant = rng.uniform(*self.scratch_slant)
            scratches = Scratches(count, width, opacity, slant, int(rng.integers(2**32)))
        if rng.random() < self.dust_probability:
            specks = int(rng.integers(*self.dust_specks, endpoint=True))
            hairs = int(rng.integers(*self.dust_hairs, endpoint=True))
            size, opacity = _length(rng, self.dust_size, scale), rng.uniform(*self.dust_opacity)
            dust = Dust(specks, hairs, size, opacity, int(rng.integers(2**32)))
        if rng.random() < self.fold_probability:
            count = int(rng.integers(*self.fold_count, endpoint=True))
            width, opacity = _length(rng, self.fold_width, scale), rng.uniform(*self.fold_opacity)
            folds = Folds(count, width, opacity, int(rng.integers(2**32)))
        return Damage(scratches, dust, folds) if scratches or dust or folds else None

    def draw_sharpening(self, rng: np.random.Generator, shrunk: float) -> Sharpening | None:
        """Over-sharpening, or None; `shrunk` is the side of the scan / what it would be at 512 px."""
        if rng.random() >= self.sharpen_probability:
            return None
        return Sharpening(_length(rng, self.sharpen_sigma, shrunk), rng.uniform(*self.sharpen_amount))

    def draw_generations(self, rng: np.random.Generator) -> tuple[JpegGeneration, ...]:
        """Earlier JPEGs of the scan; perhaps none."""
        if rng.random() >= self.again_probability:
            return ()
        return tuple(
            JpegGeneration(
                rng.uniform(*self.again_scale), int(rng.integers(*self.again_quality, endpoint=True))
            )
            for _ in range(int(rng.integers(*self.again_count, endpoint=True)))
        )


def _length(rng: np.random.Generator, lengths: Range, scale: float) -> float:
    return max(LEAST_LENGTH, rng.uniform(*lengths) * scale)


# Outside these a draw would make no picture at all, or one that no plan may hold.
_BOUNDS = (
    ("soft_sigma", 0.1, 256.0),
    ("soft_share", 0, 1),
    ("grain_strength", 0, 255),
    ("grain_size", 0.1, 16),
    ("halftone_pitch", 0.5, 256.0),
    ("halftone_hardness", 0, 1000),
    ("paper_strength", 0, 1),
    ("paper_size", 0.1, 16),
    ("levels_black", -4, 4),
    ("levels_white", -4, 4),
    ("levels_gamma", 0.1, 10),
    ("scratch_count", 0, 256),
    ("scratch_width", 0.1, 16),
    ("scratch_opacity", 0, 1),
    ("scratch_slant", 0, 2),
    ("dust_specks", 0, 1024),
    ("dust_hairs", 0, 64),
    ("dust_size", 0.1, 16),
    ("dust_opacity", 0, 1),
    ("fold_count", 0, 8),
    ("fold_width", 0.1, 16),
    ("fold_opacity", 0, 1),
    ("sharpen_sigma", 0.1, 16),
    ("sharpen_amount", 0, 100),
    ("again_count", 0, 4),
    ("again_scale", 0.05, 1),
    ("again_quality", 1, 100),
)

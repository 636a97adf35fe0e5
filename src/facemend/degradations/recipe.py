"""A recipe: the ranges from which plans are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from facemend.degradations.color import JITTER_KINDS, JitterKind
from facemend.degradations.kernels import gaussian_radius
from facemend.degradations.old_photo import OldPhoto
from facemend.degradations.parts import MOST_LENGTH, GaussianBlur, MotionBlur
from facemend.degradations.plan import Plan
from facemend.degradations.ranges import Range, check

REFERENCE_SIZE = 512
"""Side of the faces in pixels that published ranges, and ours, are written for."""

_NEUTRAL: dict[JitterKind, float] = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


@dataclass(frozen=True)
class Recipe:
    """Ranges (low, high) and probabilities; every draw is uniform. Lengths are in pixels of a 512 px face.

    Attributes:
        blur_sigma: standard deviation of the Gaussian blur, drawn per axis.
        blur_radius: whole-number range of the kernel radius; 20 is the published 41x41 kernel.
        isotropic_probability: share of Gaussian blurs that are round.
        down: downsampling factor.
        noise: standard deviation of the noise, 0..255 scale.
        jpeg: whole-number range of the quality, 1..100.
        severity: factor, cut off at 1, that pulls sigma, down, noise and JPEG together towards the mild ends
            of their ranges: 0 draws the mild ends, 1 the plain ranges.
        motion_probability: how often motion blur comes on top.
        motion_length: length of the camera's path.
        motion_bend: how far the path may turn, radians, either way.
        translate_probability: how often the face is moved.
        translate: largest move in x and y.
        shift_probability: how often the colour channels are shifted.
        shift: largest shift, 0..255 scale.
        gray_probability: how often the colour is taken away.
        jitter_probability: how often the four photometric ranges below are used, in random order.
        brightness: factor.
        contrast: factor.
        saturation: factor.
        hue: turn as a share of the colour circle.
        old: what old photographs have beside all this, or None. Drawn last, so it moves no other number.
    """

    blur_sigma: Range
    down: Range
    noise: Range
    jpeg: tuple[int, int]
    blur_radius: tuple[int, int] = (20, 20)
    isotropic_probability: float = 0.5
    severity: Range = (1.0, 1.0)
    motion_probability: float = 0.0
    motion_length: Range = (5.0, 40.0)
    motion_bend: float = 1.0
    translate_probability: float = 0.0
    translate: int = 32
    shift_probability: float = 0.0
    shift: float = 20.0
    gray_probability: float = 0.0
    jitter_probability: float = 0.0
    brightness: Range = (1.0, 1.0)
    contrast: Range = (1.0, 1.0)
    saturation: Range = (1.0, 1.0)
    hue: Range = (0.0, 0.0)
    old: OldPhoto | None = None

    def __post_init__(self) -> None:
        check(self, _BOUNDS)

    def draw(self, rng: np.random.Generator, size: int = REFERENCE_SIZE) -> Plan:
        """Draw one plan.

        Ranges are meant for a 512 px face, and the plan does the same to a face of another size as far as its
        pixels allow: blur lengths scale by size / 512, and the downsampled side stays round(512 / r), so a
        256 px face goes through the same thumbnail as a 512 px one. Below 512 px the thumbnail cannot be
        larger than the face itself: there the factor stops at 1 and the noise is lowered as averaging the
        missing pixels would lower it. Film grain and paper keep their strength: there they are stronger than
        in the 512 px face made smaller.

        Args:
            rng: source of all random numbers, the seed of the noise included.
            size: side of the faces in pixels, >= 1.

        Returns:
            A plan for pictures of that size.
        """
        scale = size / REFERENCE_SIZE
        severity = min(1.0, rng.uniform(*self.severity))
        factor = _toward(self.down[0], rng.uniform(*self.down), severity) * scale
        noise = _toward(self.noise[0], rng.uniform(*self.noise), severity)
        shrunk = factor if scale < 1 and factor < 1 else 1.0
        noise, factor = noise * shrunk, factor / shrunk
        quality = _toward(self.jpeg[1], int(rng.integers(*self.jpeg, endpoint=True)), severity)
        blur = self._draw_blur(rng, scale, severity)
        motion = self._draw_motion(rng, scale) if rng.random() < self.motion_probability else None
        translate = self._draw_translate(rng, scale) if rng.random() < self.translate_probability else (0, 0)
        shift = self._draw_shift(rng) if rng.random() < self.shift_probability else None
        jitter = self._draw_jitter(rng) if rng.random() < self.jitter_probability else ()
        plan = Plan(
            size=size,
            translate=translate,
            motion=motion,
            blur=blur,
            down=factor,
            noise_sigma=noise,
            noise_seed=int(rng.integers(2**32)),
            jpeg_quality=round(quality),
            shift=shift,
            gray=bool(rng.random() < self.gray_probability),
            jitter=jitter,
        )
        if self.old is None:
            return plan
        return replace(
            plan,
            print=self.old.draw_print(rng, scale, max(1.0, factor)),
            damage=self.old.draw_damage(rng, scale),
            sharpening=self.old.draw_sharpening(rng, shrunk),
            generations=self.old.draw_generations(rng),
        )

    def _draw_blur(self, rng: np.random.Generator, scale: float, severity: float) -> GaussianBlur:
        low = self.blur_sigma[0]
        sigma_x, sigma_y = (
            _toward(low, float(v), severity) * scale for v in rng.uniform(*self.blur_sigma, 2)
        )
        rotation = rng.uniform(-math.pi, math.pi)
        if rng.random() < self.isotropic_probability:
            sigma_y, rotation = sigma_x, 0.0
        limit = round(int(rng.integers(*self.blur_radius, endpoint=True)) * scale)
        limit = min(MOST_LENGTH, max(1, limit))
        return GaussianBlur(gaussian_radius(max(sigma_x, sigma_y), limit), sigma_x, sigma_y, rotation)

    def _draw_motion(self, rng: np.random.Generator, scale: float) -> MotionBlur:
        length = min(MOST_LENGTH, rng.uniform(*self.motion_length) * scale)
        return MotionBlur(
            length, rng.uniform(-math.pi, math.pi), rng.uniform(-self.motion_bend, self.motion_bend)
        )

    def _draw_translate(self, rng: np.random.Generator, scale: float) -> tuple[int, int]:
        dx, dy = rng.uniform(-self.translate, self.translate, 2) * scale
        return round(dx), round(dy)

    def _draw_shift(self, rng: np.random.Generator) -> tuple[float, float, float]:
        red, green, blue = rng.uniform(-self.shift, self.shift, 3).tolist()
        return red, green, blue

    def _draw_jitter(self, rng: np.random.Generator) -> tuple[tuple[JitterKind, float], ...]:
        steps = [(kind, float(rng.uniform(*getattr(self, kind)))) for kind in JITTER_KINDS]
        order = rng.permutation(len(steps))
        return tuple(steps[i] for i in order if steps[i][1] != _NEUTRAL[steps[i][0]])


# Outside these a draw would make no picture at all, or one that no memory holds.
_BOUNDS = (
    ("blur_sigma", 0.01, 256.0),
    ("blur_radius", 1, 256),
    ("down", 0.25, 512.0),
    ("noise", 0, 255),
    ("jpeg", 1, 100),
    ("severity", 0, 1000),
    ("motion_length", 0.5, 512.0),
    ("motion_bend", 0, 2 * math.pi),
    ("translate", 0, REFERENCE_SIZE),
    ("shift", 0, 255),
    ("brightness", 0, 100),
    ("contrast", 0, 100),
    ("saturation", 0, 100),
    ("hue", -1, 1),
)


def _toward(mild: float, drawn: float, severity: float) -> float:
    return float(mild + severity * (drawn - mild))

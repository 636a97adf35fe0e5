"""A plan: every number of one degradation, so that it can be printed, saved and replayed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from facemend.degradations.blur import gaussian_blur, motion_blur
from facemend.degradations.color import JitterKind, jitter, shift_channels, to_gray
from facemend.degradations.damage import dust, folds, scratches
from facemend.degradations.film import grain, levels, soft_focus, tint
from facemend.degradations.jpeg import jpeg, jpeg_generation
from facemend.degradations.noise import gaussian_noise
from facemend.degradations.parts import (
    Damage,
    Finite,
    GaussianBlur,
    JpegGeneration,
    MotionBlur,
    Print,
    Seed,
    Sharpening,
    Strict,
)
from facemend.degradations.print import halftone, paper
from facemend.degradations.resample import bilinear, shrunk_size, translate
from facemend.degradations.sharpen import unsharp_mask
from facemend.errors import ConfigError, InputError
from facemend.imaging import MAX_PIXELS, luma, to_float
from facemend.types import FloatImage

_Move = Annotated[int, Field(ge=-65536, le=65536)]


@dataclass(frozen=True)
class Plan:
    """The numbers of one degradation, in the order in which they act.

    Attributes:
        size: side in pixels of the faces that the plan was drawn for; all lengths are in pixels at this size.
        translate: whole-pixel move (right, down).
        motion: motion blur, or None.
        print: how an old original was made and kept, or None.
        damage: what age did to it, or None.
        blur: Gaussian blur, or None.
        down: factor by which width and height are divided (below 1: enlarged) before noise and JPEG; the
            picture returns to its own size after them.
        noise_sigma: standard deviation of the noise, 0..255 scale; 0 for none.
        noise_seed: seed of the noise.
        sharpening: unsharp mask at the size that `down` gives, or None.
        generations: earlier JPEGs, at most four.
        jpeg_quality: 1..100, or None for no JPEG.
        shift: added to (R, G, B), 0..255 scale, or None.
        gray: whether the colour is taken away.
        jitter: photometric steps (kind, value), at most sixteen, in the order in which they act; see
            `color.jitter`.
    """

    size: Annotated[int, Field(ge=1)]
    translate: tuple[_Move, _Move] = (0, 0)
    motion: MotionBlur | None = None
    print: Print | None = None
    damage: Damage | None = None
    blur: GaussianBlur | None = None
    down: Annotated[float, Field(ge=0.125, le=65536, allow_inf_nan=False)] = 1.0
    noise_sigma: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    noise_seed: Seed = 0
    sharpening: Sharpening | None = None
    generations: Annotated[tuple[JpegGeneration, ...], Field(max_length=4)] = ()
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None = None
    shift: tuple[Finite, Finite, Finite] | None = None
    gray: bool = False
    jitter: Annotated[tuple[tuple[JitterKind, Finite], ...], Field(max_length=16)] = ()
    __pydantic_config__ = Strict

    @property
    def coloured(self) -> bool:
        """Whether the face keeps colours of its own: it is neither gray nor toned."""
        return not (self.gray or (self.print and self.print.tone))

    def to_json(self) -> str:
        """The plan as one line of JSON; `from_json` gives back an equal plan."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Read a plan written by `to_json`, now or by an earlier version.

        Raises:
            ConfigError: the text is not JSON, a key is unknown or missing, or a value is out of range.
        """
        try:
            return _adapter().validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "text"
            raise ConfigError(f"degradation plan: {where}: {first['msg']}") from None

    def __str__(self) -> str:
        parts = []
        if self.translate != (0, 0):
            parts.append("move {:+d},{:+d} px".format(*self.translate))
        parts.extend(str(part) for part in (self.motion, self.print, self.damage, self.blur) if part)
        if self.down != 1:
            parts.append(f"down {self.down:.2f}")
        if self.noise_sigma:
            parts.append(f"noise {self.noise_sigma:.1f} seed {self.noise_seed}")
        parts.extend(str(part) for part in (self.sharpening, *self.generations) if part)
        if self.jpeg_quality is not None:
            parts.append(f"jpeg {self.jpeg_quality}")
        if self.shift:
            parts.append("shift {:+.1f} {:+.1f} {:+.1f}".format(*self.shift))
        if self.gray:
            parts.append("gray")
        parts.extend(f"{kind} {value:+.2f}" for kind, value in self.jitter)
        return f"{self.size} px: " + ("; ".join(part for part in parts if part) or "unchanged")


@cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def apply(image: NDArray[np.uint8], plan: Plan) -> NDArray[np.uint8]:
    """Degrade a picture as the plan says; the same picture and plan give the same bytes.

    Args:
        image: (H, W, 3) uint8 RGB, not changed.
        plan: the numbers.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        ConfigError: the image has another shape or type, or no pixels.
        InputError: it is longer than a JPEG can be, or the plan enlarges it beyond `MAX_PIXELS`.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ConfigError(
            f"degradations take (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}: convert first"
        )
    x = to_float(image)
    if plan.translate != (0, 0):
        x = translate(x, *plan.translate)
    if m := plan.motion:
        x = motion_blur(x, m.length, m.angle, m.bend)
    if plan.print:
        x = _printed(x, plan.print)
    if plan.damage:
        x = _damaged(x, plan.damage)
    x = _scanned(x, plan)
    if x.ndim == 2:
        x = cast(FloatImage, cv2.cvtColor(x, cv2.COLOR_GRAY2RGB))
    if plan.shift:
        x = shift_channels(x, plan.shift)
    if plan.gray:
        x = to_gray(x)
    for kind, value in plan.jitter:
        x = jitter(x, kind, value)
    return cast(NDArray[np.uint8], cv2.convertScaleAbs(np.clip(x, 0, 1), alpha=255))  # rounds


def _printed(x: FloatImage, how: Print) -> FloatImage:
    """(H, W, 3), or (H, W) for a plain gray print: a third of the work from here to the end of the scan."""
    if how.tone:
        x = luma(x)
    if how.soft_focus:
        x = soft_focus(x, how.soft_focus)
    if how.grain:
        x = grain(x, how.grain)
    if how.halftone:
        x = halftone(x, how.halftone)
    if how.paper:
        x = paper(x, how.paper)
    if how.levels:
        x = levels(x, how.levels)
    return tint(x, how.tone) if how.tone and not how.tone.neutral else x


def _damaged(x: FloatImage, how: Damage) -> FloatImage:
    if how.scratches:
        x = scratches(x, how.scratches)
    if how.dust:
        x = dust(x, how.dust)
    return folds(x, how.folds) if how.folds else x


def _scanned(x: FloatImage, plan: Plan) -> FloatImage:
    height, width = x.shape[:2]
    if b := plan.blur:
        x = gaussian_blur(x, b.radius, b.sigma_x, b.sigma_y, b.rotation)
    scan = shrunk_size(width, height, plan.down)
    if plan.down < 1 and scan[0] * scan[1] > MAX_PIXELS:
        raise InputError(f"the degradation enlarges the picture to {scan[0]} x {scan[1]}: cut it into parts")
    x = bilinear(x, scan)
    if plan.noise_sigma:
        x = gaussian_noise(x, plan.noise_sigma, plan.noise_seed)
    if plan.sharpening:
        x = unsharp_mask(x, plan.sharpening)
    for earlier in plan.generations:
        x = jpeg_generation(x, earlier)
    if plan.jpeg_quality is not None:
        x = jpeg(x, plan.jpeg_quality)
    return bilinear(x, (width, height))

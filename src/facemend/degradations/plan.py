"""A plan: every number of one degradation, so that it can be printed, saved and replayed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from facemend.degradations.blur import gaussian_blur, motion_blur
from facemend.degradations.color import JitterKind, jitter, shift_channels, to_gray
from facemend.degradations.jpeg import jpeg
from facemend.degradations.noise import gaussian_noise
from facemend.degradations.resample import bilinear, shrunk_size, translate
from facemend.errors import ConfigError
from facemend.imaging import to_float

# Bounds keep a plan from an untrusted file from exhausting memory; no recipe comes near them.
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, le=4096, allow_inf_nan=False)]
_Move = Annotated[int, Field(ge=-65536, le=65536)]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class MotionBlur:
    """Arc of the camera: length in pixels, angle and bend in radians (see `kernels.motion_kernel`)."""

    length: Annotated[float, Field(gt=0, le=1024, allow_inf_nan=False)]
    angle: _Finite
    bend: _Finite
    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class GaussianBlur:
    """Gaussian blur: radius and both standard deviations in pixels, rotation in radians."""

    radius: Annotated[int, Field(ge=1, le=1024)]
    sigma_x: _Positive
    sigma_y: _Positive
    rotation: _Finite
    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Plan:
    """The numbers of one degradation, in the order in which they act.

    Attributes:
        size: side in pixels of the faces that the plan was drawn for; all lengths are in pixels at this size.
        translate: whole-pixel move (right, down).
        motion: motion blur, or None.
        blur: Gaussian blur, or None.
        down: factor by which width and height are divided (below 1: enlarged) before noise and JPEG; the
            picture returns to its own size after them.
        noise_sigma: standard deviation of the noise, 0..255 scale; 0 for none.
        noise_seed: seed of the noise.
        jpeg_quality: 1..100, or None for no JPEG.
        shift: added to (R, G, B), 0..255 scale, or None.
        gray: whether the colour is taken away.
        jitter: photometric steps (kind, value) in the order in which they act; see `color.jitter`.
    """

    size: Annotated[int, Field(ge=1)]
    translate: tuple[_Move, _Move] = (0, 0)
    motion: MotionBlur | None = None
    blur: GaussianBlur | None = None
    down: Annotated[float, Field(ge=0.125, le=65536, allow_inf_nan=False)] = 1.0
    noise_sigma: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    noise_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None = None
    shift: tuple[_Finite, _Finite, _Finite] | None = None
    gray: bool = False
    jitter: tuple[tuple[JitterKind, _Finite], ...] = ()
    __pydantic_config__ = _STRICT

    def to_json(self) -> str:
        """The plan as one line of JSON; `from_json` gives back an equal plan."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Read a plan written by `to_json`.

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
        if m := self.motion:
            parts.append(f"motion {m.length:.1f} px at {m.angle:.2f} rad, bend {m.bend:.2f}")
        if b := self.blur:
            shape = "" if b.sigma_x == b.sigma_y else f" x {b.sigma_y:.2f} at {b.rotation:.2f} rad"
            parts.append(f"blur sigma {b.sigma_x:.2f}{shape} radius {b.radius}")
        if self.down != 1:
            parts.append(f"down {self.down:.2f}")
        if self.noise_sigma:
            parts.append(f"noise {self.noise_sigma:.1f} seed {self.noise_seed}")
        if self.jpeg_quality is not None:
            parts.append(f"jpeg {self.jpeg_quality}")
        if self.shift:
            parts.append("shift {:+.1f} {:+.1f} {:+.1f}".format(*self.shift))
        if self.gray:
            parts.append("gray")
        parts.extend(f"{kind} {value:+.2f}" for kind, value in self.jitter)
        return f"{self.size} px: " + ("; ".join(parts) or "unchanged")


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
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ConfigError(
            f"degradations take (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}: convert first"
        )
    height, width = image.shape[:2]
    x = to_float(image)
    if plan.translate != (0, 0):
        x = translate(x, *plan.translate)
    if m := plan.motion:
        x = motion_blur(x, m.length, m.angle, m.bend)
    if b := plan.blur:
        x = gaussian_blur(x, b.radius, b.sigma_x, b.sigma_y, b.rotation)
    x = bilinear(x, shrunk_size(width, height, plan.down))
    if plan.noise_sigma:
        x = gaussian_noise(x, plan.noise_sigma, plan.noise_seed)
    if plan.jpeg_quality is not None:
        x = jpeg(x, plan.jpeg_quality)
    x = bilinear(x, (width, height))
    if plan.shift:
        x = shift_channels(x, plan.shift)
    if plan.gray:
        x = to_gray(x)
    for kind, value in plan.jitter:
        x = jitter(x, kind, value)
    return cast(NDArray[np.uint8], cv2.convertScaleAbs(np.clip(x, 0, 1), alpha=255))  # rounds

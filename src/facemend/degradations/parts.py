"""The numbers of the parts of a plan. Lengths are in pixels of the face that the plan was drawn for.

Bounds keep a plan from an untrusted file from exhausting memory or time; no recipe comes near them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

from pydantic import ConfigDict, Field

LEAST_LENGTH = 0.01
"""Pixels; drawn lengths are cut off here, so that a recipe also serves tiny faces."""
MOST_LENGTH = 1024
"""Pixels; the same for kernels of huge faces."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Strict = ConfigDict(extra="forbid")
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
_Positive = Annotated[float, Field(gt=0, le=4096, allow_inf_nan=False)]
_Length = Annotated[float, Field(ge=LEAST_LENGTH, le=4096)]


@dataclass(frozen=True)
class MotionBlur:
    """Arc of the camera: length in pixels, angle and bend in radians (see `kernels.motion_kernel`)."""

    length: Annotated[float, Field(gt=0, le=MOST_LENGTH, allow_inf_nan=False)]
    angle: Finite
    bend: Finite
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return f"motion {self.length:.1f} px at {self.angle:.2f} rad, bend {self.bend:.2f}"


@dataclass(frozen=True)
class GaussianBlur:
    """Gaussian blur: radius and both standard deviations in pixels, rotation in radians."""

    radius: Annotated[int, Field(ge=1, le=MOST_LENGTH)]
    sigma_x: _Positive
    sigma_y: _Positive
    rotation: Finite
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        shape = "" if self.sigma_x == self.sigma_y else f" x {self.sigma_y:.2f} at {self.rotation:.2f} rad"
        return f"blur sigma {self.sigma_x:.2f}{shape} radius {self.radius}"


@dataclass(frozen=True)
class SoftFocus:
    """A sharp picture mixed with a wide blur of it: standard deviation in pixels, share of the blur."""

    sigma: _Length
    share: Share
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return f"soft focus {self.share:.2f} of sigma {self.sigma:.1f}"


@dataclass(frozen=True)
class Tone:
    """Gray, perhaps toned: hue as a share of the colour circle, strength in mid-tones and of the paper."""

    hue: Share = 0.0
    strength: Share = 0.0
    paper: Share = 0.0
    __pydantic_config__ = Strict

    @property
    def neutral(self) -> bool:
        """Whether it is plain gray."""
        return self.strength == self.paper == 0

    def __str__(self) -> str:
        return (
            "gray" if self.neutral else f"toned {self.strength:.2f} hue {self.hue:.2f} paper {self.paper:.2f}"
        )


@dataclass(frozen=True)
class Grain:
    """Film grain: standard deviation in mid-tones (0..255 scale), size of the clumps in pixels, seed."""

    strength: Annotated[float, Field(ge=0, le=255)]
    size: _Length
    seed: Seed = 0
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return f"grain {self.strength:.1f} size {self.size:.2f} seed {self.seed}"


@dataclass(frozen=True)
class Halftone:
    """Half-tone screens: pitch in pixels, hardness of the dots, angles in radians.

    One angle is a black screen for all channels; three are cyan, magenta and yellow, a fourth black. A gray
    picture uses the first alone.
    """

    pitch: Annotated[float, Field(ge=0.5, le=4096)]
    hardness: Annotated[float, Field(ge=0, le=1000)]
    angles: tuple[Finite] | tuple[Finite, Finite, Finite] | tuple[Finite, Finite, Finite, Finite]
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        angles = " ".join(f"{angle:.2f}" for angle in self.angles)
        return f"half-tone {self.pitch:.1f} px hardness {self.hardness:.1f} at {angles} rad"


@dataclass(frozen=True)
class Paper:
    """Paper surface: depth of its shading as a share, size of its bumps in pixels, seed."""

    strength: Share
    size: _Length
    seed: Seed = 0
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return f"paper {self.strength:.3f} size {self.size:.1f} seed {self.seed}"


@dataclass(frozen=True)
class Levels:
    """What black and white become, and the exponent between: lifted and lowered in a faded print."""

    black: Annotated[float, Field(ge=-4, le=4)] = 0.0
    white: Annotated[float, Field(ge=-4, le=4)] = 1.0
    gamma: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return f"levels {self.black:.2f} to {self.white:.2f} gamma {self.gamma:.2f}"


@dataclass(frozen=True)
class Scratches:
    """Thin lines: how many, width in pixels, opacity, spread about the vertical in radians, seed."""

    count: Annotated[int, Field(ge=0, le=256)]
    width: _Length
    opacity: Share
    slant: Annotated[float, Field(ge=0, le=2)]
    seed: Seed = 0
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return (
            f"scratches {self.count} of {self.width:.1f} px opacity {self.opacity:.2f} "
            f"slant {self.slant:.2f} rad seed {self.seed}"
        )


@dataclass(frozen=True)
class Dust:
    """Specks and hairs: how many of each, radius of a usual speck in pixels, opacity, seed."""

    specks: Annotated[int, Field(ge=0, le=1024)]
    hairs: Annotated[int, Field(ge=0, le=64)]
    size: _Length
    opacity: Share
    seed: Seed = 0
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return (
            f"dust {self.specks} specks {self.hairs} hairs of {self.size:.1f} px "
            f"opacity {self.opacity:.2f} seed {self.seed}"
        )


@dataclass(frozen=True)
class Folds:
    """Creases across the picture: how many, width of the shading in pixels, opacity, seed."""

    count: Annotated[int, Field(ge=0, le=8)]
    width: Annotated[float, Field(ge=LEAST_LENGTH, le=512)]
    opacity: Share
    seed: Seed = 0
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return f"folds {self.count} of {self.width:.1f} px opacity {self.opacity:.2f} seed {self.seed}"


@dataclass(frozen=True)
class Sharpening:
    """Unsharp mask: standard deviation in pixels of the scan (after `Plan.down`), amount."""

    sigma: Annotated[float, Field(ge=LEAST_LENGTH, le=16)]
    amount: Annotated[float, Field(ge=0, le=100)]
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return f"sharpening {self.amount:.2f} of sigma {self.sigma:.2f}"


@dataclass(frozen=True)
class JpegGeneration:
    """An earlier JPEG of the scan: its side as a share of the scan's, quality 1..100."""

    scale: Annotated[float, Field(ge=0.05, le=1)]
    quality: Annotated[int, Field(ge=1, le=100)]
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return f"jpeg {self.quality} at {self.scale:.2f}"


@dataclass(frozen=True)
class Print:
    """How the original was made and kept, in the order in which it acts; the tone's tint comes last."""

    soft_focus: SoftFocus | None = None
    tone: Tone | None = None
    grain: Grain | None = None
    halftone: Halftone | None = None
    paper: Paper | None = None
    levels: Levels | None = None
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return listed(self)


@dataclass(frozen=True)
class Damage:
    """What age did to the print, in the order in which it acts."""

    scratches: Scratches | None = None
    dust: Dust | None = None
    folds: Folds | None = None
    __pydantic_config__ = Strict

    def __str__(self) -> str:
        return listed(self)


def listed(parts: Print | Damage) -> str:
    """The parts that are there, as one text; empty where there are none."""
    present = (getattr(parts, field.name) for field in fields(parts))
    return "; ".join(str(part) for part in present if part is not None)

"""The tables of a training config: data, optimiser, losses, codebook, discriminators, phases.

Lists of phases are data, so that a schedule can be read (and tested) without running it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from facemend.degradations import PRESETS as DEGRADATIONS

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """A table of a config: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FolderConfig(Settings):
    """A folder of aligned HQ faces and how often each of its pictures is drawn against others."""

    path: Path
    weight: float = Field(default=1.0, gt=0)


class DataConfig(Settings):
    """Where the faces are, how many are kept aside, and how views are drawn from them."""

    folders: tuple[FolderConfig, ...] = Field(min_length=1)
    holdout: int = Field(default=64, gt=0)
    limit: Positive | None = None
    workers: int = Field(default=1, ge=0)
    crop: tuple[float, float] = (1.0, 1.0)
    rotate: float = Field(default=0.0, ge=0)
    shift: float = 0.0
    light: float = 0.0
    flip: Share = 0.5
    occlude: Share = 0.0
    table: Path | None = Field(
        default=None, description="CSV with folder and file, and yaw and source for the weights below"
    )
    turned: float = Field(default=1.0, gt=0, description="how often a turned face is drawn against a frontal")
    sources: dict[str, Annotated[float, Field(ge=0)]] = {}

    @property
    def views(self) -> bool:
        """Whether a face is seen differently each time, apart from mirroring."""
        return self.crop != (1, 1) or bool(self.rotate or self.shift or self.light or self.occlude)

    @model_validator(mode="after")
    def _table(self) -> Self:
        if self.table is None and (self.sources or self.turned != 1):
            raise ValueError("turned and sources need data.table, the CSV that knows yaw and source")
        return self

    @model_validator(mode="after")
    def _crop(self) -> Self:
        low, high = self.crop
        if not 0 < low <= high:
            raise ValueError(f"crop = {list(self.crop)} is not a range above 0")
        return self


class OptimConfig(Settings):
    """Optimiser and learning rate: linear warm-up, cosine to `final` times the rate, halvings."""

    lr: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=0, ge=0)
    final: float = Field(default=1.0, ge=0)
    halve_at: tuple[int, ...] = ()
    clip: float = Field(default=0.0, ge=0, description="largest gradient norm; 0 = no limit")


class PerceptualConfig(Settings):
    """LPIPS as a loss: which trunk, and whether in the reference's doubly normalised form."""

    net: Literal["alex", "vgg"] = "vgg"
    weight: float = Field(default=1.0, ge=0)
    double_normalised: bool = False
    jitter: int = Field(
        default=0,
        ge=0,
        description="pixels of random offset: a strided trunk else leaves a grid in the picture",
    )
    window: int = Field(
        default=0,
        ge=0,
        description="side of a random window that is compared instead of the picture, pixels: a quarter of "
        "the area costs a quarter; 0 = all of it",
    )
    focus: Share = Field(
        default=0.0,
        description="share of steps whose window lies on eyes, nose and mouth (aligned faces only)",
    )

    @model_validator(mode="after")
    def _focus(self) -> Self:
        if self.focus and not self.window:
            raise ValueError("focus says where the window lies: it needs window")
        return self


def _listed(value: object) -> object:
    """One table where a list of tables is wanted."""
    return value if isinstance(value, list | tuple) else (value,)


Perceptual = Annotated[tuple[PerceptualConfig, ...], BeforeValidator(_listed)]


class AdversaryConfig(Settings):
    """Patch discriminator, its weight and its learning rate."""

    weight: float = Field(default=0.8, ge=0)
    limit: float = Field(default=1.0, gt=0, description="upper bound of the adaptive weight")
    width: Positive = 64
    layers: Positive = 4
    norm: Literal["batch", "spectral"] = "spectral"
    lr: float = Field(default=1e-4, gt=0)


class CodebookConfig(Settings):
    """How the codebook learns.

    `gradient` is the published code loss; `ema` moves each code to the running mean of what chose it. Bypass
    for the first steps, then a k-means start, then revival of unused codes keep the codebook in use.
    """

    update: Literal["gradient", "ema"] = "gradient"
    form: Literal["release", "paper"] = "release"
    weight: float = Field(default=1.0, gt=0)
    beta: float = Field(default=0.25, gt=0)
    decay: float = Field(default=0.99, gt=0, lt=1)
    bypass: int = Field(default=0, ge=0, description="steps without quantisation at the start")
    kmeans: bool = True
    revive_every: int = Field(default=0, ge=0, description="steps between revivals; 0 = never")


class CodeLossConfig(Settings):
    """Weights of the code prediction losses."""

    feature: float = Field(default=1.0, ge=0)
    token: float = Field(default=0.5, ge=0)
    soft: float = Field(
        default=0.0,
        ge=0,
        description="temperature of soft targets, in mean squared distances of a code to its nearest; "
        "0 = the true code alone",
    )


class Stage1Phase(Settings):
    """Some steps at one picture size; the adversary may be off."""

    steps: Positive
    size: Positive
    batch: Positive
    adversary: bool = False


class Stage2Phase(Settings):
    """Some steps with one degradation recipe."""

    steps: Positive
    batch: Positive
    degradation: str

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.degradation not in DEGRADATIONS:
            raise ValueError(f"no degradation '{self.degradation}': one of {', '.join(DEGRADATIONS)}")
        return self


class Stage3Phase(Stage2Phase):
    """As in stage II, with w drawn from a range for each face.

    `image_losses` off trains code prediction only. On with w fixed at 0 is an error: no fusion layer would
    get a gradient, which is how the reference recipe crashes at its step 120,000.
    """

    w: tuple[float, float] = (1.0, 1.0)
    image_losses: bool = True
    adversary: bool = False

    @model_validator(mode="after")
    def _range(self) -> Self:
        low, high = self.w
        if not 0 <= low <= high <= 2:
            raise ValueError(f"w = {list(self.w)} is not a range within [0, 2]")
        if self.image_losses and high == 0:
            raise ValueError("image_losses with w = 0 trains nothing: set image_losses = false or raise w")
        if self.adversary and not self.image_losses:
            raise ValueError("adversary needs image_losses: there is no picture to judge without them")
        return self

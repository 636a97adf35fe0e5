"""The tables of a training config: data, optimiser, losses, codebook, discriminators, phases.

Lists of phases are data, so that a schedule can be read (and tested) without running it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from facemend.data.face_cache import CACHE_MB
from facemend.degradations import recipe_of
from facemend.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """A table of a config: frozen, and unknown keys are errors."""

    # As JSON infinity is null by default, which is no number when a run's record is read again.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class FolderConfig(Settings):
    """A folder of aligned HQ faces and how often each of its pictures is drawn against others."""

    path: Path
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    without: Path | None = Field(
        default=None, description="a folder: pictures whose file names are in it too are left out here"
    )


class DataConfig(Settings):
    """Where the faces are, how many are kept aside, and how views are drawn from them."""

    folders: tuple[FolderConfig, ...] = Field(min_length=1)
    holdout: int = Field(default=64, gt=0)
    limit: Positive | None = None
    workers: int = Field(default=1, ge=0)
    cache_mb: int = Field(
        default=CACHE_MB, ge=0, description="memory of a process for decoded faces; the rest is read again"
    )
    crop: tuple[float, float] = (1.0, 1.0)
    rotate: float = Field(default=0.0, ge=0)
    shift: float = 0.0
    light: float = 0.0
    flip: Share = 0.5
    occlude: Share = 0.0
    table: Path | None = Field(
        default=None, description="CSV with folder and file, and yaw and source for the weights below"
    )
    turned: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="how often a turned face is drawn against a frontal",
    )
    sources: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}

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

    kind: Literal["muon", "adamw"] = "muon"
    lr: float = Field(default=1e-3, gt=0)
    adam_share: float = Field(
        default=0.25, gt=0, description="rate of what Muon leaves to AdamW, as a share of lr"
    )
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
    shrink: int = Field(
        default=1, ge=1, description="compare pictures area-averaged by this factor: the whole for little"
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


View = Literal["whole", "half", "window", "features"]

_VIEWS = {"patch": ("whole",), "projected": ("half", "window", "features")}


class AdversaryConfig(Settings):
    """A discriminator: what it is, where it looks, its weight and its learning rate."""

    kind: Literal["patch", "projected"] = Field(
        default="patch", description="on pixels, or on the features of a frozen EfficientNet-lite0"
    )
    name: str = Field(
        default="", pattern=r"^\w*$", description="for its metrics and its weights; by default its kind"
    )
    weight: float = Field(default=0.8, ge=0)
    limit: float = Field(default=1.0, gt=0, description="upper bound of the adaptive weight")
    views: tuple[View, ...] = Field(
        default=(),
        description="the whole face, the face at half size, a window of 256 px anywhere, or one on eyes, "
        "nose and mouth; by default the whole for a patch one and the others for a projected one",
    )
    views_per_step: int = Field(
        default=0, ge=0, description="how many of them are drawn in a step: fewer cost less; 0 = all"
    )
    gate: bool = Field(
        default=False,
        description="its gradient is left out while its running hinge loss is above 1.9 (2 is chance); by "
        "default on for a projected one, off for a patch one",
    )
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(default=1e-4, gt=0)
    warmup: int = Field(default=0, ge=0, description="steps of its own over which lr rises from 0")
    width: Positive = Field(default=64, description="patch only")
    layers: Positive = Field(default=4, description="patch only")
    norm: Literal["batch", "spectral", "none"] = Field(default="spectral", description="patch only")
    penalty: float = Field(
        default=0.0,
        ge=0,
        description="patch only: weight of the squared gradient of a patch at real pictures (R1)",
    )

    @model_validator(mode="before")
    @classmethod
    def _by_kind(cls, values: Any) -> Any:
        """What is left out follows the kind."""
        if not isinstance(values, dict):
            return values
        kind = values.get("kind", "patch")
        known = {"name": kind, "views": _VIEWS[kind], "gate": kind == "projected"} if kind in _VIEWS else {}
        return known | values

    @model_validator(mode="after")
    def _patch_only(self) -> Self:
        fields = type(self).model_fields
        changed = [n for n in ("width", "layers", "norm", "penalty") if getattr(self, n) != fields[n].default]
        if self.kind != "patch" and changed:
            raise ValueError(f"{', '.join(changed)}: for kind = 'patch' only")
        if not self.name or not self.views:
            raise ValueError("name and views cannot be empty")
        return self


def _told_apart(adversaries: tuple[AdversaryConfig, ...]) -> tuple[AdversaryConfig, ...]:
    names = [adversary.name for adversary in adversaries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two with the name '{twice[0]}': give each a name of its own")
    return adversaries


AdversaryConfigs = Annotated[
    tuple[AdversaryConfig, ...], Field(min_length=1), BeforeValidator(_listed), AfterValidator(_told_apart)
]


def metric_suffixes(adversaries: Sequence[AdversaryConfig]) -> tuple[str, ...]:
    """What the names of each one's metrics end with: nothing if there is only one."""
    return ("",) if len(adversaries) == 1 else tuple(f"_{adversary.name}" for adversary in adversaries)


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


class Phase(Settings):
    """Some steps of one kind."""

    steps: Positive
    batch: Positive


class Stage1Phase(Phase):
    """At one picture size; the adversary may be off."""

    size: Positive
    adversary: bool = False


def _known(value: object) -> object:
    """Whether there is such a degradation."""
    if not isinstance(value, str | dict):
        raise ValueError("write the name of a preset, or a table of names and weights")
    try:
        recipe_of(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return value


Degradation = Annotated[str | dict[str, float], BeforeValidator(_known)]
"""Name of a degradation preset, or a table of names and weights."""


class Stage2Phase(Phase):
    """With one degradation recipe, or with several in shares by weight."""

    degradation: Degradation


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

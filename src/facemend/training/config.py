"""Settings of a training run: TOML in, validated once, unknown keys are errors.

Each stage has its own model; `load_config` picks it by the key `stage`. Lists of phases are data, so that a
schedule can be read (and tested) without running it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from facemend.degradations import PRESETS as DEGRADATIONS
from facemend.errors import ConfigError
from facemend.models.config import PRESETS as NETWORKS

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FolderConfig(_Model):
    """A folder of aligned HQ faces and how often each of its pictures is drawn against others."""

    path: Path
    weight: float = Field(default=1.0, gt=0)


class DataConfig(_Model):
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


class OptimConfig(_Model):
    """Optimiser and learning rate: linear warm-up, cosine to `final` times the rate, halvings."""

    lr: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=0, ge=0)
    final: float = Field(default=1.0, ge=0)
    halve_at: tuple[int, ...] = ()
    clip: float = Field(default=0.0, ge=0, description="largest gradient norm; 0 = no limit")


class PerceptualConfig(_Model):
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


class AdversaryConfig(_Model):
    """Patch discriminator, its weight and its learning rate."""

    weight: float = Field(default=0.8, ge=0)
    limit: float = Field(default=1.0, gt=0, description="upper bound of the adaptive weight")
    width: Positive = 64
    layers: Positive = 4
    norm: Literal["batch", "spectral"] = "spectral"
    lr: float = Field(default=1e-4, gt=0)


class CodebookConfig(_Model):
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


class CodeLossConfig(_Model):
    """Weights of the code prediction losses."""

    feature: float = Field(default=1.0, ge=0)
    token: float = Field(default=0.5, ge=0)


class Stage1Phase(_Model):
    """Some steps at one picture size; the adversary may be off."""

    steps: Positive
    size: Positive
    batch: Positive
    adversary: bool = False


class Stage2Phase(_Model):
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


class RunConfig(_Model):
    """What all stages share."""

    network: str = "compact-256"
    out: Path
    seed: int = 0
    data: DataConfig
    optim: OptimConfig = OptimConfig()
    ema: float = Field(default=0.995, ge=0, lt=1)
    precision: Literal["no", "bf16"] = "no"
    threads: int = Field(default=0, ge=0, description="CPU threads; 0 = all")
    channels_last: bool = Field(default=False, description="lay pictures out by pixel; faster on many GPUs")
    compile: bool = Field(default=False, description="torch.compile the networks; minutes at the start")
    accumulate: Positive = Field(
        default=1, description="parts that a batch is cut into, one after the other: less memory, same step"
    )
    log_every: Positive = 20
    save_every: Positive = 500
    preview_every: Positive = 500

    @model_validator(mode="after")
    def _network(self) -> Self:
        if self.network not in NETWORKS:
            raise ValueError(f"no network '{self.network}': one of {', '.join(NETWORKS)}")
        return self


def _parts(config: RunConfig, phases: Sequence[Stage1Phase | Stage2Phase]) -> None:
    """Whether every batch can be cut into the parts that `accumulate` asks for."""
    for phase in phases:
        if phase.batch % config.accumulate:
            raise ValueError(
                f"batch = {phase.batch} cannot be cut into accumulate = {config.accumulate} parts"
            )
        if config.accumulate > 1 and getattr(phase, "adversary", False):
            raise ValueError("accumulate does not go with an adversary, which is trained on whole batches")


class Stage1Config(RunConfig):
    """Stage I: the vector-quantised autoencoder."""

    stage: Literal["stage1"]
    phases: tuple[Stage1Phase, ...] = Field(min_length=1)
    init: Path | None = None
    pixel_weight: float = 1.0
    perceptual: Perceptual = (PerceptualConfig(),)
    codebook: CodebookConfig = CodebookConfig()
    adversary: AdversaryConfig = AdversaryConfig()

    @model_validator(mode="after")
    def _accumulate(self) -> Self:
        _parts(self, self.phases)
        return self


class Stage2Config(RunConfig):
    """Stage II: code prediction, codebook and decoder frozen."""

    stage: Literal["stage2"]
    stage1: Path
    min_psnr: float = Field(default=18.0, description="refuse to start if stage I reconstructs worse, dB")
    phases: tuple[Stage2Phase, ...] = Field(min_length=1)
    codes: CodeLossConfig = CodeLossConfig()
    cache_codes: bool = Field(
        default=False, description="compute the target codes once for each face and its mirror image"
    )

    @model_validator(mode="after")
    def _cache(self) -> Self:
        _parts(self, self.phases)
        if self.cache_codes and self.data.views:
            raise ValueError("cache_codes needs faces as they are: no crop, rotate, shift, light or occlude")
        return self


class Stage3Config(RunConfig):
    """Stage III: controllable feature transformation, codebook and decoder frozen."""

    stage: Literal["stage3"]
    stage1: Path
    stage2: Path
    discriminator: Path | None = None
    min_psnr: float = 18.0
    phases: tuple[Stage3Phase, ...] = Field(min_length=1)
    detach_features: bool = Field(
        default=True, description="as released: image losses train the fusion blocks only, not the encoder"
    )
    freeze_decoder: bool = Field(
        default=True, description="as published; off, the decoder learns to live with codes that are guessed"
    )
    pixel_weight: float = 1.0
    perceptual: Perceptual = (PerceptualConfig(),)
    fidelity: float = Field(
        default=0.0, ge=0, description="L1 weighs 1 + fidelity * w^2: the dial's upper end is for truth; ours"
    )
    identity_weight: float = Field(
        default=0.0, ge=0, description="squared distance of face embeddings; ours, not in the paper"
    )
    codes: CodeLossConfig = CodeLossConfig()
    adversary: AdversaryConfig = AdversaryConfig(weight=0.1)

    @model_validator(mode="after")
    def _accumulate(self) -> Self:
        _parts(self, self.phases)
        return self


AnyConfig = Annotated[Stage1Config | Stage2Config | Stage3Config, Field(discriminator="stage")]


def load_config(path: Path, overrides: Sequence[str] = ()) -> Stage1Config | Stage2Config | Stage3Config:
    """Read a TOML file of settings.

    Args:
        path: the file. Relative paths inside it are taken from the working directory.
        overrides: "key.sub=value" with a TOML value, for instance "optim.lr=1e-4".

    Raises:
        ConfigError: the file is missing, not TOML, or a setting is unknown or out of range; all are named.
    """
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    for override in overrides:
        _override(values, override)
    try:
        adapter: TypeAdapter[Stage1Config | Stage2Config | Stage3Config] = TypeAdapter(AnyConfig)
        return adapter.validate_python(values)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {lines}") from None


def _override(values: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"--set {text}: write KEY=VALUE, for instance optim.lr=1e-4")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a bare word is a string
    *parents, last = key.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {text}: '{parent}' is not a table")
    values[last] = parsed

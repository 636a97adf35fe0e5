"""Settings of a training run: TOML in, validated once, unknown keys are errors.

Each stage has its own model, made of the tables in `settings`; `load_config` picks it by the key `stage`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

from facemend.data.prepare import FACES, MANIFEST
from facemend.errors import ConfigError
from facemend.networks.codeformer.config import PRESETS as NETWORKS
from facemend.networks.codeformer.config import CodeFormerConfig, changed, preset
from facemend.training.settings import (
    AdversaryConfig,
    AdversaryConfigs,
    CodebookConfig,
    CodeLossConfig,
    DataConfig,
    OptimConfig,
    Perceptual,
    PerceptualConfig,
    Phase,
    Positive,
    Settings,
    Stage1Phase,
    Stage2Phase,
    Stage3Phase,
)


class RunConfig(Settings):
    """What all stages share."""

    stage: str
    phases: tuple[Phase, ...]
    network: str = "compact-256"
    sizes: dict[str, Any] = Field(
        default={}, description="sizes that differ from the preset `network`, as in `CodeFormerConfig`"
    )
    out: Path
    seed: int = Field(
        default=0,
        description="of all draws. Each stage sees other faces, views and degradations; to go on with a "
        "stage's own product, give another seed",
    )
    data: DataConfig
    optim: OptimConfig = OptimConfig()
    ema: float = Field(default=0.995, ge=0, lt=1)
    precision: Literal["no", "bf16"] = "no"
    threads: int = Field(default=0, ge=0, description="CPU threads; 0 = all")
    channels_last: bool = Field(
        default=False, description="lay pictures out by pixel; faster on many GPUs, and on CPUs with AMX"
    )
    compile: bool = Field(default=False, description="torch.compile the networks; minutes at the start")
    accumulate: Positive = Field(
        default=1, description="parts that a batch is cut into, one after the other: less memory, same step"
    )
    minutes: float | None = Field(
        default=None,
        gt=0,
        description="end after so long, the learning rate fallen as at the last step; such a run is not "
        "repeatable step for step. None = all steps",
    )
    log_every: Positive = 20
    save_every: Positive = 500
    preview_every: Positive = 500

    @model_validator(mode="after")
    def _network(self) -> Self:
        if self.network not in NETWORKS:
            raise ValueError(f"no network '{self.network}': one of {', '.join(NETWORKS)}")
        try:
            _ = self.network_sizes
        except ConfigError as error:
            raise ValueError(f"sizes: {error}") from None
        return self

    @model_validator(mode="after")
    def _parts(self) -> Self:
        for phase in self.phases:
            if phase.batch % self.accumulate:
                raise ValueError(
                    f"batch = {phase.batch} cannot be cut into accumulate = {self.accumulate} parts"
                )
            if self.accumulate > 1 and getattr(phase, "adversary", False):
                raise ValueError(
                    "accumulate does not go with an adversary, which is trained on whole batches"
                )
        return self

    @property
    def network_sizes(self) -> CodeFormerConfig:
        """The network: the preset with what `sizes` changes."""
        return changed(preset(self.network), self.sizes)


class PictureConfig(RunConfig):
    """What the stages share that compare pictures."""

    pixel_weight: float = 1.0
    spike_weight: float = Field(
        default=0.0,
        ge=0,
        description="against single places of the decoder's features that swamp its norms; ours",
    )
    eye_weight: float = Field(
        default=0.0,
        ge=0,
        description="so much more L1 weighs in the middle of the eyes of aligned faces; ours",
    )
    perceptual: Perceptual = (PerceptualConfig(),)


class Stage1Config(PictureConfig):
    """Stage I: the vector-quantised autoencoder."""

    stage: Literal["stage1"]
    phases: tuple[Stage1Phase, ...] = Field(min_length=1)
    init: Path | None = Field(
        default=None, description="a stage I or whole network, such as a grown one, to start from"
    )
    fresh: tuple[str, ...] = Field(
        default=(),
        description="beginnings of names not taken from `init`; a fresh `codebook.` starts by k-means",
    )
    codebook: CodebookConfig = CodebookConfig()
    adversary: AdversaryConfigs = (AdversaryConfig(),)

    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        projected = any(adversary.kind == "projected" for adversary in self.adversary)
        if projected and any(phase.adversary and phase.size < 64 for phase in self.phases):
            raise ValueError("a projected adversary needs phases with size >= 64: it looks at half of that")
        multiple = self.network_sizes.autoencoder.multiple
        for phase in self.phases:
            if phase.size % multiple:
                raise ValueError(f"phases: size = {phase.size} is not a multiple of {multiple}")
        return self


class Stage2Config(RunConfig):
    """Stage II: code prediction, codebook and decoder frozen."""

    stage: Literal["stage2"]
    stage1: Path
    init: Path | None = Field(
        default=None,
        description="a whole network, such as a grown one, to start encoder and transformer from",
    )
    min_psnr: float = Field(default=18.0, description="refuse to start if stage I reconstructs worse, dB")
    phases: tuple[Stage2Phase, ...] = Field(min_length=1)
    codes: CodeLossConfig = CodeLossConfig()
    cache_codes: bool = Field(
        default=False, description="compute the target codes once for each face and its mirror image"
    )

    @model_validator(mode="after")
    def _cache(self) -> Self:
        if self.cache_codes and self.data.views:
            raise ValueError("cache_codes needs faces as they are: no crop, rotate, shift, light or occlude")
        return self


class Stage3Config(PictureConfig):
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
    freeze_prediction: bool = Field(
        default=False,
        description="encoder and transformer stay as they are, without code losses, for 15 % less time a "
        "step: where the decoder is what lags behind; ours",
    )
    guess_colours: bool = Field(
        default=True,
        description="as published; off, faces whose colours the degradation took are compared and judged in "
        "gray: the photo's own are laid over them in the end; ours",
    )
    fidelity: float = Field(
        default=0.0, ge=0, description="L1 weighs 1 + fidelity * w^2: the dial's upper end is for truth; ours"
    )
    identity_weight: float = Field(
        default=0.0, ge=0, description="squared distance of face embeddings; ours, not in the paper"
    )
    codes: CodeLossConfig = CodeLossConfig()
    adversary: AdversaryConfigs = (AdversaryConfig(weight=0.1),)

    @model_validator(mode="after")
    def _something_trained(self) -> Self:
        if self.freeze_prediction and not all(phase.image_losses for phase in self.phases):
            raise ValueError("freeze_prediction leaves nothing to train in a phase with image_losses = false")
        return self


_OF_PICTURES = ("folders", "table", "turned", "sources")
"""Settings of `data` that mean certain pictures."""
AnyConfig = Annotated[Stage1Config | Stage2Config | Stage3Config, Field(discriminator="stage")]


def load_config(
    path: Path, overrides: Sequence[str] = (), faces: Path | None = None
) -> Stage1Config | Stage2Config | Stage3Config:
    """Read a TOML file of settings, over those of the file that its key `base` names (relative to it).

    Args:
        path: the file. All other relative paths inside it are taken from the working directory.
        overrides: "key.sub=value" with a TOML value, for instance "optim.lr=1e-4".
        faces: a folder of aligned faces, or one that `facemend data prepare` made; it takes the place of the
            config's folders and of what the config says about the pictures in them.

    Raises:
        ConfigError: a file is missing or not TOML, bases go in a circle, or a setting is unknown or out of
            range; all are named.
    """
    values = _read(path)
    if faces is not None:
        kept = {name: value for name, value in values.get("data", {}).items() if name not in _OF_PICTURES}
        values["data"] = kept | _data_of(faces)
    for override in overrides:
        _override(values, override)
    try:
        adapter: TypeAdapter[Stage1Config | Stage2Config | Stage3Config] = TypeAdapter(AnyConfig)
        return adapter.validate_python(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {'; '.join(map(_told, error.errors()))}") from None


def _told(error: ErrorDetails) -> str:
    """What is wrong with a setting, and with which; none of them has it all."""
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "there is no such setting"
    return ": ".join(filter(None, (".".join(map(str, error["loc"][1:])), message)))


def _data_of(faces: Path) -> dict[str, Any]:
    """Settings that name the pictures of that folder, and the manifest where it was prepared."""
    manifest = faces / MANIFEST
    if manifest.is_file():
        return {"folders": [{"path": faces / FACES}], "table": manifest}
    return {"folders": [{"path": faces}]}


def _read(path: Path, readers: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The settings of a file over those of its `base`, which `readers` have led to."""
    led = f"; {readers[-1]} names it as its base" if readers else ""
    if path.resolve() in readers:
        raise ConfigError(f"{path}: its bases lead back to it; take one `base` out")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config ({error.strerror}){led}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}{led}") from None
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f'{path}: base is the name of a file, for instance base = "other.toml"')
    return _merged(_read(path.parent / base, (*readers, path.resolve())), values)


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; all else, lists too, takes the place of what was there."""
    both = {
        name: _merged(base[name], own)
        for name, own in values.items()
        if isinstance(own, dict) and isinstance(base.get(name), dict)
    }
    return base | values | both


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

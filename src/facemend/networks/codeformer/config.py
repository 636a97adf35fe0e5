"""Sizes of the networks: plain frozen dataclasses that travel inside checkpoints as JSON.

`codeformer-512` is the published network (arXiv 2206.11253); `compact-512` and `compact-256` are ours, for
CPUs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

from facemend.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of the vector-quantised autoencoder (stage I).

    Levels are listed from the finest grid to the coarsest; each level halves the side of the one before.

    Attributes:
        image_size: side of the square RGB input, pixels.
        patch: side of the pixel blocks folded into channels before the first convolution and unfolded after
            the last one (1 = none). The finest level works on a grid of `image_size / patch`.
        widths: channels of each level.
        encoder_blocks: residual blocks of each encoder level (0 = only the down convolution).
        decoder_blocks: residual blocks of each decoder level (at least 1: fusion follows the first).
        attention_sizes: grid sides at which a self-attention block follows each residual block.
        middle: whether residual, attention, residual blocks stand at the coarsest grid.
        upsample: "nearest" (nearest x2 then conv3, as published) or "shuffle" (conv1 then pixel shuffle).
        code_dim: channels of the latent and length of a code vector.
        codebook_size: number of code vectors of each table.
        norm_groups: groups of the group normalisation.
        encoder_skips: whether the first block of each encoder level has a 1x1 convolution on its skip even
            where the widths are equal, as in a network grown from one with a narrower level above.
        codes_per_position: equal parts that a latent is cut into, each with a table of its own (product
            quantisation); 1 as published.
        scales: sides of the grids of codes, coarse to fine; () = the grid of the latent alone, as published.
            Grids up to the latent's are codes of what the coarser ones leave of it (residual quantisation);
            finer ones are those of the encoder's finer levels, and enter the decoder there. Each scale has
            tables of its own.
    """

    image_size: int = 512
    patch: int = 1
    widths: tuple[int, ...] = (64, 128, 128, 256, 256, 512)
    encoder_blocks: tuple[int, ...] = (2, 2, 2, 2, 2, 2)
    decoder_blocks: tuple[int, ...] = (2, 2, 2, 2, 2, 2)
    attention_sizes: tuple[int, ...] = (16,)
    middle: bool = True
    upsample: str = "nearest"
    code_dim: int = 256
    codebook_size: int = 1024
    norm_groups: int = 32
    encoder_skips: bool = False
    codes_per_position: int = 1
    scales: tuple[int, ...] = ()

    @property
    def multiple(self) -> int:
        """Pixels: a picture's side must be a multiple of it."""
        return int(self.patch * 2 ** (len(self.widths) - 1))

    def __post_init__(self) -> None:
        levels = len(self.widths)
        if len(self.encoder_blocks) != levels or len(self.decoder_blocks) != levels:
            raise ConfigError(
                f"autoencoder: {levels} widths need as many encoder_blocks and decoder_blocks, "
                f"got {len(self.encoder_blocks)} and {len(self.decoder_blocks)}"
            )
        if min(self.decoder_blocks) < 1 or min(self.encoder_blocks) < 0:
            raise ConfigError("autoencoder: each decoder level needs at least one residual block")
        if self.image_size % self.multiple:
            raise ConfigError(
                f"autoencoder: image_size {self.image_size} is not a multiple of patch x 2^(levels-1) = "
                f"{self.multiple}"
            )
        if any(width % self.norm_groups for width in self.widths):
            raise ConfigError(
                f"autoencoder: every width must be a multiple of norm_groups = {self.norm_groups}"
            )
        if self.upsample not in ("nearest", "shuffle"):
            raise ConfigError(f"autoencoder: upsample is 'nearest' or 'shuffle', not '{self.upsample}'")
        if self.codes_per_position < 1 or self.code_dim % self.codes_per_position:
            raise ConfigError(
                f"autoencoder: code_dim {self.code_dim} cannot be cut into codes_per_position = "
                f"{self.codes_per_position} equal parts"
            )
        self._check_scales()

    def _check_scales(self) -> None:
        grid = self.code_grid
        ascending = list(self.scales) == sorted(set(self.scales))
        fits = (
            1 <= side <= grid and grid % side == 0 if side <= grid else side in self.sizes
            for side in self.scales
        )
        if not ascending or not all(fits) or (self.scales and self.scales[0] > grid):
            raise ConfigError(
                f"autoencoder: scales {self.scales} must go from coarse to fine and begin at {grid} or less; "
                f"those up to {grid} divide it, finer ones are levels of the network ({self.sizes})"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Grid side of each level, finest first."""
        return tuple(self.image_size // self.patch // 2**level for level in range(len(self.widths)))

    @property
    def code_grid(self) -> int:
        """Side of the grid of the latent."""
        return self.sizes[-1]

    @property
    def grids(self) -> tuple[int, ...]:
        """Side of each grid of codes, coarse to fine."""
        return self.scales or (self.code_grid,)

    @property
    def fine_scales(self) -> tuple[int, ...]:
        """Those of them that are finer than the latent's."""
        return tuple(side for side in self.grids if side > self.code_grid)

    @property
    def tables(self) -> int:
        """Tables of code vectors: `codes_per_position` for each scale."""
        return len(self.grids) * self.codes_per_position

    @property
    def code_counts(self) -> tuple[int, ...]:
        """Codes of a face in each scale; they stand in one row, scale after scale."""
        return tuple(side**2 * self.codes_per_position for side in self.grids)

    def width_at(self, size: int) -> int:
        """Channels of the level whose grid side is `size`."""
        if size not in self.sizes:
            raise ConfigError(f"no level of {size} px: the autoencoder has {self.sizes}")
        return self.widths[self.sizes.index(size)]


WINDOW = 8
"""Side of the windows of local attention, tokens."""
ATTENTIONS = ("global", "local+global", "split")


@dataclass(frozen=True)
class CodeFormerConfig:
    """Sizes of the whole network (stages II and III).

    Attributes:
        autoencoder: the stage I network whose codebook and decoder are kept.
        width: channels of a transformer token.
        heads: attention heads. Cannot be read from a weight file.
        layers: transformer layers.
        feedforward: hidden channels of each layer's two-layer perceptron.
        fuse_sizes: grid sides with a CFT block.
        fuse_hidden: inner width of a CFT block as a share of its channels (1.0 as published).
        bands: cell sides in pixels, coarsest first, of the photo's own bands that are let into the result by
            w; empty as published.
        attention: what a token of the transformer looks at: "global", all tokens, as published;
            "local+global", layers by turns at windows of 8 x 8 tokens of their scale and at all; "split",
            half of each layer's heads at windows and half at all. The weights have the same shapes.
        diagnosis: width of the head that says how damaged a face is (ours); 0 = none.
    """

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    width: int = 512
    heads: int = 8
    layers: int = 9
    feedforward: int = 1024
    fuse_sizes: tuple[int, ...] = (32, 64, 128, 256)
    fuse_hidden: float = 1.0
    bands: tuple[int, ...] = ()
    attention: str = "global"
    diagnosis: int = 0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(f"transformer: width {self.width} is not a multiple of heads {self.heads}")
        self._check_attention()
        for size in self.fuse_sizes:
            self.autoencoder.width_at(size)
        side = self.autoencoder.image_size
        if len(set(self.bands)) < len(self.bands) or any(
            fine < 1 or coarse % fine for coarse, fine in pairwise((side, *self.bands))
        ):
            raise ConfigError(
                f"bands {self.bands}: cells go from coarse to fine, each divides the one before, "
                f"and all divide {side} px"
            )
        if self.bands and not self.fuse_sizes:
            raise ConfigError("bands need fuse_sizes: how far to trust the photo is read from the fused taps")
        if self.bands and side in self.fuse_sizes:
            raise ConfigError(
                f"bands: the photo takes the place of a tap of {side} px, which is fused already"
            )

    def _check_attention(self) -> None:
        if self.attention not in ATTENTIONS:
            raise ConfigError(
                f"transformer: attention is one of {', '.join(ATTENTIONS)}, not '{self.attention}'"
            )
        if self.attention == "split" and self.heads % 2:
            raise ConfigError(
                f"transformer: attention 'split' needs an even number of heads, not {self.heads}"
            )
        if self.attention != "global" and any(
            side > WINDOW and side % WINDOW for side in self.autoencoder.grids
        ):
            raise ConfigError(
                f"transformer: attention '{self.attention}' cuts grids into windows of {WINDOW}, which "
                f"{self.autoencoder.grids} does not allow"
            )

    @property
    def kept_sizes(self) -> tuple[int, ...]:
        """Grid sides of what decoding gets of the LQ face, ascending: the fused taps; with bands, itself."""
        photo = (self.autoencoder.image_size,) if self.bands else ()
        return (*sorted(self.fuse_sizes), *photo)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CodeFormerConfig:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: a key is unknown or a value does not fit.
        """
        values = dict(values)
        inner = _build(AutoencoderConfig, values.pop("autoencoder", {}))
        return _build(cls, {**values, "autoencoder": inner})


def changed(config: CodeFormerConfig, changes: Mapping[str, Any]) -> CodeFormerConfig:
    """Other sizes for some of a network's; `autoencoder` is a mapping of its own.

    Raises:
        ConfigError: names a size that does not exist, has a value of another kind, or does not fit the rest.
    """
    inner = changes.get("autoencoder", {})
    if not isinstance(inner, Mapping):
        raise ConfigError(f"autoencoder: a table of sizes is wanted, not {inner!r:.40}")
    autoencoder = dataclasses.replace(config.autoencoder, **_typed(config.autoencoder, inner))
    outer = _typed(config, {name: value for name, value in changes.items() if name != "autoencoder"})
    return dataclasses.replace(config, autoencoder=autoencoder, **outer)


def _typed(config: AutoencoderConfig | CodeFormerConfig, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes, if they are of the kind that the fields have in every network."""
    found: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in {known.name for known in dataclasses.fields(config)}:
            raise ConfigError(f"{type(config).__name__} has no '{name}'")
        kind = type(getattr(config, name))
        if kind is tuple and isinstance(value, list | tuple):
            fits = all(type(item) is int for item in value)
            value = tuple(value)
        else:
            fits = type(value) is kind or (kind is float and type(value) is int)
        if not fits or (kind is int and value < 1):
            raise ConfigError(f"{name} = {value!r:.40} is not of the kind of {getattr(config, name)!r:.40}")
        found[name] = value
    return found


def _build(cls: type[T], values: dict[str, Any]) -> T:
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except TypeError as error:
        raise ConfigError(f"{cls.__name__}: {error}") from None


PRESETS: dict[str, CodeFormerConfig] = {
    "codeformer-512": CodeFormerConfig(),
    # The grids and inner layers of compact-256: only the ends see four times the pixels.
    "compact-512": CodeFormerConfig(
        autoencoder=AutoencoderConfig(
            image_size=512,
            patch=4,
            widths=(64, 64, 128, 256),
            encoder_blocks=(0, 2, 2, 2),
            decoder_blocks=(1, 2, 2, 2),
            middle=False,
            upsample="shuffle",
            encoder_skips=True,
        ),
        width=256,
        feedforward=512,
        fuse_sizes=(32, 64, 128),
        fuse_hidden=0.5,
        bands=(64, 32, 16, 8, 4),
    ),
    "compact-256": CodeFormerConfig(
        autoencoder=AutoencoderConfig(
            image_size=256,
            patch=2,
            widths=(32, 64, 128, 256),
            encoder_blocks=(0, 2, 2, 2),
            decoder_blocks=(1, 2, 2, 2),
            middle=False,
            upsample="shuffle",
        ),
        width=256,
        feedforward=512,
        fuse_sizes=(32, 64, 128),
        fuse_hidden=0.5,
        bands=(32, 16, 8, 4, 2),
    ),
    "tiny": CodeFormerConfig(
        autoencoder=AutoencoderConfig(
            image_size=64,
            patch=2,
            widths=(8, 16, 24),
            encoder_blocks=(0, 1, 1),
            decoder_blocks=(1, 1, 1),
            attention_sizes=(8,),
            middle=False,
            upsample="shuffle",
            code_dim=16,
            codebook_size=32,
            norm_groups=4,
        ),
        width=32,
        heads=4,
        layers=2,
        feedforward=64,
        fuse_sizes=(16, 32),
        fuse_hidden=0.5,
        bands=(16, 8, 4),
    ),
}
"""Named sizes: the published network, ours for CPUs, and a tiny one that trains in seconds for tests."""


def preset(name: str) -> CodeFormerConfig:
    """The named sizes.

    Raises:
        ConfigError: no preset has that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"no network preset '{name}': choose one of {', '.join(PRESETS)}")
    return PRESETS[name]

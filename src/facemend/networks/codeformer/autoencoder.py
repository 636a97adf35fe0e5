"""Stage I network: vector-quantised autoencoder (paper section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from facemend.networks.codeformer.blocks import (
    AttentionBlock,
    Downsample,
    NearestUpsample,
    ResidualBlock,
    ShuffleUpsample,
)
from facemend.networks.codeformer.config import AutoencoderConfig
from facemend.networks.codeformer.group_norm import GroupNorm
from facemend.networks.codeformer.scales import CodedFace, code_face, codebook_of


class Level(nn.Module):
    """The residual blocks of one grid size, each followed by attention where the config asks for it."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        blocks: int,
        attention: bool,
        groups: int,
        project: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(in_channels if i == 0 else channels, channels, groups, project and i == 0)
            for i in range(blocks)
        )
        self.attentions = nn.ModuleList(
            AttentionBlock(channels, groups) for _ in range(blocks if attention else 0)
        )

    def forward(self, x: Tensor, after_first: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Run the blocks; `after_first` is applied behind the first residual block (fusion)."""
        for i, block in enumerate(self.blocks):
            x = block(x)
            if self.attentions:
                x = self.attentions[i](x)
            if i == 0 and after_first is not None:
                x = after_first(x)
        return x


def middle(channels: int, groups: int) -> nn.Sequential:
    """Residual, attention, residual at the coarsest grid."""
    return nn.Sequential(
        ResidualBlock(channels, channels, groups),
        AttentionBlock(channels, groups),
        ResidualBlock(channels, channels, groups),
    )


class Encoder(nn.Module):
    """Picture -> latent, keeping the output of every level for fusion."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        groups = config.norm_groups
        self.stem = nn.Conv2d(3 * config.patch**2, config.widths[0], 3, padding=1)
        self.levels = nn.ModuleList()
        self.downs = nn.ModuleList()
        channels = config.widths[0]
        for size, width, blocks in zip(config.sizes, config.widths, config.encoder_blocks, strict=True):
            if blocks == 0 and width != channels:
                blocks = 1  # something has to change the width
            attention = size in config.attention_sizes
            self.levels.append(Level(channels, width, blocks, attention, groups, config.encoder_skips))
            channels = width
            if size != config.code_grid:
                self.downs.append(Downsample(channels))
        self.middle = middle(channels, groups) if config.middle else nn.Identity()
        self.norm = GroupNorm(channels, groups)
        self.out = nn.Conv2d(channels, config.code_dim, 3, padding=1)
        self.fine = nn.ModuleDict(
            {
                str(size): nn.Sequential(
                    GroupNorm(config.width_at(size), groups),
                    nn.Conv2d(config.width_at(size), config.code_dim, 3, padding=1),
                )
                for size in config.fine_scales
            }
        )

    def forward(self, image: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Encode.

        Args:
            image: (B, 3, S, S) RGB in [-1, 1].

        Returns:
            The latent (B, code_dim, g, g), and each level's output by its grid side on a full-size image
            (behind the level's last residual block, before downsampling).
        """
        x = self.stem(F.pixel_unshuffle(image, self.config.patch))
        taps = {}
        for i, (size, level) in enumerate(zip(self.config.sizes, self.levels, strict=True)):
            x = level(x)
            taps[size] = x
            if i < len(self.downs):
                x = self.downs[i](x)
        # No activation between the last norm and the last convolution: published behaviour.
        # Back to full precision under autocast: codes are compared by small differences.
        return self.out(self.norm(self.middle(x))).float(), taps

    def fine_latents(self, taps: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Latents (B, code_dim, h, w) of the scales finer than z, by side, from the levels' outputs."""
        return {int(size): latent(taps[int(size)]).float() for size, latent in self.fine.items()}


class Decoder(nn.Module):
    """Code vectors -> picture; called `generator` in the published weight files."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        groups = config.norm_groups
        channels = config.widths[-1]
        self.stem = nn.Conv2d(config.code_dim, channels, 3, padding=1)
        self.middle = middle(channels, groups) if config.middle else nn.Identity()
        self.levels = nn.ModuleList()
        self.ups = nn.ModuleList()
        order = list(zip(config.sizes, config.widths, config.decoder_blocks, strict=True))[::-1]
        entries = {}
        for i, (size, width, blocks) in enumerate(order):
            entries[size] = channels
            self.levels.append(Level(channels, width, blocks, size in config.attention_sizes, groups))
            channels = width
            if i + 1 < len(order):
                if config.upsample == "shuffle":
                    channels = order[i + 1][1]
                    self.ups.append(ShuffleUpsample(width, channels))
                else:
                    self.ups.append(NearestUpsample(channels))
        self.norm = GroupNorm(channels, groups)
        self.out = nn.Conv2d(channels, 3 * config.patch**2, 3, padding=1)
        self.fine = nn.ModuleDict(
            {str(size): nn.Conv2d(config.code_dim, entries[size], 1) for size in config.fine_scales}
        )

    def forward(
        self,
        features: Tensor,
        fuse: Callable[[int, Tensor], Tensor] | None = None,
        fine: Mapping[int, Tensor] | None = None,
        w: Tensor | None = None,
    ) -> Tensor:
        """Decode.

        Args:
            features: (B, code_dim, g, g) code vectors.
            fuse: called behind the first residual block of each level with the grid side and the features.
            fine: code vectors (B, code_dim, side, side) of the finer scales by side, added before the blocks
                of their levels.
            w: (B,) factor of what they add; None = 1.

        Returns:
            (B, 3, S, S) RGB, linear; about [-1, 1] and not clamped.
        """
        x = self.middle(self.stem(features))
        for i, (size, level) in enumerate(zip(self.config.sizes[::-1], self.levels, strict=True)):
            if fine and size in fine:
                added = self.fine[str(size)](fine[size])
                x = x + (added if w is None else w.view(-1, 1, 1, 1) * added)
            x = level(x, None if fuse is None else lambda h, size=size: fuse(size, h))
            if i < len(self.ups):
                x = self.ups[i](x)
        return F.pixel_shuffle(self.out(self.norm(x)), self.config.patch)


@dataclass(frozen=True)
class Reconstruction:
    """What the autoencoder returns: picture (B, 3, S, S), encoder output z (B, C, g, g), and its codes."""

    image: Tensor
    z: Tensor
    quantized: CodedFace


class VQAutoencoder(nn.Module):
    """Encoder, codebook, decoder."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.codebook = codebook_of(config)
        self.decoder = Decoder(config)

    def forward(self, image: Tensor, quantize: bool = True) -> Reconstruction:
        """Reconstruct (B, 3, S, S) RGB in [-1, 1]; `quantize=False` bypasses the codebook (warm-up only)."""
        z, taps = self.encoder(image)
        fine = self.encoder.fine_latents(taps)
        quantized = code_face(self.codebook, self.config, z, fine)
        features = (quantized.features, quantized.fine) if quantize else (z, fine)
        return Reconstruction(self.decoder(features[0], fine=features[1]), z, quantized)

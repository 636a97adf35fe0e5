"""Stage II network: a transformer that predicts the code sequence of a degraded face (paper section 3.2).

Floating-point operations of one layer's attention over T tokens of width c (2 for a multiplication and an
addition, two products): 4 T^2 c for "global", 4 T 64 c for a local layer, the mean of both for "local+global"
(one layer with the next) and for "split". The linear maps of a layer take 2 T (4 c^2 + 2 c f). `compact-256`
(T = 256, c = 256, f = 512): 67, 17 and 42 million beside 268; with scales of 8, 16 and 32 (T = 1344): 1850,
88 and 969 million beside 1409.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemend.networks.codeformer.attention import attention
from facemend.networks.codeformer.config import WINDOW, CodeFormerConfig
from facemend.networks.codeformer.scales import joined, pooled


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and a two-layer perceptron; positions go to query and key only.

    Args:
        width: channels of a token.
        heads: attention heads.
        feedforward: hidden channels of the perceptron.
        local_heads: how many of the heads, the first ones, look at windows only.
        grids: sides of the grids that the tokens are, one after the other; windows lie within each.
    """

    def __init__(
        self, width: int, heads: int, feedforward: int, local_heads: int = 0, grids: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.heads = heads
        self.local_heads = local_heads
        self.grids = grids
        self.norm1 = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        # torch.nn.MultiheadAttention's initialisation, which is what the published network was trained from.
        nn.init.xavier_uniform_(self.query_key_value.weight)
        nn.init.zeros_(self.query_key_value.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """(B, T, width) -> (B, T, width); positions (T, width)."""
        h = self.norm1(tokens)
        weights = self.query_key_value.weight.chunk(3)
        biases = self.query_key_value.bias.chunk(3)
        located = h + positions
        parts = [
            F.linear(source, weight, bias).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for source, weight, bias in zip((located, located, h), weights, biases, strict=True)
        ]
        mixed = self._attend(parts)
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        out: Tensor = tokens + self.linear2(F.gelu(self.linear1(self.norm2(tokens))))
        return out

    def _attend(self, parts: Sequence[Tensor]) -> Tensor:
        """Attention of query, key and value, (B, heads, T, width / heads) each; the same shape."""
        if not self.local_heads:
            return attention(*parts)
        if self.local_heads == self.heads:
            return local_attention(parts, self.grids)
        near = local_attention([part[:, : self.local_heads] for part in parts], self.grids)
        far = attention(*(part[:, self.local_heads :] for part in parts))
        return torch.cat((near, far), 1)


def local_attention(parts: Sequence[Tensor], grids: tuple[int, ...]) -> Tensor:
    """Attention within windows of 8 x 8 tokens, or all of a grid that is no larger.

    By cutting, not by a mask: a mask would calculate all pairs first.

    Args:
        parts: query, key and value, (B, heads, T, channels) each.
        grids: sides of the grids that the T tokens are, one after the other.
    """
    counts = [side**2 for side in grids]
    found = []
    for side, *own in zip(grids, *(part.split(counts, 2) for part in parts), strict=True):
        if side <= WINDOW:
            found.append(attention(*own))
            continue
        cells, heads, channels = side // WINDOW, own[0].shape[1], own[0].shape[3]
        # (B, h, rows of windows, 8, columns of windows, 8, c) -> (B * windows, h, 64, c)
        windows = [
            part.unflatten(2, (cells, WINDOW, cells, WINDOW))
            .permute(0, 2, 4, 1, 3, 5, 6)
            .reshape(-1, heads, WINDOW**2, channels)
            for part in own
        ]
        mixed = (
            attention(*windows)
            .reshape(-1, cells, cells, heads, WINDOW, WINDOW, channels)
            .permute(0, 3, 1, 4, 2, 5, 6)
        )
        found.append(mixed.flatten(2, 5))
    return found[0] if len(found) == 1 else torch.cat(found, 2)


class CodeTransformer(nn.Module):
    """LQ features -> logits over the codebook for every token.

    The scales' tokens stand in one row. Each scale has its own rows of `positions`, and its own part of
    `embed` and of `head`, which lie one below the other; the `codes_per_position` heads of a scale likewise.
    """

    def __init__(self, config: CodeFormerConfig) -> None:
        super().__init__()
        autoencoder = config.autoencoder
        self.config = autoencoder
        grids, scales = autoencoder.grids, len(autoencoder.grids)
        self.embed = nn.Linear(autoencoder.code_dim, scales * config.width)
        self.positions = nn.Parameter(torch.zeros(sum(side**2 for side in grids), config.width))
        self.layers = nn.ModuleList(
            TransformerLayer(
                config.width, config.heads, config.feedforward, _local_heads(config, layer), grids
            )
            for layer in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, autoencoder.tables * autoencoder.codebook_size, bias=False)

    def forward(self, z: Tensor, fine: Mapping[int, Tensor] | None = None) -> Tensor:
        """Predict codes.

        Args:
            z: (B, code_dim, g, g) encoder output of the LQ face.
            fine: latents of the finer scales by side, if there are any.

        Returns:
            Logits (B, T, codebook_size): scale after scale, row by row, the codes of a position side by side.
        """
        latents = [
            (fine or {})[side] if side > self.config.code_grid else pooled(z, side, self.config.code_grid)
            for side in self.config.grids
        ]
        tokens = joined(_each(self.embed, [latent.flatten(2).transpose(1, 2) for latent in latents]))
        for layer in self.layers:
            tokens = layer(tokens, self.positions)
        tokens = self.norm(tokens)
        counts = [side**2 for side in self.config.grids]
        logits = _each(self.head, [tokens] if len(counts) == 1 else list(tokens.split(counts, 1)))
        if self.config.codes_per_position > 1:
            logits = [own.unflatten(2, (self.config.codes_per_position, -1)).flatten(1, 2) for own in logits]
        return joined(logits)


def _local_heads(config: CodeFormerConfig, layer: int) -> int:
    """How many heads of a layer look at windows only."""
    if config.attention == "local+global":
        return config.heads if layer % 2 == 0 else 0
    return config.heads // 2 if config.attention == "split" else 0


def _each(linear: nn.Linear, inputs: list[Tensor]) -> list[Tensor]:
    """Apply to each input its part of a linear map whose parts lie one below the other."""
    if len(inputs) == 1:
        return [linear(inputs[0])]
    weights = linear.weight.chunk(len(inputs))
    biases = [None] * len(inputs) if linear.bias is None else linear.bias.chunk(len(inputs))
    return [F.linear(*each) for each in zip(inputs, weights, biases, strict=True)]

"""Stage II network: a transformer that predicts the code sequence of a degraded face (paper section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemend.models.config import CodeFormerConfig


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and a two-layer perceptron; positions go to query and key only."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.heads = heads
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
        query, key, value = (
            F.linear(source, weight, bias).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for source, weight, bias in zip((located, located, h), weights, biases, strict=True)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        out: Tensor = tokens + self.linear2(F.gelu(self.linear1(self.norm2(tokens))))
        return out


class CodeTransformer(nn.Module):
    """LQ features -> logits over the codebook for every token."""

    def __init__(self, config: CodeFormerConfig) -> None:
        super().__init__()
        autoencoder = config.autoencoder
        self.embed = nn.Linear(autoencoder.code_dim, config.width)
        self.positions = nn.Parameter(torch.zeros(autoencoder.code_grid**2, config.width))
        self.layers = nn.ModuleList(
            TransformerLayer(config.width, config.heads, config.feedforward) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, autoencoder.codebook_size, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """Predict codes.

        Args:
            z: (B, code_dim, g, g) encoder output of the LQ face.

        Returns:
            Logits (B, g*g, codebook_size), tokens row by row.
        """
        tokens = self.embed(z.flatten(2).transpose(1, 2))
        for layer in self.layers:
            tokens = layer(tokens, self.positions)
        logits: Tensor = self.head(self.norm(tokens))
        return logits

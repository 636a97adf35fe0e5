"""The diagnosis: how damaged a face is, and what each w would make of it, from what the encoder knows.

Ours, unpublished. Pooled statistics of the encoder's levels, of z and of the code logits go through a small
perceptron. It reads what is calculated anyway and changes nothing of it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemend.networks.codeformer.config import AutoencoderConfig
from facemend.types import Diagnosis

_FLOOR = 1e-6  # of variances, before their logarithm
_LOGITS = 4
# Resolution, blur and noise are read as exp(x) - offset: what matters of them is their ratio to the truth.
OFFSETS = (0.0, 0.25, 1.0)


def statistics(taps: Mapping[int, Tensor], z: Tensor, logits: Tensor) -> Tensor:
    """What the diagnosis sees of faces.

    Args:
        taps: (B, C, h, w) output of each level of the encoder.
        z: (B, C, g, g) its latent.
        logits: (B, T, N) of the codes.

    Returns:
        (B, F): of each channel mean and log variance, in finer levels than z also mean and deviation over
        the cells of z's grid of the log variance inside them (noise is everywhere, edges are not); mean and
        deviation over the codes of their entropy and of the log probability of the likeliest. Two rows of
        each cell are looked at, and every other code: half the work.
    """
    grid = z.shape[-1]
    log_p = logits[:, ::2].float().log_softmax(2)
    entropy = -(log_p.exp() * log_p).sum(2)
    parts = [_moments(tap.float(), grid) for tap in (*taps.values(), z)]
    parts.append([*_spread(entropy[:, None]), *_spread(log_p.amax(2)[:, None])])
    return torch.cat(list(chain.from_iterable(parts)), 1)


def _moments(x: Tensor, grid: int) -> list[Tensor]:
    """(B, C) each."""
    cell = x.shape[-1] // grid
    if cell > 1:
        x = x[:, :, :: cell // 2]
    mean, square = x, x * x  # as a power it takes three times as long
    if cell > 1:
        mean, square = (F.avg_pool2d(part, (2, cell)) for part in (mean, square))
    centre = mean.mean((2, 3))
    whole = (square.mean((2, 3)) - centre * centre).clamp(min=_FLOOR).log()
    if cell == 1:
        return [centre, whole]
    inside = (square - mean * mean).clamp(min=_FLOOR).log()
    return [centre, whole, *_spread(inside.flatten(2))]


def _spread(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation over the last axis."""
    mean = x.mean(-1)
    return mean, ((x * x).mean(-1) - mean * mean).clamp(min=_FLOOR).sqrt()


def statistics_count(config: AutoencoderConfig) -> int:
    """F of `statistics`."""
    levels = zip(config.sizes, config.widths, strict=True)
    return sum(width * (4 if size > config.code_grid else 2) for size, width in levels) + (
        2 * config.code_dim + _LOGITS
    )


def without_head(state: Mapping[str, Tensor], wanted: Container[str]) -> dict[str, Tensor]:
    """Weights by name without those of a diagnosis head that are not wanted.

    What a head says holds for the weights that it was made for; whoever trains on has no place for it.
    """
    return {
        name: value for name, value in state.items() if name in wanted or not name.startswith("diagnosis.")
    }


class DiagnosisHead(nn.Module):
    """Statistics of faces -> their diagnoses.

    Args:
        config: sizes of the autoencoder.
        hidden: width of the layer inside.
    """

    def __init__(self, config: AutoencoderConfig, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(statistics_count(config), hidden)
        self.outer = nn.Linear(hidden, Diagnosis.COUNT)

    def forward(self, taps: Mapping[int, Tensor], z: Tensor, logits: Tensor) -> Tensor:
        """(B, `Diagnosis.COUNT`), as `Diagnosis.from_row` reads it."""
        return self.diagnose(statistics(taps, z, logits))

    def diagnose(self, found: Tensor) -> Tensor:
        """The same from (B, F) of `statistics`."""
        raw: Tensor = self.outer(F.silu(self.inner(found)))
        damage, rest = raw[:, : len(OFFSETS)], raw[:, len(OFFSETS) :]
        offsets = torch.tensor(OFFSETS, device=raw.device)
        return torch.cat([damage.exp() - offsets, rest], 1)

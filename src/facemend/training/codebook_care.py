"""Keeping the codebook in use: k-means start, EMA update, usage counts, revival of dead codes.

The published recipe learns the codebook by gradient alone and does not look at its usage; on few pictures
most codes then die.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facemend.models.codebook import Codebook
from facemend.training.engine import Engine
from facemend.training.settings import CodebookConfig

# A code that was chosen, on average, less often than this share of its fair share is dead.
DEAD_SHARE = 0.03


class CodebookCare:
    """Running statistics of one codebook, over all processes."""

    def __init__(self, codebook: Codebook, config: CodebookConfig, engine: Engine) -> None:
        self.codebook = codebook
        self.config = config
        self.engine = engine
        # Running mean of how often each code is chosen in a step, and of the sum of the vectors choosing it.
        self.counts = torch.ones_like(codebook.vectors[:, 0]).detach()
        self.sums = codebook.vectors.detach().clone()
        if config.update == "ema":
            codebook.vectors.requires_grad_(False)

    @torch.no_grad()
    def start_from(self, z: Tensor, generator: torch.Generator, rounds: int = 12) -> None:
        """K-means over encoder outputs (N, C): every code starts where data is."""
        size = self.codebook.vectors.shape[0]
        pick = torch.randperm(len(z), generator=generator)[:size].to(z.device)
        if len(pick) < size:
            pick = torch.randint(len(z), (size,), generator=generator).to(z.device)
        centres = z[pick].float().clone()
        for _ in range(rounds):
            nearest = torch.cdist(z.float(), centres).argmin(1)
            counts = torch.bincount(nearest, minlength=size).float()
            sums = torch.zeros_like(centres).index_add_(0, nearest, z.float())
            alive = counts > 0
            centres[alive] = sums[alive] / counts[alive, None]
            spare = torch.randint(len(z), (int((~alive).sum()),), generator=generator).to(z.device)
            centres[~alive] = z[spare].float()
        self._place(torch.arange(size, device=z.device), centres)

    @torch.no_grad()
    def observe(self, z: Tensor, codes: Tensor) -> None:
        """Take in a step: z (B, C, h, w) and the codes chosen (B, h*w). Moves the codes in `ema` mode."""
        flat = z.detach().float().flatten(2).transpose(1, 2).flatten(0, 1)
        chosen = codes.flatten()
        counts = self.engine.sum(torch.bincount(chosen, minlength=len(self.counts)).float())
        sums = self.engine.sum(torch.zeros_like(self.sums).index_add_(0, chosen, flat))
        self.counts.lerp_(counts, 1 - self.config.decay)
        self.sums.lerp_(sums, 1 - self.config.decay)
        if self.config.update == "ema":
            # A code that nothing has chosen for long stays where it is, until it is revived.
            alive = self.counts > 1e-3
            self.codebook.vectors[alive] = self.sums[alive] / self.counts[alive, None]

    @torch.no_grad()
    def revive(self, z: Tensor, generator: torch.Generator) -> int:
        """Move dead codes to encoder outputs of this step, (B, C, h, w); returns how many."""
        fair = self.counts.sum() / len(self.counts)
        dead = (self.counts < DEAD_SHARE * fair).nonzero().flatten()
        flat = self.engine.gather(z.detach().float()).flatten(2).transpose(1, 2).flatten(0, 1)
        pick = torch.randperm(len(flat), generator=generator)[: len(dead)].to(flat.device)
        self._place(dead[: len(pick)], flat[pick])
        return len(pick)

    def _place(self, which: Tensor, vectors: Tensor) -> None:
        self.codebook.vectors.data[which] = vectors
        # A fair share to begin with, or the code would be called dead again at once.
        fair = self.counts.sum() / len(self.counts)
        self.counts[which] = fair
        self.sums[which] = vectors * fair

    def state_dict(self) -> dict[str, Tensor]:
        """For resuming."""
        return {"counts": self.counts, "sums": self.sums}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        self.counts.copy_(state["counts"])
        self.sums.copy_(state["sums"])

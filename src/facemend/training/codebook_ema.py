"""Keeping the codebook in use: k-means start, EMA update, usage counts, revival of dead codes.

The published recipe learns the codebook by gradient alone and does not look at its usage; on few pictures
most codes then die.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facemend.networks.codeformer.codebook import Codebook, CodeUsage, code_usage
from facemend.training.engine import Engine
from facemend.training.settings import CodebookConfig

# A code that was chosen, on average, less often than this share of its fair share is dead.
DEAD_SHARE = 0.03


class CodebookEMA:
    """Running statistics of one scale's tables, over all processes.

    Args:
        codebook: with the tables of all scales.
        config: how they learn.
        engine: the processes.
        scale: whose tables to look after.
    """

    def __init__(self, codebook: Codebook, config: CodebookConfig, engine: Engine, scale: int = 0) -> None:
        self.codebook = codebook
        self.config = config
        self.engine = engine
        self.scale = scale
        # Running mean of how often each code is chosen in a step, and of the sum of the vectors choosing it.
        self.counts = torch.ones_like(self._vectors[:, 0])
        self.sums = self._vectors.clone()
        if config.update == "ema":
            codebook.vectors.requires_grad_(False)

    @property
    def _vectors(self) -> Tensor:
        """The tables, one below the other: a view without gradient."""
        return self.codebook.table(self.scale).detach()

    @property
    def usage(self) -> CodeUsage:
        """How evenly the codes were chosen of late."""
        return code_usage(self.counts.view(self.codebook.parts, -1))

    @torch.no_grad()
    def start_from(self, z: Tensor, generator: torch.Generator, rounds: int = 12) -> None:
        """K-means over latents (N, C): every code starts where data is."""
        for part, own in enumerate(z.chunk(self.codebook.parts, 1)):
            first = part * self.codebook.size
            which = torch.arange(first, first + self.codebook.size, device=z.device)
            self._place(which, self._centres(own, generator, rounds))

    def _centres(self, z: Tensor, generator: torch.Generator, rounds: int) -> Tensor:
        size = self.codebook.size
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
        return centres

    @torch.no_grad()
    def observe(self, z: Tensor, codes: Tensor) -> None:
        """Take in a step: latents (B, C, h, w) and codes chosen (B, h*w*parts). Moves codes in `ema` mode."""
        flat = self._flat(z).flatten(0, 1)
        chosen = self.codebook.rows(codes).flatten()
        counts = self.engine.sum(torch.bincount(chosen, minlength=len(self.counts)).float())
        sums = self.engine.sum(torch.zeros_like(self.sums).index_add_(0, chosen, flat))
        self.counts.lerp_(counts, 1 - self.config.decay)
        self.sums.lerp_(sums, 1 - self.config.decay)
        if self.config.update == "ema":
            # A code that nothing has chosen for long stays where it is, until it is revived.
            alive = self.counts > 1e-3
            self._vectors[alive] = self.sums[alive] / self.counts[alive, None]

    @torch.no_grad()
    def revive(self, z: Tensor, generator: torch.Generator) -> int:
        """Move dead codes to latents of this step, (B, C, h, w); returns how many."""
        fair = self.counts.sum() / len(self.counts)
        flat = self._flat(self.engine.gather(z.detach().float()))
        revived = 0
        for part, counts in enumerate(self.counts.split(self.codebook.size)):
            dead = (counts < DEAD_SHARE * fair).nonzero().flatten()
            pick = torch.randperm(len(flat), generator=generator)[: len(dead)].to(flat.device)
            self._place(dead[: len(pick)] + part * self.codebook.size, flat[pick, part])
            revived += len(pick)
        return revived

    def _flat(self, z: Tensor) -> Tensor:
        """(B, C, h, w) -> (B*h*w, parts, C/parts)."""
        rows = z.detach().float().flatten(2).transpose(1, 2).flatten(0, 1)
        return rows.view(len(rows), self.codebook.parts, -1)

    def _place(self, which: Tensor, vectors: Tensor) -> None:
        self._vectors[which] = vectors
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

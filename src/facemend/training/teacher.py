"""Stage I as the teacher of stages II and III: target codes, and the weights they start from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from facemend.errors import ConfigError
from facemend.models.autoencoder import VQAutoencoder
from facemend.models.checkpoint import autoencoder_state, load_checkpoint, load_into
from facemend.models.codeformer import CodeFormer
from facemend.models.config import CodeFormerConfig
from facemend.training.run import freeze, require
from facemend.training.validate import require_reconstruction


class Teacher:
    """The frozen stage I network.

    Args:
        path: its checkpoint; loaded by name and checked, never left at random weights.
        sizes: sizes that the student has.
        probe: held-out HQ faces, (N, 3, S, S) in [-1, 1].
        min_psnr: refuse a stage I that reconstructs the probe worse than this, dB.
        device: where to run.

    Raises:
        InputError: the checkpoint is missing.
        WeightsError: it is damaged or of another network.
        ConfigError: sizes differ, or it reconstructs too badly.
    """

    def __init__(
        self, path: Path, sizes: CodeFormerConfig, probe: Tensor, min_psnr: float, device: torch.device
    ) -> None:
        checkpoint = load_checkpoint(require(path, "the stage I checkpoint"))
        if checkpoint.config.autoencoder != sizes.autoencoder:
            raise ConfigError(f"{path}: was trained with other autoencoder sizes than this run's network")
        self.net = VQAutoencoder(sizes.autoencoder).to(device)
        # A grown network stands in for stage I on purpose; a stage II or III file here is a mistake.
        state = autoencoder_state(checkpoint.state) if "grown_from" in checkpoint.info else checkpoint.state
        load_into(self.net, state, path)
        freeze(self.net)
        self.sha256 = checkpoint.sha256
        self._grid = sizes.autoencoder.code_grid
        self.psnr = require_reconstruction(self.net, probe, min_psnr, path)

    @torch.no_grad()
    def targets(self, hq: Tensor) -> tuple[Tensor, Tensor]:
        """True codes of HQ faces (B, 3, S, S) in [-1, 1]: indices (B, T) and vectors (B, C, g, g)."""
        z, _ = self.net.encoder(hq)
        quantized = self.net.codebook(z)
        return quantized.codes, quantized.vectors

    @property
    def tokens(self) -> int:
        """Codes of a face."""
        return self._grid**2

    def vectors(self, codes: Tensor) -> Tensor:
        """Code vectors (B, C, g, g) of indices (B, T)."""
        with torch.no_grad():
            return self.net.codebook.lookup(codes, (self._grid, self._grid))

    def start(self, student: CodeFormer, encoder: bool = True) -> None:
        """Give a student codebook and decoder, frozen, and unless it has its own the encoder."""
        if encoder:
            student.encoder.load_state_dict(self.net.encoder.state_dict())
        student.codebook.load_state_dict(self.net.codebook.state_dict())
        student.decoder.load_state_dict(self.net.decoder.state_dict())
        freeze(student.codebook, student.decoder)


def target_entropy(codes: Tensor, codebook_size: int) -> float:
    """Entropy of target codes, nats: near zero, or near ln(codebook_size), warns of a bad stage I."""
    share = torch.bincount(codes.flatten(), minlength=codebook_size).double()
    share = share / share.sum()
    return float(-(share * share.clamp(min=1e-12).log()).sum())

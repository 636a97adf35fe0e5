"""Stage I as the stage1 of stages II and III: target codes, and the weights they start from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from facemend.errors import ConfigError
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.checkpoint import Checkpoint, autoencoder_state, load_checkpoint, load_into
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import CodeFormerConfig
from facemend.networks.codeformer.scales import code_face, look_up
from facemend.training.run import freeze, require
from facemend.training.validate import by_scale, require_reconstruction


class FrozenStage1:
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
        self.sha256, self.kept = checkpoint.sha256, checkpoint.kept
        self.sizes = sizes.autoencoder
        self.psnr = require_reconstruction(self.net, probe, min_psnr, path)

    @torch.no_grad()
    def targets(self, hq: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """True codes of HQ faces, (B, 3, S, S) in [-1, 1].

        Returns:
            Indices (B, T), scale after scale, and what `vectors` says of them.
        """
        z, taps = self.net.encoder(hq)
        codes = code_face(self.net.codebook, self.sizes, z, self.net.encoder.fine_latents(taps)).codes
        return codes, self.vectors(codes)

    @property
    def tokens(self) -> int:
        """Codes of a face."""
        return sum(self.sizes.code_counts)

    def by_scale(self, codes: Tensor) -> tuple[Tensor, ...]:
        """The codes (or what has their second axis) of each scale, coarse to fine."""
        parts: tuple[Tensor, ...] = codes.split(self.sizes.code_counts, 1)
        return parts

    @torch.no_grad()
    def vectors(self, codes: Tensor) -> dict[int, Tensor]:
        """What each latent of the encoder should be, by grid side.

        For the latent that is the sum of the code vectors of all scales up to its grid, (B, C, g, g): what
        the decoder gets. Each finer scale has its own.
        """
        coarse, fine = look_up(self.net.codebook, self.sizes, codes)
        return {self.sizes.code_grid: coarse, **fine}

    def start(self, student: CodeFormer, encoder: bool = True) -> None:
        """Give a student codebook and decoder, frozen, and unless it has its own the encoder."""
        if encoder:
            student.encoder.load_state_dict(self.net.encoder.state_dict())
        student.codebook.load_state_dict(self.net.codebook.state_dict())
        student.decoder.load_state_dict(self.net.decoder.state_dict())
        freeze(student.codebook, student.decoder)

    def start_metrics(self, hq: Tensor) -> dict[str, float]:
        """What stage I is worth: PSNR, and the entropy of its codes of these faces (B, 3, S, S), by scale."""
        parts = self.sizes.codes_per_position
        entropies = [
            sum(target_entropy(own[:, part::parts], self.sizes.codebook_size) for part in range(parts))
            / parts
            for own in self.by_scale(self.targets(hq)[0])
        ]
        return {
            "stage1_psnr": self.psnr,
            **by_scale("target_entropy", entropies, self.sizes.grids),
        }


def target_entropy(codes: Tensor, codebook_size: int) -> float:
    """Entropy of target codes, nats: near zero, or near ln(codebook_size), warns of a bad stage I."""
    share = torch.bincount(codes.flatten(), minlength=codebook_size).cpu().double()
    share = share / share.sum()
    return float(-(share * share.clamp(min=1e-12).log()).sum())


def take_weights(net: CodeFormer, sizes: CodeFormerConfig, given: Checkpoint, source: Path) -> None:
    """Start a network from a checkpoint's weights.

    Raises:
        ConfigError: they were trained with other heads or attention, of which no shape tells.
        WeightsError: they do not fit.
    """
    if (given.config.heads, given.config.attention) != (sizes.heads, sizes.attention):
        raise ConfigError(f"{source}: was trained with other heads or attention than this run's network")
    load_into(net, given.state, source)

"""The codebook of a stage I run, scale by scale: its start, its running means, its dead codes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from facemend.networks.codeformer.autoencoder import Reconstruction, VQAutoencoder
from facemend.networks.codeformer.scales import code_face
from facemend.training.codebook_ema import CodebookEMA
from facemend.training.run import Run, Stateful
from facemend.training.settings import CodebookConfig
from facemend.training.validate import by_scale


class Codebooks:
    """Looks after the codes that `net` chooses.

    Args:
        net: the autoencoder; its codebook is changed in place.
        config: how.
        run: the run.
    """

    def __init__(self, net: VQAutoencoder, config: CodebookConfig, run: Run) -> None:
        self._net, self._config, self._run = net, config, run
        self._sides = net.config.grids
        self._emas = [CodebookEMA(net.codebook, config, run.engine, n) for n in range(len(self._sides))]
        self._chosen: list[list[tuple[Tensor, Tensor]]] = [[] for _ in self._sides]

    def parts(self) -> dict[str, Stateful]:
        """What a run saves and restores, by name."""
        return {
            f"codebook_ema_s{side}" if scale else "codebook_ema": self._emas[scale]
            for scale, side in enumerate(self._sides)
        }

    def take(self, out: Reconstruction) -> None:
        """Keep what a part of a step has chosen."""
        for own, scale in zip(self._chosen, out.quantized.scales, strict=True):
            own.append((scale.latent.detach(), scale.codes))

    def after_step(self, step: int, quantize: bool) -> dict[str, float]:
        """Take in what was kept in a step, if it was quantized, and revive dead codes when it is time."""
        chosen, self._chosen = self._chosen, [[] for _ in self._sides]
        if not quantize:
            return {}
        every = self._config.revive_every
        generator = self._run.generator(step) if every and (step + 1) % every == 0 else None
        revived = 0
        for ema, seen in zip(self._emas, chosen, strict=True):
            latents, codes = (torch.cat(own) for own in zip(*seen, strict=True))
            ema.observe(latents, codes)
            if generator is not None:
                revived += ema.revive(latents, generator)
        return {} if generator is None else {"revived": float(revived)}

    def perplexity(self) -> dict[str, float]:
        """Perplexity of the codes in use, by scale."""
        return by_scale("perplexity", [ema.usage.perplexity for ema in self._emas], self._sides)

    @torch.no_grad()
    def start(self, pictures: Iterable[Tensor]) -> None:
        """K-means scale by scale: a finer one starts from what the coarser ones, once started, leave."""
        net, faces = self._net, []
        with self._run.autocast():
            for hq in pictures:
                z, taps = net.encoder(hq)
                faces.append((z, net.encoder.fine_latents(taps)))
        for scale, ema in enumerate(self._emas):
            generator = self._run.generator(0)
            rows = []
            for z, fine in faces:
                latent = code_face(net.codebook, net.config, z, fine).scales[scale].latent
                own = latent.flatten(2).transpose(1, 2).flatten(0, 1)
                # No more of a finer grid than of the latent's: that many say enough.
                most = z[:, 0].numel()
                if len(own) > most:
                    own = own[torch.randperm(len(own), generator=generator)[:most]]
                rows.append(own)
            ema.start_from(torch.cat(rows), generator)

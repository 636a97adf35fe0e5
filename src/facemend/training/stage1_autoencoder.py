"""Stage I: learn a discrete codebook and a decoder from HQ faces (paper section 3.1).

Losses: L1, LPIPS, code, and from a phase on the hinge adversarial loss with adaptive weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from facemend.networks.codeformer.autoencoder import Reconstruction, VQAutoencoder
from facemend.networks.codeformer.checkpoint import (
    autoencoder_state,
    load_checkpoint,
    load_into,
    save_checkpoint,
)
from facemend.networks.codeformer.scales import code_face
from facemend.networks.perceptual.lpips import LPIPS
from facemend.training.adversary import Adversaries
from facemend.training.code_losses import code_loss
from facemend.training.codebook_ema import CodebookEMA
from facemend.training.config import Stage1Config
from facemend.training.ema import EMA
from facemend.training.image_losses import ImageLosses
from facemend.training.optimizers import make_optimizer
from facemend.training.pictures import open_faces, parts
from facemend.training.run import Batch, OnStep, Run, Stateful, Tally
from facemend.training.schedule import faces_seen
from facemend.training.settings import CodebookConfig, Stage1Phase
from facemend.training.spikes import Spikes
from facemend.training.validate import by_scale, reconstruction, save_grid

# Batches whose encoder outputs start the codebook.
KMEANS_BATCHES = 24


def train(config: Stage1Config, on_step: OnStep | None = None) -> Path:
    """Train stage I; returns the checkpoint. A run that was stopped goes on where its state was saved."""
    run = Run(config, config.phases, on_step)
    sizes = config.network_sizes
    sides = sizes.autoencoder.grids

    pictures = open_faces(config, sizes.autoencoder.image_size, None, run.engine)
    run.note("data.json", pictures.facts())
    probe = pictures.probe["hq"]

    net = run.place(VQAutoencoder(sizes.autoencoder))
    if config.init is not None:
        given = autoencoder_state(load_checkpoint(config.init).state)
        load_into(net, given, config.init, config.fresh)
    new_codebook = config.init is None or "codebook." in config.fresh
    judge = LPIPS("alex").to(run.device)
    adversary = Adversaries(config.adversary, run)
    image_losses = ImageLosses(config.pixel_weight, config.perceptual, eye_weight=config.eye_weight).to(
        run.device
    )
    emas = [CodebookEMA(net.codebook, config.codebook, run.engine, scale) for scale in range(len(sides))]
    average = EMA(net, config.ema)
    optimizer = make_optimizer(net, config.optim)
    state: dict[str, Stateful] = {
        "net": net,
        **{
            f"codebook_ema_s{side}" if scale else "codebook_ema": emas[scale]
            for scale, side in enumerate(sides)
        },
        "ema": average,
        "optimizer": optimizer,
        **adversary.parts(),
    }
    done = run.resume(state)
    spikes = Spikes(net.decoder, config.spike_weight)

    def batches(phase: Stage1Phase, first_sample: int, steps: int) -> Iterator[Batch]:
        return pictures.batches(phase.size, phase.batch, None, first_sample, steps)

    for step, phase, batch in run.steps_left(config.phases, done, batches):
        quantize = step >= config.codebook.bypass
        if step == config.codebook.bypass and config.codebook.kmeans and new_codebook:
            # By the step, not by `first_sample`, which depends on where a stopped run went on.
            seen = faces_seen(config.phases, step)
            start = pictures.batches(phase.size, phase.batch, None, seen, KMEANS_BATCHES, shared=False)
            _start_codebook(net, emas, (sample["hq"] for sample in start), run)

        generator = run.generator(step)
        total = Tally()
        chosen: list[list[tuple[Tensor, Tensor]]] = [[] for _ in sides]
        for part in parts(batch, config.accumulate):
            hq = part["hq"]
            with run.autocast():
                out = net(hq, quantize)
                metrics, image_gradient = image_losses(out.image, hq, generator, fine=part.get("fine"))
                code_losses = by_scale("code", _code_losses(out, config.codebook), sides)
                code = code_losses["code"]
                metrics |= {name: value.detach() for name, value in code_losses.items()}
                if phase.adversary:
                    last_layer = net.decoder.out.weight
                    adversarial, gan_metrics = adversary.gradient(
                        out.image, last_layer, image_gradient, generator, part.get("fine")
                    )
                    image_gradient = image_gradient + adversarial
                    metrics |= gan_metrics
            tensors, gradients = [out.image], [image_gradient]
            if quantize:
                tensors.append(code * config.codebook.weight)
                gradients.append(torch.ones_like(code))
            for name, loss in spikes.take().items():
                metrics[name] = loss.detach()
                tensors.append(loss)
                gradients.append(torch.ones_like(loss))
            torch.autograd.backward(tensors, [gradient / config.accumulate for gradient in gradients])
            total.add(metrics)
            for own, scale in zip(chosen, out.quantized.scales, strict=True):
                own.append((scale.latent.detach(), scale.codes))
        norm = run.update(optimizer, config.optim, step)
        if quantize:
            every = config.codebook.revive_every
            revive = run.generator(step) if every and (step + 1) % every == 0 else None
            total.add(_look_after(emas, chosen, revive))
        if phase.adversary:
            total.add(adversary.train(hq, out.image, generator, part.get("fine")))
        average.update(net)

        step += 1
        use = by_scale("perplexity", [ema.usage.perplexity for ema in emas], sides)
        run.after_step(step, batch, {**total.means(), **use, "gradient": norm, "bypass": float(not quantize)})
        if run.due(step, config.preview_every):
            held_out, restored = reconstruction(average.averaged(net), probe, judge)
            run.log(step, {f"held_out/{name}": value for name, value in held_out.items()})
            save_grid(run.folder / f"previews/step_{step:06d}.png", [probe, restored])
        if run.due(step, config.save_every):
            digest = {"data": pictures.faces.digest}
            info = run.info(step) | digest | {"adversaries": adversary.names}
            save_checkpoint(run.folder / "discriminator.safetensors", adversary.state_dict(), sizes, info)
            run.save(step, state, average.averaged(net).state_dict(), **digest)
    return run.product


def _code_losses(out: Reconstruction, config: CodebookConfig) -> list[Tensor]:
    return [
        code_loss(scale.latent, scale.vectors, config.beta, config.form) for scale in out.quantized.scales
    ]


def _look_after(
    emas: Sequence[CodebookEMA],
    chosen: Sequence[Sequence[tuple[Tensor, Tensor]]],
    revive: torch.Generator | None,
) -> dict[str, float]:
    """Take in the latents and codes of a step, by scale and part, and revive dead codes when it is time."""
    revived = 0
    for ema, seen in zip(emas, chosen, strict=True):
        latents, codes = (torch.cat(own) for own in zip(*seen, strict=True))
        ema.observe(latents, codes)
        if revive is not None:
            revived += ema.revive(latents, revive)
    return {} if revive is None else {"revived": float(revived)}


@torch.no_grad()
def _start_codebook(
    net: VQAutoencoder, emas: Sequence[CodebookEMA], pictures: Iterable[Tensor], run: Run
) -> None:
    """K-means scale by scale: a finer one starts from what the coarser ones, once started, leave."""
    faces = []
    with run.autocast():
        for hq in pictures:
            z, taps = net.encoder(hq)
            faces.append((z, net.encoder.fine_latents(taps)))
    for scale, ema in enumerate(emas):
        generator = run.generator(0)
        rows = []
        for z, fine in faces:
            latent = code_face(net.codebook, net.config, z, fine).scales[scale].latent
            own = latent.flatten(2).transpose(1, 2).flatten(0, 1)
            # No more of a finer grid than of the latent's: that many say enough.
            most = z[:, 0].numel()
            rows.append(
                own if len(own) <= most else own[torch.randperm(len(own), generator=generator)[:most]]
            )
        ema.start_from(torch.cat(rows), generator)

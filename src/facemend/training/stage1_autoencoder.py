"""Stage I: learn a discrete codebook and a decoder from HQ faces (paper section 3.1).

Losses: L1, LPIPS, code, and from a phase on the hinge adversarial loss with adaptive weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from facemend.training.codebook_care import CodebookCare
from facemend.training.config import Stage1Config
from facemend.training.ema import EMA
from facemend.training.image_losses import ImageLosses
from facemend.training.optimizers import make_optimizer
from facemend.training.pictures import open_faces, parts
from facemend.training.run import OnStep, Run, Stateful, Tally
from facemend.training.schedule import faces_seen, remaining
from facemend.training.settings import CodebookConfig
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
    image_losses = ImageLosses(config.pixel_weight, config.perceptual).to(run.device)
    cares = [CodebookCare(net.codebook, config.codebook, run.engine, scale) for scale in range(len(sides))]
    average = EMA(net, config.ema)
    optimizer = make_optimizer(net, config.optim)
    state: dict[str, Stateful] = {
        "net": net,
        **{f"care_s{side}" if scale else "care": cares[scale] for scale, side in enumerate(sides)},
        "ema": average,
        "optimizer": optimizer,
        **adversary.parts(),
    }
    step = run.resume(state)

    for phase, first_sample, phase_steps in remaining(config.phases, step):
        for batch in pictures.batches(phase.size, phase.batch, None, first_sample, phase_steps):
            quantize = step >= config.codebook.bypass
            if step == config.codebook.bypass and config.codebook.kmeans and new_codebook:
                # By the step, not by `first_sample`, which depends on where a stopped run went on.
                seen = faces_seen(config.phases, step)
                start = pictures.batches(phase.size, phase.batch, None, seen, KMEANS_BATCHES, shared=False)
                _start_codebook(net, cares, (sample["hq"] for sample in start), run)

            generator = run.generator(step)
            total = Tally()
            chosen: list[list[tuple[Tensor, Tensor]]] = [[] for _ in sides]
            for part in parts(batch, config.accumulate):
                hq = part["hq"]
                with run.autocast():
                    out = net(hq, quantize)
                    figures, image_gradient = image_losses(out.image, hq, generator, fine=part.get("fine"))
                    code_losses = by_scale("code", _code_losses(out, config.codebook), sides)
                    code = code_losses["code"]
                    figures |= {name: value.detach() for name, value in code_losses.items()}
                    if phase.adversary:
                        last_layer = net.decoder.out.weight
                        adversarial, gan_figures = adversary.gradient(
                            out.image, last_layer, image_gradient, generator, part.get("fine")
                        )
                        image_gradient = image_gradient + adversarial
                        figures |= gan_figures
                tensors, gradients = [out.image], [image_gradient]
                if quantize:
                    tensors.append(code * config.codebook.weight)
                    gradients.append(torch.ones_like(code))
                torch.autograd.backward(tensors, [gradient / config.accumulate for gradient in gradients])
                total.add(figures)
                for own, scale in zip(chosen, out.quantized.scales, strict=True):
                    own.append((scale.latent.detach(), scale.codes))
            norm = run.update(optimizer, config.optim, step)
            if quantize:
                every = config.codebook.revive_every
                revive = run.generator(step) if every and (step + 1) % every == 0 else None
                total.add(_look_after(cares, chosen, revive))
            if phase.adversary:
                total.add(adversary.train(hq, out.image, generator, part.get("fine")))
            average.update(net)
            step += 1

            run.after_step(
                step,
                batch,
                {
                    **total.means(),
                    "gradient": norm,
                    **by_scale("perplexity", [care.usage.perplexity for care in cares], sides),
                    "bypass": float(not quantize),
                },
            )
            if run.due(step, config.preview_every):
                _validate(net, average, probe, judge, run, step)
            if run.due(step, config.save_every):
                # The product first: a run that is stopped between the two does the step again.
                _save_product(net, average, adversary, config, run, step, pictures.faces.digest)
                run.save_state(step, state)
            if run.over(step):
                return run.folder / "model.safetensors"
    return run.folder / "model.safetensors"


def _code_losses(out: Reconstruction, config: CodebookConfig) -> list[Tensor]:
    return [
        code_loss(scale.latent, scale.vectors, config.beta, config.form) for scale in out.quantized.scales
    ]


def _look_after(
    cares: Sequence[CodebookCare],
    chosen: Sequence[Sequence[tuple[Tensor, Tensor]]],
    revive: torch.Generator | None,
) -> dict[str, float]:
    """Take in the latents and codes of a step, by scale and part, and revive dead codes when it is time."""
    revived = 0
    for care, seen in zip(cares, chosen, strict=True):
        latents, codes = (torch.cat(own) for own in zip(*seen, strict=True))
        care.observe(latents, codes)
        if revive is not None:
            revived += care.revive(latents, revive)
    return {} if revive is None else {"revived": float(revived)}


@torch.no_grad()
def _start_codebook(
    net: VQAutoencoder, cares: Sequence[CodebookCare], pictures: Iterable[Tensor], run: Run
) -> None:
    """K-means scale by scale: a finer one starts from what the coarser ones, once started, leave."""
    faces = []
    with run.autocast():
        for hq in pictures:
            z, taps = net.encoder(hq)
            faces.append((z, net.encoder.fine_latents(taps)))
    for scale, care in enumerate(cares):
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
        care.start_from(torch.cat(rows), generator)


def _averaged(net: VQAutoencoder, average: EMA) -> VQAutoencoder:
    copy = VQAutoencoder(net.config).to(next(net.parameters()).device)
    average.copy_to(copy)
    return copy.eval()


def _validate(net: VQAutoencoder, average: EMA, probe: Tensor, lpips: LPIPS, run: Run, step: int) -> None:
    figures, restored = reconstruction(_averaged(net, average), probe, lpips)
    run.log(step, {f"held_out/{name}": value for name, value in figures.items()})
    save_grid(run.folder / f"previews/step_{step:06d}.png", [probe, restored])


def _save_product(
    net: VQAutoencoder,
    average: EMA,
    adversary: Adversaries,
    config: Stage1Config,
    run: Run,
    step: int,
    digest: str,
) -> None:
    info = {"stage": "stage1", "step": step, "faces": faces_seen(config.phases, step), "data": digest}
    sizes = config.network_sizes
    save_checkpoint(run.folder / "model.safetensors", _averaged(net, average).state_dict(), sizes, info)
    info["adversaries"] = adversary.names
    save_checkpoint(run.folder / "discriminator.safetensors", adversary.state_dict(), sizes, info)

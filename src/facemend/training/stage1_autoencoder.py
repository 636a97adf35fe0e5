"""Stage I: learn a discrete codebook and a decoder from HQ faces (paper section 3.1).

Losses: L1, LPIPS, code, and from a phase on the hinge adversarial loss with adaptive weight.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from facemend.losses.codes import code_loss
from facemend.models.autoencoder import VQAutoencoder
from facemend.models.checkpoint import autoencoder_state, load_checkpoint, load_into, save_checkpoint
from facemend.models.codebook import code_usage
from facemend.models.config import preset
from facemend.models.perceptual import LPIPS
from facemend.training.adversary import Adversaries
from facemend.training.codebook_care import CodebookCare
from facemend.training.config import Stage1Config
from facemend.training.ema import EMA
from facemend.training.image_losses import ImageLosses
from facemend.training.optimizers import make_optimizer
from facemend.training.pictures import open_faces, parts
from facemend.training.run import OnStep, Run, Stateful, Tally
from facemend.training.schedule import faces_seen, remaining
from facemend.training.validate import reconstruction, save_grid

# Batches whose encoder outputs start the codebook.
KMEANS_BATCHES = 24


def train(config: Stage1Config, on_step: OnStep | None = None) -> Path:
    """Train stage I; returns the checkpoint. A run that was stopped goes on where its state was saved."""
    run = Run(config, config.phases, on_step)
    sizes = preset(config.network)

    pictures = open_faces(config, sizes.autoencoder.image_size, None, run.engine)
    run.note("data.json", pictures.facts())
    probe = pictures.probe["hq"]

    net = run.place(VQAutoencoder(sizes.autoencoder))
    if config.init is not None:
        load_into(net, autoencoder_state(load_checkpoint(config.init).state), config.init)
    judge = LPIPS("alex").to(run.device)
    adversary = Adversaries(config.adversary, run)
    image_losses = ImageLosses(config.pixel_weight, config.perceptual).to(run.device)
    care = CodebookCare(net.codebook, config.codebook, run.engine)
    average = EMA(net, config.ema)
    optimizer = make_optimizer(net, config.optim)
    state: dict[str, Stateful] = {
        "net": net,
        "care": care,
        "ema": average,
        "optimizer": optimizer,
        **adversary.parts(),
    }
    step = run.resume(state)

    for phase, first_sample, phase_steps in remaining(config.phases, step):
        for batch in pictures.batches(phase.size, phase.batch, None, first_sample, phase_steps):
            quantize = step >= config.codebook.bypass
            if step == config.codebook.bypass and config.codebook.kmeans and config.init is None:
                # By the step, not by `first_sample`, which depends on where a stopped run went on.
                seen = faces_seen(config.phases, step)
                start = pictures.batches(phase.size, phase.batch, None, seen, KMEANS_BATCHES, shared=False)
                _start_codebook(net, care, (sample["hq"] for sample in start), run)

            generator = run.generator(step)
            total = Tally()
            z, codes = [], []
            for part in parts(batch, config.accumulate):
                hq = part["hq"]
                with run.autocast():
                    out = net(hq, quantize)
                    figures, image_gradient = image_losses(out.image, hq, generator, fine=part.get("fine"))
                    code = code_loss(out.z, out.quantized.vectors, config.codebook.beta, config.codebook.form)
                    figures["code"] = code.detach()
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
                z.append(out.z.detach())
                codes.append(out.quantized.codes)
            norm = run.update(optimizer, config.optim, step)
            if quantize:
                care.observe(torch.cat(z), torch.cat(codes))
                if config.codebook.revive_every and (step + 1) % config.codebook.revive_every == 0:
                    revived = care.revive(torch.cat(z), run.generator(step))
                    total.add({"revived": float(revived)})
            if phase.adversary:
                total.add(adversary.train(hq, out.image, generator, part.get("fine")))
            average.update(net)
            step += 1

            usage = code_usage(care.counts)
            run.after_step(
                step,
                batch,
                {
                    **total.means(),
                    "gradient": norm,
                    "perplexity": usage.perplexity,
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


def _start_codebook(net: VQAutoencoder, care: CodebookCare, pictures: Iterable[Tensor], run: Run) -> None:
    latents = []
    with torch.no_grad(), run.autocast():
        for hq in pictures:
            z, _ = net.encoder(hq)
            latents.append(z.flatten(2).transpose(1, 2).flatten(0, 1))
    care.start_from(torch.cat(latents), run.generator(0))


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
    sizes = preset(config.network)
    save_checkpoint(run.folder / "model.safetensors", _averaged(net, average).state_dict(), sizes, info)
    info["adversaries"] = adversary.names
    save_checkpoint(run.folder / "discriminator.safetensors", adversary.state_dict(), sizes, info)

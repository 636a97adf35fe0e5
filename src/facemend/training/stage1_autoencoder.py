"""Stage I: learn a discrete codebook and a decoder from HQ faces (paper section 3.1).

Losses: L1, LPIPS, code, and from a phase on the hinge adversarial loss with adaptive weight.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from facemend.data.augment import Augmentation
from facemend.data.faces import FaceStream, batches, fixed_batch, read_faces, split, to_signed
from facemend.losses.adversarial import adaptive_weight, generator_loss, hinge_discriminator_loss
from facemend.losses.codes import code_loss
from facemend.models.autoencoder import VQAutoencoder
from facemend.models.checkpoint import load_checkpoint, load_into, save_checkpoint
from facemend.models.codebook import code_usage
from facemend.models.config import preset
from facemend.models.discriminator import PatchDiscriminator
from facemend.models.perceptual import LPIPS
from facemend.training.codebook_care import CodebookCare
from facemend.training.config import Stage1Config
from facemend.training.ema import EMA
from facemend.training.image_losses import ImageLosses
from facemend.training.run import OnStep, Run, adam, due, step_optimizer
from facemend.training.schedule import faces_seen, remaining
from facemend.training.validate import reconstruction, save_grid

# Batches whose encoder outputs start the codebook.
KMEANS_BATCHES = 24


def train(config: Stage1Config, on_step: OnStep | None = None) -> Path:
    """Train stage I; returns the checkpoint. A run that was stopped goes on where its state was saved."""
    run = Run(config, config.phases, on_step)
    steps = run.steps
    sizes = preset(config.network)

    data = config.data
    faces = read_faces([(f.path, f.weight) for f in data.folders], sizes.autoencoder.image_size, data.limit)
    faces, held_out = split(faces, data.holdout)
    probe = to_signed(fixed_batch(held_out, sizes.autoencoder.image_size, None, config.seed)["hq"]).to(run.device)
    view = Augmentation(data.crop, data.rotate, data.shift, data.light, data.flip)

    net = VQAutoencoder(sizes.autoencoder).to(run.device)
    if config.init is not None:
        load_into(net, load_checkpoint(config.init).state, config.init)
    adversary = config.adversary
    critic = PatchDiscriminator(adversary.width, adversary.layers, adversary.norm).to(run.device)
    image_losses = ImageLosses(config.pixel_weight, config.perceptual).to(run.device)
    care = CodebookCare(net.codebook, config.codebook)
    average = EMA(net, config.ema)
    optimizer = adam(net, config.optim)
    critic_optimizer = torch.optim.AdamW(critic.parameters(), lr=adversary.lr, betas=(0.5, 0.99), weight_decay=0)
    parts = {
        "net": net,
        "critic": critic,
        "care": care,
        "ema": average,
        "optimizer": optimizer,
        "critic_optimizer": critic_optimizer,
    }
    step = run.resume(parts)

    for phase, first_sample, phase_steps in remaining(config.phases, step):
        stream = FaceStream(faces, phase.size, view, None, config.seed)
        for batch in batches(stream, phase.batch, first_sample, phase_steps, data.workers):
            hq = to_signed(batch["hq"]).to(run.device)
            quantize = step >= config.codebook.bypass
            if step == config.codebook.bypass and config.codebook.kmeans and config.init is None:
                _start_codebook(net, care, stream, phase.batch, first_sample, run)

            with run.autocast():
                out = net(hq, quantize)
                losses, image_gradient = image_losses(out.image, hq)
                losses["code"] = code_loss(out.z, out.quantized.vectors, config.codebook.beta, config.codebook.form)
                if phase.adversary:
                    gan, gan_gradient = _critic_view(critic, out.image)
                    weight = adaptive_weight(
                        out.image, net.decoder.out.weight, image_gradient, gan_gradient, adversary.limit
                    )
                    image_gradient = image_gradient + adversary.weight * weight * gan_gradient
                    losses |= {"gan": gan, "lambda": weight}
            code = losses["code"] * config.codebook.weight if quantize else torch.zeros_like(losses["code"])
            torch.autograd.backward(
                [out.image, code] if quantize else [out.image], [image_gradient, None] if quantize else [image_gradient]
            )
            norm = step_optimizer(optimizer, config.optim, config.optim.lr, step, steps)
            if quantize:
                care.observe(out.z, out.quantized.codes)
                if config.codebook.revive_every and (step + 1) % config.codebook.revive_every == 0:
                    losses["revived"] = torch.tensor(float(care.revive(out.z, run.generator(step))))
            if phase.adversary:
                losses |= _train_critic(critic, critic_optimizer, hq, out.image.detach(), run)
            average.update(net)
            step += 1

            usage = code_usage(care.counts)
            run.after_step(
                step,
                len(hq),
                {**losses, "gradient": norm, "perplexity": usage.perplexity, "bypass": float(not quantize)},
            )
            if due(step, config.preview_every, steps):
                _validate(net, average, probe, image_losses.lpips, run, step)
            if due(step, config.save_every, steps):
                run.save_state(step, parts)
                _save_product(net, average, critic, config, run, step, faces.digest)
    return run.folder / "model.safetensors"


def _start_codebook(
    net: VQAutoencoder, care: CodebookCare, stream: FaceStream, batch: int, first_sample: int, run: Run
) -> None:
    latents = []
    with torch.no_grad(), run.autocast():
        for sample in batches(stream, batch, first_sample, KMEANS_BATCHES, 0):
            z, _ = net.encoder(to_signed(sample["hq"]).to(run.device))
            latents.append(z.flatten(2).transpose(1, 2).flatten(0, 1))
    care.start_from(torch.cat(latents), run.generator(0))


def _critic_view(critic: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Generator's adversarial loss and its gradient at the picture; the critic itself gets no gradient."""
    leaf = image.detach().requires_grad_()
    loss = generator_loss(critic(leaf).float())
    return loss.detach(), torch.autograd.grad(loss, leaf)[0]


def _train_critic(
    critic: nn.Module, optimizer: torch.optim.Optimizer, real: Tensor, fake: Tensor, run: Run
) -> dict[str, Tensor]:
    with run.autocast():
        logits_real, logits_fake = critic(real).float(), critic(fake).float()
    loss = hinge_discriminator_loss(logits_real, logits_fake)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return {"critic": loss.detach(), "real": logits_real.detach().mean(), "fake": logits_fake.detach().mean()}


def _averaged(net: VQAutoencoder, average: EMA) -> VQAutoencoder:
    copy = VQAutoencoder(net.config).to(next(net.parameters()).device)
    average.copy_to(copy)
    return copy.eval()


def _validate(net: VQAutoencoder, average: EMA, probe: Tensor, lpips: LPIPS, run: Run, step: int) -> None:
    figures, restored = reconstruction(_averaged(net, average), probe, lpips)
    run.log(step, {f"held_out/{name}": value for name, value in figures.items()})
    save_grid(run.folder / f"previews/step_{step:06d}.png", [probe, restored])


def _save_product(
    net: VQAutoencoder, average: EMA, critic: nn.Module, config: Stage1Config, run: Run, step: int, digest: str
) -> None:
    info = {"stage": "stage1", "step": step, "faces": faces_seen(config.phases, step), "data": digest}
    sizes = preset(config.network)
    save_checkpoint(run.folder / "model.safetensors", _averaged(net, average).state_dict(), sizes, info)
    save_checkpoint(run.folder / "discriminator.safetensors", critic.state_dict(), sizes, info)

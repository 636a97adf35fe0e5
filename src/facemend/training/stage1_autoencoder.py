"""Stage I: learn a discrete codebook and a decoder from HQ faces (paper section 3.1).

Losses: L1, LPIPS, code, and from a phase on the hinge adversarial loss with adaptive weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from facemend.networks.codeformer.autoencoder import Reconstruction, VQAutoencoder
from facemend.networks.codeformer.checkpoint import (
    autoencoder_state,
    load_checkpoint,
    load_into,
    save_checkpoint,
)
from facemend.networks.perceptual.lpips import LPIPS
from facemend.training.adversary import Adversaries
from facemend.training.code_losses import code_loss
from facemend.training.codebooks import Codebooks
from facemend.training.config import Stage1Config
from facemend.training.ema import EMA
from facemend.training.optimizers import make_optimizer
from facemend.training.picture_losses import Backward, PictureLosses
from facemend.training.pictures import open_faces, parts
from facemend.training.run import Batch, OnStep, Run, Stateful
from facemend.training.schedule import faces_seen
from facemend.training.settings import CodebookConfig, Stage1Phase
from facemend.training.tally import Tally
from facemend.training.validate import by_scale, reconstruction, save_grid

# Batches whose encoder outputs start the codebook.
KMEANS_BATCHES = 24


def train(config: Stage1Config, on_step: OnStep | None = None) -> Path:
    """Train stage I; returns the checkpoint. A run that was stopped goes on where its state was saved."""
    run = Run(config, config.phases, on_step)
    pictures = open_faces(config, config.network_sizes.autoencoder.image_size, None, run.engine)
    run.note_faces(pictures.facts())

    net = _network(config, run)
    losses = PictureLosses(config, run, net.decoder, net.decoder.out.weight)
    codebooks = Codebooks(net, config.codebook, run)
    judge = LPIPS("alex").to(run.device)
    average, optimizer = EMA(net, config.ema), make_optimizer(net, config.optim)
    state: dict[str, Stateful] = {"net": net, "ema": average, "optimizer": optimizer}
    state |= codebooks.parts() | losses.adversary.parts()
    done = run.resume(state)

    def batches(phase: Stage1Phase, first_sample: int, steps: int, shared: bool = True) -> Iterator[Batch]:
        return pictures.batches(phase.size, phase.batch, None, first_sample, steps, shared=shared)

    for step, phase, batch in run.steps_left(config.phases, done, batches):
        quantize = step >= config.codebook.bypass
        if step == config.codebook.bypass and _needs_start(config):
            # By the step, not by `first_sample`, which depends on where a stopped run went on.
            start = batches(phase, faces_seen(config.phases, step), KMEANS_BATCHES, shared=False)
            codebooks.start(sample["hq"] for sample in start)
        generator, total = run.generator(step), Tally()
        for part in parts(batch, config.accumulate):
            hq, fine, back = part["hq"], part.get("fine"), Backward()
            with run.autocast():
                out = net(hq, quantize)
                losses.add_to(back, out.image, hq, generator, fine, phase.adversary)
                _add_code_losses(back, out, config.codebook, net.config.grids, quantize)
            back.run(config.accumulate)
            codebooks.take(out)
            total.add(back.metrics)
        norm = run.update(optimizer, config.optim, step)
        total.add(codebooks.after_step(step, quantize))
        if phase.adversary:
            total.add(losses.adversary.train(hq, out.image, generator, fine))
        average.update(net)

        step += 1
        said = {**codebooks.perplexity(), "gradient": norm, "bypass": float(not quantize)}
        run.after_step(step, batch, {**total.means(), **said})
        if run.due(step, config.preview_every):
            _validate(average.averaged(net), pictures.probe["hq"], judge, run, step)
        if run.due(step, config.save_every):
            origin = {"data": pictures.faces.digest}
            _save_discriminators(losses.adversary, run, run.info(step) | origin)
            run.save(step, state, average.averaged(net).state_dict(), **origin)
    return run.product


def _network(config: Stage1Config, run: Run) -> VQAutoencoder:
    net = run.place(VQAutoencoder(config.network_sizes.autoencoder))
    if config.init is not None:
        given = load_checkpoint(config.init)
        load_into(net, autoencoder_state(given.state), config.init, config.fresh)
        run.kept = given.kept
    return net


def _needs_start(config: Stage1Config) -> bool:
    return config.codebook.kmeans and (config.init is None or "codebook.vectors".startswith(config.fresh))


def _add_code_losses(
    back: Backward, out: Reconstruction, config: CodebookConfig, sides: Sequence[int], quantize: bool
) -> None:
    scales = out.quantized.scales
    losses = [code_loss(scale.latent, scale.vectors, config.beta, config.form) for scale in scales]
    by_name = by_scale("code", losses, sides)
    back.metrics |= {name: value.detach() for name, value in by_name.items()}
    if quantize:
        back.add(by_name["code"] * config.weight, {})


def _save_discriminators(adversary: Adversaries, run: Run, info: Mapping[str, Any]) -> None:
    path, names = run.folder / "discriminator.safetensors", {"adversaries": adversary.names}
    save_checkpoint(path, adversary.state_dict(), run.config.network_sizes, {**info, **names})


def _validate(net: VQAutoencoder, probe: Tensor, judge: LPIPS, run: Run, step: int) -> None:
    held_out, restored = reconstruction(net, probe, judge)
    run.log(step, {f"held_out/{name}": value for name, value in held_out.items()})
    save_grid(run.folder / f"previews/step_{step:06d}.png", [probe, restored])

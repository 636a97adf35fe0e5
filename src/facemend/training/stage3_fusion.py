"""Stage III: controllable feature transformation (paper section 3.3).

Trained: fusion blocks by the image losses; encoder and transformer by the code losses (and by the image
losses too with `detach_features = false`); neither of them with `freeze_prediction = true`. Frozen: codebook
and decoder (the decoder is trained too with `freeze_decoder = false`). w is drawn for every face from the
phase's range.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from facemend.errors import ConfigError
from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.perceptual.lpips import LPIPS
from facemend.training.adversary import Adversaries
from facemend.training.config import Stage3Config
from facemend.training.ema import EMA
from facemend.training.frozen_stage1 import FrozenStage1
from facemend.training.image_losses import ImageLosses, in_gray
from facemend.training.optimizers import make_optimizer
from facemend.training.pictures import open_faces, parts
from facemend.training.prediction import CodeLosses, validate
from facemend.training.run import Batch, OnStep, Run, Stateful, Tally, freeze, logger, require
from facemend.training.settings import Stage3Phase
from facemend.training.spikes import Spikes

PREVIEW_W = (0.0, 0.5, 1.0)


def train(config: Stage3Config, on_step: OnStep | None = None) -> Path:
    """Train stage III; returns the checkpoint. A run that was stopped goes on where its state was saved."""
    run = Run(config, config.phases, on_step)
    sizes = config.network_sizes
    size = sizes.autoencoder.image_size

    pictures = open_faces(config, size, config.phases[-1].degradation, run.engine)
    run.note("data.json", pictures.facts())
    probe = pictures.probe

    stage1 = FrozenStage1(config.stage1, sizes, probe["hq"], config.min_psnr, run.device)
    net = run.place(CodeFormer(sizes))
    stage2 = load_checkpoint(require(config.stage2, "the stage II checkpoint"))
    if stage2.info.get("stage1") not in (stage1.sha256, None):
        raise ConfigError(f"{config.stage2}: was trained on another stage I than {config.stage1}")
    if (stage2.config.heads, stage2.config.attention) != (sizes.heads, sizes.attention):  # no shape tells
        raise ConfigError(
            f"{config.stage2}: was trained with other heads or attention than this run's network"
        )
    load_into(net, stage2.state, config.stage2)
    freeze(net.codebook)
    code_losses = CodeLosses(config.codes, stage1)
    if config.freeze_decoder:
        freeze(net.decoder)
    if config.freeze_prediction:
        freeze(net.encoder, net.transformer)
    image_losses = ImageLosses(
        config.pixel_weight, config.perceptual, config.identity_weight, config.eye_weight
    ).to(run.device)
    judge = LPIPS("alex").to(run.device)
    adversary = Adversaries(config.adversary, run)
    if config.discriminator is not None:
        adversary.load(config.discriminator)
    elif any(phase.adversary for phase in config.phases):
        logger.info("no discriminator named: it starts fresh")
    # Where the adaptive weight is measured: the last trained layer before the picture.
    last_layer = net.decoder.out.weight
    if config.freeze_decoder:
        last_layer = net.fusion[str(max(sizes.fuse_sizes))].shift[-1].weight  # type: ignore[index, union-attr]
    average = EMA(net, config.ema)
    optimizer = make_optimizer(net, config.optim)
    state: dict[str, Stateful] = {"net": net, "ema": average, "optimizer": optimizer, **adversary.parts()}
    done = run.resume(state)
    spikes = Spikes(net.decoder, config.spike_weight)

    def batches(phase: Stage3Phase, first_sample: int, steps: int) -> Iterator[Batch]:
        return pictures.batches(size, phase.batch, phase.degradation, first_sample, steps)

    for step, phase, batch in run.steps_left(config.phases, done, batches):
        generator = run.generator(step)
        w = run.draw_w(phase.w, phase.batch, generator)
        total = Tally()
        for part in parts({**batch, "w": w}, config.accumulate):
            hq = part["hq"]
            metrics: dict[str, torch.Tensor] = {}
            tensors: list[torch.Tensor] = []
            gradients: list[torch.Tensor] = []
            with run.autocast():
                encoded = net.encode(part["lq"])
                if not config.freeze_prediction:
                    code_loss, metrics = code_losses(encoded, *stage1.targets(hq))
                    tensors, gradients = [code_loss], [torch.ones_like(code_loss)]
                if phase.image_losses:
                    features = encoded.features
                    if config.detach_features:
                        features = {side: feature.detach() for side, feature in features.items()}
                    image = net.decode(encoded.codes, features, part["w"])
                    if not config.guess_colours:
                        image, hq = (in_gray(each, part["coloured"]) for each in (image, hq))
                    image_metrics, gradient = image_losses(
                        image,
                        hq,
                        generator,
                        1 + config.fidelity * part["w"].square(),
                        part.get("fine"),
                    )
                    metrics |= image_metrics
                    if phase.adversary:
                        adversarial, gan_metrics = adversary.gradient(
                            image, last_layer, gradient, generator, part.get("fine")
                        )
                        gradient = gradient + adversarial
                        metrics |= gan_metrics
                    tensors.append(image)
                    gradients.append(gradient)
                    for name, loss in spikes.take().items():
                        metrics[name] = loss.detach()
                        tensors.append(loss)
                        gradients.append(torch.ones_like(loss))
            torch.autograd.backward(tensors, [gradient / config.accumulate for gradient in gradients])
            total.add(metrics)
        norm = run.update(optimizer, config.optim, step)
        if phase.image_losses and phase.adversary:
            total.add(adversary.train(hq, image, generator, part.get("fine")))
        average.update(net)

        step += 1
        run.after_step(step, {**batch, "w": w}, {**total.means(), "gradient": norm})
        if run.due(step, config.preview_every):
            validate(average.averaged(net), stage1, probe, PREVIEW_W, judge, run, step)
        if run.due(step, config.save_every):
            origin = {"data": pictures.faces.digest, "stage1": stage1.sha256, "stage2": stage2.sha256}
            run.save(step, state, average.averaged(net).state_dict(), **origin)
    return run.product

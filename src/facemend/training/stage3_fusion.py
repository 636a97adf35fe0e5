"""Stage III: controllable feature transformation (paper section 3.3).

Trained: fusion blocks by the image losses; encoder and transformer by the code losses (and by the image
losses too with `detach_features = false`); neither of them with `freeze_prediction = true`. Frozen: codebook
and decoder (the decoder is trained too with `freeze_decoder = false`). w is drawn for every face from the
phase's range.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from facemend.errors import ConfigError
from facemend.networks.codeformer.checkpoint import Checkpoint, load_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer, Encoded
from facemend.networks.perceptual.lpips import LPIPS
from facemend.training.config import Stage3Config
from facemend.training.ema import EMA
from facemend.training.frozen_stage1 import FrozenStage1, take_weights
from facemend.training.image_losses import in_gray
from facemend.training.optimizers import make_optimizer
from facemend.training.picture_losses import Backward, PictureLosses
from facemend.training.pictures import open_faces, parts
from facemend.training.prediction import CodeLosses, validate
from facemend.training.run import Batch, OnStep, Run, Stateful, freeze, logger, require
from facemend.training.settings import Stage3Phase
from facemend.training.tally import Tally

PREVIEW_W = (0.0, 0.5, 1.0)


def train(config: Stage3Config, on_step: OnStep | None = None) -> Path:
    """Train stage III; returns the checkpoint. A run that was stopped goes on where its state was saved."""
    run = Run(config, config.phases, on_step)
    sizes = config.network_sizes
    size = sizes.autoencoder.image_size
    pictures = open_faces(config, size, config.phases[-1].degradation, run.engine)
    run.note_faces(pictures.facts())
    probe = pictures.probe
    stage1 = FrozenStage1(config.stage1, sizes, probe["hq"], config.min_psnr, run.device)
    net, stage2 = _network(config, run, stage1)
    run.kept = stage1.kept | stage2.kept
    code_losses = CodeLosses(config.codes, stage1)
    losses = PictureLosses(config, run, net.decoder, _last_layer(config, net))
    _take_discriminator(config, losses)
    judge = LPIPS("alex").to(run.device)
    average, optimizer = EMA(net, config.ema), make_optimizer(net, config.optim)
    state: dict[str, Stateful] = {"net": net, "ema": average, "optimizer": optimizer}
    state |= losses.adversary.parts()
    done = run.resume(state, stage1=stage1.sha256, stage2=stage2.sha256)

    def batches(phase: Stage3Phase, first_sample: int, steps: int) -> Iterator[Batch]:
        return pictures.batches(size, phase.batch, phase.degradation, first_sample, steps)

    for step, phase, batch in run.steps_left(config.phases, done, batches):
        generator, total = run.generator(step), Tally()
        batch["w"] = run.draw_w(phase.w, phase.batch, generator)
        for part in parts(batch, config.accumulate):
            fine, back = part.get("fine"), Backward()
            with run.autocast():
                encoded = net.encode(part["lq"])
                if not config.freeze_prediction:
                    back.add(*code_losses(encoded, *stage1.targets(part["hq"])))
                if phase.image_losses:
                    image, hq = _drawn(config, net, encoded, part)
                    by_w = 1 + config.fidelity * part["w"].square()
                    losses.add_to(back, image, hq, generator, fine, phase.adversary, by_w)
            back.run(config.accumulate)
            total.add(back.metrics)
        norm = run.update(optimizer, config.optim, step)
        if phase.image_losses and phase.adversary:
            total.add(losses.adversary.train(hq, image, generator, fine))
        average.update(net)

        step += 1
        run.after_step(step, batch, {**total.means(), "gradient": norm})
        if run.due(step, config.preview_every):
            validate(average.averaged(net), stage1, probe, PREVIEW_W, judge, run, step)
        if run.due(step, config.save_every):
            origin = {"data": pictures.faces.digest, "stage1": stage1.sha256, "stage2": stage2.sha256}
            run.save(step, state, average.averaged(net).state_dict(), **origin)
    return run.product


def _network(config: Stage3Config, run: Run, stage1: FrozenStage1) -> tuple[CodeFormer, Checkpoint]:
    """The network that goes on from stage II, its frozen parts frozen, and that checkpoint."""
    sizes = config.network_sizes
    net = run.place(CodeFormer(sizes))
    stage2 = load_checkpoint(require(config.stage2, "the stage II checkpoint"))
    if stage2.info.get("stage1") not in (stage1.sha256, None):
        raise ConfigError(f"{config.stage2}: was trained on another stage I than {config.stage1}")
    take_weights(net, sizes, stage2, config.stage2)
    freeze(net.codebook)
    if config.freeze_decoder:
        freeze(net.decoder)
    if config.freeze_prediction:
        freeze(net.encoder, net.transformer)
    return net, stage2


def _last_layer(config: Stage3Config, net: CodeFormer) -> Tensor:
    """The last trained layer before the picture."""
    if not config.freeze_decoder:
        return net.decoder.out.weight
    block = net.fusion[str(max(config.network_sizes.fuse_sizes))]
    weight: Tensor = block.shift[-1].weight  # type: ignore[index, union-attr]
    return weight


def _take_discriminator(config: Stage3Config, losses: PictureLosses) -> None:
    if config.discriminator is not None:
        losses.adversary.load(config.discriminator)
    elif any(phase.adversary for phase in config.phases):
        logger.info("no discriminator named: it starts fresh")


def _drawn(config: Stage3Config, net: CodeFormer, encoded: Encoded, part: Batch) -> tuple[Tensor, Tensor]:
    """What the decoder makes of the codes and features, and what it should be."""
    features, hq = encoded.features, part["hq"]
    if config.detach_features:
        features = {side: feature.detach() for side, feature in features.items()}
    image = net.decode(encoded.codes, features, part["w"])
    if not config.guess_colours:
        image, hq = (in_gray(each, part["coloured"]) for each in (image, hq))
    return image, hq

"""Stage II: predict the HQ code sequence from a degraded face (paper section 3.2).

Trained: encoder and transformer. Frozen: codebook and decoder. Losses: token cross-entropy and feature L2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from facemend.networks.codeformer.checkpoint import load_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.perceptual.lpips import LPIPS
from facemend.training.code_cache import CodeCache
from facemend.training.config import Stage2Config
from facemend.training.ema import EMA
from facemend.training.frozen_stage1 import FrozenStage1, take_weights
from facemend.training.optimizers import make_optimizer
from facemend.training.pictures import open_faces, parts
from facemend.training.prediction import CodeLosses, validate
from facemend.training.run import Batch, OnStep, Run, Stateful, freeze
from facemend.training.settings import Stage2Phase
from facemend.training.tally import Tally


def train(config: Stage2Config, on_step: OnStep | None = None) -> Path:
    """Train stage II; returns the checkpoint. A run that was stopped goes on where its state was saved."""
    run = Run(config, config.phases, on_step)
    sizes = config.network_sizes
    size = sizes.autoencoder.image_size
    pictures = open_faces(config, size, config.phases[-1].degradation, run.engine)
    run.note_faces(pictures.facts())
    probe = pictures.probe

    stage1 = FrozenStage1(config.stage1, sizes, probe["hq"], config.min_psnr, run.device)
    net, run.kept = run.place(CodeFormer(sizes)), stage1.kept
    if config.init is not None:
        given = load_checkpoint(config.init)
        take_weights(net, sizes, given, config.init)
        run.kept |= given.kept
    stage1.start(net, encoder=config.init is None)
    freeze(net.fusion)
    code_losses = CodeLosses(config.codes, stage1)
    lpips = LPIPS("alex").to(run.device)
    average, optimizer = EMA(net, config.ema), make_optimizer(net, config.optim)
    state: dict[str, Stateful] = {"net": net, "ema": average, "optimizer": optimizer}
    done = run.resume(state, stage1=stage1.sha256)
    if done == 0:
        start = stage1.start_metrics(probe["hq"])
        run.log(0, start)
        run.warn(0, run.health.look(0, start))
    cache = CodeCache(run.folder, pictures.faces, size, stage1, run.engine) if config.cache_codes else None

    def batches(phase: Stage2Phase, first_sample: int, steps: int) -> Iterator[Batch]:
        return pictures.batches(size, phase.batch, phase.degradation, first_sample, steps)

    for step, _, batch in run.steps_left(config.phases, done, batches):
        total = Tally()
        for part in parts(batch, config.accumulate):
            with run.autocast():
                if cache is None:
                    codes, vectors = stage1.targets(part["hq"])
                else:
                    codes, vectors = cache.targets(part["face"], part["mirrored"])
                loss, metrics = code_losses(net.encode(part["lq"]), codes, vectors)
            (loss / config.accumulate).backward()
            total.add(metrics)
        norm = run.update(optimizer, config.optim, step)
        average.update(net)

        step += 1
        run.after_step(step, batch, {**total.means(), "gradient": norm})
        if run.due(step, config.preview_every):
            validate(average.averaged(net), stage1, probe, (0.0,), lpips, run, step)
        if run.due(step, config.save_every):
            weights = average.averaged(net).state_dict()
            run.save(step, state, weights, data=pictures.faces.digest, stage1=stage1.sha256)
    return run.product

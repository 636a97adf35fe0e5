"""Stage II: predict the HQ code sequence from a degraded face (paper section 3.2).

Trained: encoder and transformer. Frozen: codebook and decoder. Losses: token cross-entropy and feature L2.
"""

from __future__ import annotations

from pathlib import Path

from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into, save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.perceptual.lpips import LPIPS
from facemend.training.code_cache import CodeCache
from facemend.training.config import Stage2Config
from facemend.training.ema import EMA
from facemend.training.optimizers import make_optimizer
from facemend.training.pictures import open_faces, parts
from facemend.training.prediction import CodeLosses, averaged, validate
from facemend.training.run import OnStep, Run, Stateful, Tally, freeze
from facemend.training.schedule import faces_seen, remaining
from facemend.training.teacher import Teacher


def train(config: Stage2Config, on_step: OnStep | None = None) -> Path:
    """Train stage II; returns the checkpoint. A run that was stopped goes on where its state was saved."""
    run = Run(config, config.phases, on_step)
    sizes = config.network_sizes
    size = sizes.autoencoder.image_size

    pictures = open_faces(config, size, config.phases[-1].degradation, run.engine)
    run.note("data.json", pictures.facts())
    probe = pictures.probe

    teacher = Teacher(config.stage1, sizes, probe["hq"], config.min_psnr, run.device)
    net = run.place(CodeFormer(sizes))
    if config.init is not None:
        load_into(net, load_checkpoint(config.init).state, config.init)
    teacher.start(net, encoder=config.init is None)
    freeze(net.fusion)
    code_losses = CodeLosses(config.codes, teacher)
    lpips = LPIPS("alex").to(run.device)
    average = EMA(net, config.ema)
    optimizer = make_optimizer(net, config.optim)
    state: dict[str, Stateful] = {"net": net, "ema": average, "optimizer": optimizer}
    step = run.resume(state)
    if step == 0:
        start = teacher.start_figures(probe["hq"])
        run.log(0, start)
        run.warn(0, run.health.look(0, start))
    cache = CodeCache(run.folder, pictures.faces, size, teacher, run.engine) if config.cache_codes else None

    for phase, first_sample, phase_steps in remaining(config.phases, step):
        for batch in pictures.batches(size, phase.batch, phase.degradation, first_sample, phase_steps):
            total = Tally()
            for part in parts(batch, config.accumulate):
                with run.autocast():
                    if cache is None:
                        codes, vectors = teacher.targets(part["hq"])
                    else:
                        codes, vectors = cache.targets(part["face"], part["mirrored"])
                    loss, figures = code_losses(net.encode(part["lq"]), codes, vectors)
                (loss / config.accumulate).backward()
                total.add(figures)
            norm = run.update(optimizer, config.optim, step)
            average.update(net)
            step += 1

            run.after_step(step, batch, {**total.means(), "gradient": norm})
            if run.due(step, config.preview_every):
                validate(averaged(net, average), teacher, probe, (0.0,), lpips, run, step)
            if run.due(step, config.save_every):
                info = {
                    "stage": "stage2",
                    "step": step,
                    "faces": faces_seen(config.phases, step),
                    "data": pictures.faces.digest,
                    "stage1": teacher.sha256,
                }
                save_checkpoint(
                    run.folder / "model.safetensors", averaged(net, average).state_dict(), sizes, info
                )
                # After the product: a run that is stopped between the two does the step again.
                run.save_state(step, state)
            if run.over(step):
                return run.folder / "model.safetensors"
    return run.folder / "model.safetensors"

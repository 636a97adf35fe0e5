"""Stage II: predict the HQ code sequence from a degraded face (paper section 3.2).

Trained: encoder and transformer. Frozen: codebook and decoder. Losses: token cross-entropy and feature L2.
"""

from __future__ import annotations

from pathlib import Path

from facemend.models.checkpoint import save_checkpoint
from facemend.models.codeformer import CodeFormer
from facemend.models.config import preset
from facemend.models.perceptual import LPIPS
from facemend.training.config import Stage2Config
from facemend.training.ema import EMA
from facemend.training.pictures import open_faces
from facemend.training.prediction import averaged, prediction_losses, validate
from facemend.training.run import OnStep, Run, Stateful, adam, due, freeze, step_optimizer
from facemend.training.schedule import faces_seen, remaining
from facemend.training.teacher import Teacher, target_entropy


def train(config: Stage2Config, on_step: OnStep | None = None) -> Path:
    """Train stage II; returns the checkpoint. A run that was stopped goes on where its state was saved."""
    run = Run(config, config.phases, on_step)
    sizes = preset(config.network)
    size = sizes.autoencoder.image_size

    pictures = open_faces(config, size, config.phases[-1].degradation, run.device)
    probe = pictures.probe

    teacher = Teacher(config.stage1, sizes, probe["hq"], config.min_psnr, run.device)
    net = CodeFormer(sizes).to(run.device)
    teacher.start(net)
    freeze(net.fusion)
    lpips = LPIPS("alex").to(run.device)
    average = EMA(net, config.ema)
    optimizer = adam(net, config.optim)
    parts: dict[str, Stateful] = {"net": net, "ema": average, "optimizer": optimizer}
    step = run.resume(parts)
    if step == 0:
        codes, _ = teacher.targets(probe["hq"])
        entropy = target_entropy(codes, sizes.autoencoder.codebook_size)
        run.log(0, {"stage1_psnr": teacher.psnr, "target_entropy": entropy})

    for phase, first_sample, phase_steps in remaining(config.phases, step):
        for batch in pictures.batches(size, phase.batch, phase.degradation, first_sample, phase_steps):
            hq, lq = batch["hq"], batch["lq"]
            with run.autocast():
                codes, vectors = teacher.targets(hq)
                loss, figures = prediction_losses(net.encode(lq), codes, vectors, config.codes)
            loss.backward()
            norm = step_optimizer(optimizer, config.optim, config.optim.lr, step, run.steps)
            average.update(net)
            step += 1

            run.after_step(step, len(hq), {**figures, "gradient": norm})
            if due(step, config.preview_every, run.steps):
                validate(averaged(net, average), teacher, probe, (0.0,), lpips, run, step)
            if due(step, config.save_every, run.steps):
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
                run.save_state(step, parts)
    return run.folder / "model.safetensors"

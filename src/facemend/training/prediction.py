"""Code prediction: the step and the figures that stages II and III share."""

from __future__ import annotations

import torch
from torch import Tensor

from facemend.losses.codes import code_accuracy, feature_loss, token_loss
from facemend.models.codeformer import CodeFormer, Encoded
from facemend.models.perceptual import LPIPS
from facemend.training.ema import EMA
from facemend.training.run import Run
from facemend.training.settings import CodeLossConfig
from facemend.training.teacher import Teacher
from facemend.training.validate import BATCH, compare, save_grid


def prediction_losses(
    encoded: Encoded, codes: Tensor, vectors: Tensor, weights: CodeLossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum with gradient, and the detached losses and accuracies by name."""
    feature, token = feature_loss(encoded.z, vectors), token_loss(encoded.logits, codes)
    accuracy = code_accuracy(encoded.logits.detach(), codes)
    figures = {
        "feature": feature.detach(),
        "token": token.detach(),
        "top1": torch.tensor(accuracy.top1),
        "top5": torch.tensor(accuracy.top5),
    }
    return weights.feature * feature + weights.token * token, figures


def averaged(net: CodeFormer, average: EMA) -> CodeFormer:
    """The network with its averaged weights, for figures and for the product."""
    copy = CodeFormer(net.config).to(next(net.parameters()).device)
    copy.load_state_dict(net.state_dict())
    average.copy_to(copy)
    return copy.eval()


@torch.no_grad()
def validate(
    net: CodeFormer,
    teacher: Teacher,
    probe: dict[str, Tensor],
    ws: tuple[float, ...],
    lpips: LPIPS,
    run: Run,
    step: int,
) -> None:
    """Held-out figures at several w, and a preview: LQ, restored at each w, HQ."""
    lq, hq = probe["lq"], probe["hq"]
    restored: dict[float, list[Tensor]] = {w: [] for w in ws}
    token, top1 = [], []
    for lq_part, hq_part in zip(lq.split(BATCH), hq.split(BATCH), strict=True):
        codes, _ = teacher.targets(hq_part)
        encoded = net.encode(lq_part)
        token.append(token_loss(encoded.logits, codes))
        top1.append(code_accuracy(encoded.logits, codes).top1)
        for w in ws:
            image = net.decode(
                encoded.codes, encoded.features, torch.full((len(lq_part),), w, device=lq.device)
            )
            restored[w].append(image.float())
    figures = {"token": torch.stack(token).mean().item(), "top1": sum(top1) / len(top1)}
    figures |= {f"{name}_lq": value for name, value in compare(lq, hq, lpips).items()}
    for w, parts in restored.items():
        figures |= {f"{name}_w{w:g}": value for name, value in compare(torch.cat(parts), hq, lpips).items()}
    run.log(step, {f"held_out/{name}": value for name, value in figures.items()})
    columns = [lq, *(torch.cat(parts) for parts in restored.values()), hq]
    save_grid(run.folder / f"previews/step_{step:06d}.png", columns)

"""Code prediction: the step and the metrics that stages II and III share."""

from __future__ import annotations

import torch
from torch import Tensor

from facemend.networks.codeformer.codeformer import CodeFormer, Encoded
from facemend.networks.perceptual.lpips import LPIPS
from facemend.training.code_losses import code_accuracy, feature_loss, soft_targets, token_loss
from facemend.training.frozen_stage1 import FrozenStage1
from facemend.training.run import Run
from facemend.training.settings import CodeLossConfig
from facemend.training.tally import Tally
from facemend.training.validate import BATCH, by_scale, compare, save_grid


class CodeLosses:
    """Feature and token loss. Each scale counts the same, whatever its tokens: all cover the face once.

    Args:
        weights: of the two, and how soft the targets are.
        stage1: whose codes are to be predicted.
    """

    def __init__(self, weights: CodeLossConfig, stage1: FrozenStage1) -> None:
        self.weights = weights
        self.stage1 = stage1
        book = stage1.net.codebook
        self.soft: Tensor | None = None
        if weights.soft:
            self.soft = torch.cat(
                [soft_targets(table, weights.soft) for table in book.vectors.split(book.size)]
            )

    def __call__(
        self, encoded: Encoded, codes: Tensor, vectors: dict[int, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum with gradient, and the detached losses and accuracies by name.

        Args:
            encoded: of the LQ faces.
            codes: true codes (B, T), as `FrozenStage1.targets` gives them.
            vectors: what the latents should be, likewise.
        """
        sizes = self.stage1.sizes
        latents = {sizes.code_grid: encoded.z, **encoded.fine}
        features = by_scale("feature", [feature_loss(latents[s], vectors[s]) for s in latents], list(latents))
        losses = token_losses(self.stage1, encoded.logits, codes, self.soft)
        tokens = by_scale("token", losses, sizes.grids)
        loss = self.weights.feature * features["feature"] + self.weights.token * tokens["token"]
        metrics = {name: value.detach() for name, value in (features | tokens).items()}
        for name, right in zip(("top1", "top5"), accuracies(self.stage1, encoded.logits, codes), strict=True):
            metrics |= by_scale(name, [torch.tensor(own) for own in right], sizes.grids)
        return loss, metrics


def token_losses(
    stage1: FrozenStage1, logits: Tensor, codes: Tensor, soft: Tensor | None = None
) -> list[Tensor]:
    """Token loss of each scale, for logits (B, T, K) and true codes (B, T); see `token_loss`."""
    book = stage1.net.codebook
    return [
        token_loss(said, true if soft is None else book.rows(true, scale), soft)
        for scale, (said, true) in enumerate(
            zip(stage1.by_scale(logits), stage1.by_scale(codes), strict=True)
        )
    ]


def accuracies(stage1: FrozenStage1, logits: Tensor, codes: Tensor) -> tuple[list[float], list[float]]:
    """Share of each scale's codes that is predicted exactly, and among the first five."""
    pairs = zip(stage1.by_scale(logits.detach()), stage1.by_scale(codes), strict=True)
    first, five = zip(*(code_accuracy(*pair) for pair in pairs), strict=True)
    return list(first), list(five)


@torch.no_grad()
def validate(
    net: CodeFormer,
    stage1: FrozenStage1,
    probe: dict[str, Tensor],
    ws: tuple[float, ...],
    lpips: LPIPS,
    run: Run,
    step: int,
) -> None:
    """Held-out metrics at several w, and a preview: LQ, restored at each w, HQ."""
    lq, hq = probe["lq"], probe["hq"]
    restored: dict[float, list[Tensor]] = {w: [] for w in ws}
    guesses = Tally()
    for lq_part, hq_part in zip(lq.split(BATCH), hq.split(BATCH), strict=True):
        codes, _ = stage1.targets(hq_part)
        encoded = net.encode(lq_part)
        sides = stage1.sizes.grids
        guesses.add(by_scale("token", token_losses(stage1, encoded.logits, codes), sides), len(lq_part))
        guesses.add(by_scale("top1", accuracies(stage1, encoded.logits, codes)[0], sides), len(lq_part))
        for w in ws:
            image = net.decode(
                encoded.codes, encoded.features, torch.full((len(lq_part),), w, device=lq.device)
            )
            restored[w].append(image.float())
    metrics = {name: value.item() for name, value in guesses.means().items()}
    metrics |= {f"{name}_lq": value for name, value in compare(lq, hq, lpips).items()}
    for w, parts in restored.items():
        metrics |= {f"{name}_w{w:g}": value for name, value in compare(torch.cat(parts), hq, lpips).items()}
    run.log(step, {f"held_out/{name}": value for name, value in metrics.items()})
    columns = [lq, *(torch.cat(parts) for parts in restored.values()), hq]
    save_grid(run.folder / f"previews/step_{step:06d}.png", columns)

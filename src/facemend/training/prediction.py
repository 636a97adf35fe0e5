"""Code prediction: the step and the figures that stages II and III share."""

from __future__ import annotations

import torch
from torch import Tensor

from facemend.networks.codeformer.codeformer import CodeFormer, Encoded
from facemend.networks.perceptual.lpips import LPIPS
from facemend.training.code_losses import CodeAccuracy, code_accuracy, feature_loss, soft_targets, token_loss
from facemend.training.ema import EMA
from facemend.training.run import Run, Tally
from facemend.training.settings import CodeLossConfig
from facemend.training.teacher import Teacher
from facemend.training.validate import BATCH, by_scale, compare, save_grid


class CodeLosses:
    """Feature and token loss. Each scale counts the same, whatever its tokens: all cover the face once.

    Args:
        weights: of the two, and how soft the targets are.
        teacher: whose codes are to be predicted.
    """

    def __init__(self, weights: CodeLossConfig, teacher: Teacher) -> None:
        self.weights = weights
        self.teacher = teacher
        book = teacher.net.codebook
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
            codes: true codes (B, T), as `Teacher.targets` gives them.
            vectors: what the latents should be, likewise.
        """
        sizes = self.teacher.sizes
        latents = {sizes.code_grid: encoded.z, **encoded.fine}
        features = by_scale("feature", [feature_loss(latents[s], vectors[s]) for s in latents], list(latents))
        losses = token_losses(self.teacher, encoded.logits, codes, self.soft)
        tokens = by_scale("token", losses, sizes.grids)
        loss = self.weights.feature * features["feature"] + self.weights.token * tokens["token"]
        figures = {name: value.detach() for name, value in (features | tokens).items()}
        right = accuracies(self.teacher, encoded.logits.detach(), codes)
        figures |= by_scale("top1", [torch.tensor(own.top1) for own in right], sizes.grids)
        figures |= by_scale("top5", [torch.tensor(own.top5) for own in right], sizes.grids)
        return loss, figures


def token_losses(teacher: Teacher, logits: Tensor, codes: Tensor, soft: Tensor | None = None) -> list[Tensor]:
    """Token loss of each scale, for logits (B, T, K) and true codes (B, T); see `token_loss`."""
    book = teacher.net.codebook
    return [
        token_loss(said, true if soft is None else book.rows(true, scale), soft)
        for scale, (said, true) in enumerate(
            zip(teacher.by_scale(logits), teacher.by_scale(codes), strict=True)
        )
    ]


def accuracies(teacher: Teacher, logits: Tensor, codes: Tensor) -> list[CodeAccuracy]:
    """How many codes of each scale are predicted."""
    pairs = zip(teacher.by_scale(logits), teacher.by_scale(codes), strict=True)
    return [code_accuracy(*pair) for pair in pairs]


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
    guesses = Tally()
    for lq_part, hq_part in zip(lq.split(BATCH), hq.split(BATCH), strict=True):
        codes, _ = teacher.targets(hq_part)
        encoded = net.encode(lq_part)
        sides = teacher.sizes.grids
        guesses.add(by_scale("token", token_losses(teacher, encoded.logits, codes), sides))
        guesses.add(by_scale("top1", [own.top1 for own in accuracies(teacher, encoded.logits, codes)], sides))
        for w in ws:
            image = net.decode(
                encoded.codes, encoded.features, torch.full((len(lq_part),), w, device=lq.device)
            )
            restored[w].append(image.float())
    figures = {name: value.item() for name, value in guesses.means().items()}
    figures |= {f"{name}_lq": value for name, value in compare(lq, hq, lpips).items()}
    for w, parts in restored.items():
        figures |= {f"{name}_w{w:g}": value for name, value in compare(torch.cat(parts), hq, lpips).items()}
    run.log(step, {f"held_out/{name}": value for name, value in figures.items()})
    columns = [lq, *(torch.cat(parts) for parts in restored.values()), hq]
    save_grid(run.folder / f"previews/step_{step:06d}.png", columns)

"""The discriminators' side of an adversarial step, shared by stages I and III."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facemend.errors import WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into
from facemend.networks.discriminators.patch import PatchDiscriminator
from facemend.networks.discriminators.projected import ProjectedDiscriminator
from facemend.training.adversarial_loss import (
    NEAR_CHANCE,
    adaptive_weight,
    generator_loss,
    gradient_penalty,
    hinge_discriminator_loss,
)
from facemend.training.differentiable_augment import Augmentation, augment, draw_augmentation
from facemend.training.optimizers import make_optimizer
from facemend.training.run import Run, Stateful
from facemend.training.settings import AdversaryConfig, OptimConfig, metric_suffixes
from facemend.training.views import Look, draw_look

logger = logging.getLogger(__name__)

# Weight of the past in the running hinge loss: it follows the last fifty steps or so.
MEMORY = 0.98

Metrics = dict[str, Tensor]


@dataclass(frozen=True)
class Judged:
    """Faces of this process's batch that are judged.

    Attributes:
        rows: which.
        part: how many of the batch.
        share: how many against the mean of all processes; makes a mean over processes one over faces.
    """

    rows: slice | Tensor
    part: float = 1.0
    share: float = 1.0


class Adversaries:
    """All discriminators of a run with their optimisers.

    Metrics are `gan`, `lambda`, `d_loss`, `d_gradient`, `real`, `fake` (and `gate`, `penalty` where they are
    asked for), with `_NAME` behind them if there are several discriminators.
    """

    def __init__(self, configs: Sequence[AdversaryConfig], run: Run) -> None:
        self.run = run
        self.members = [
            Adversary(config, suffix, run, run.config.seed * 1009 + index)
            for index, (config, suffix) in enumerate(zip(configs, metric_suffixes(configs), strict=True))
        ]

    def parts(self) -> dict[str, Stateful]:
        """What a run saves and restores, by name."""
        parts: dict[str, Stateful] = {}
        for member in self.members:
            parts[f"discriminator{member.suffix}"] = member.net
            parts[f"discriminator_optimizer{member.suffix}"] = member.optimizer
            # Only where it changes what is done: the state of older runs lacks it.
            if member.config.gate or member.config.warmup:
                parts[f"discriminator_progress{member.suffix}"] = member.progress
        return parts

    @property
    def names(self) -> list[str]:
        """Names of the discriminators."""
        return [member.config.name for member in self.members]

    def state_dict(self) -> dict[str, Tensor]:
        """Weights of all nets, each name led by that of its discriminator."""
        return {
            f"{member.config.name}.{key}": value
            for member in self.members
            for key, value in member.net.state_dict().items()
        }

    def load(self, path: Path) -> None:
        """Take up the discriminators that a stage I run saved, by name; the others start fresh.

        Raises:
            WeightsError: the file is damaged, holds none of them, or one of other sizes.
        """
        checkpoint = load_checkpoint(path)
        held = checkpoint.info.get("adversaries")
        found: list[str] = []
        for member in self.members:
            name = member.config.name
            if held is None:  # from when there was one, of kind patch
                state = {} if found or member.config.kind != "patch" else checkpoint.state
            else:
                start = f"{name}."
                state = {k.removeprefix(start): v for k, v in checkpoint.state.items() if k.startswith(start)}
            if state:
                load_into(member.net, state, f"{path} ({name})")
                found.append(name)
        if not found:
            holds = "a patch discriminator" if held is None else ", ".join(map(str, held))
            raise WeightsError(f"{path}: holds {holds}, and the config names {', '.join(self.names)}")
        if fresh := [name for name in self.names if name not in found]:
            logger.info("%s: not in %s, it starts fresh", ", ".join(fresh), path)

    def gradient(
        self,
        image: Tensor,
        last_layer: Tensor,
        reconstruction: Tensor,
        generator: torch.Generator,
        fine: Tensor | None = None,
    ) -> tuple[Tensor, Metrics]:
        """The generator's adversarial gradient at the picture, each one's weighted, summed; and the metrics.

        Args:
            image: (B, 3, S, S) network output with its graph.
            last_layer: last trained convolution weight before the picture, for the adaptive weights.
            reconstruction: gradient of the image losses at `image`.
            generator: draws windows and augmentations (CPU); the same in all processes.
            fine: (B,) bool, the faces that are judged; the others get no gradient. By default all.
        """
        total, metrics = torch.zeros_like(image), Metrics()
        judged = self._judged(len(image), fine)
        if judged is None:
            return total, metrics
        if fine is not None:
            # Balanced over the same faces, so that fewer of them do not weigh more.
            reconstruction = reconstruction * fine.to(reconstruction)[:, None, None, None]
        for member in self.members:
            gradient, found = member.gradient(image, last_layer, reconstruction, generator, judged)
            if gradient is not None:
                total = total + gradient
            metrics |= {name + member.suffix: value for name, value in found.items()}
        return total, metrics

    def train(
        self, real: Tensor, fake: Tensor, generator: torch.Generator, fine: Tensor | None = None
    ) -> Metrics:
        """One step of each discriminator on (B, 3, S, S) pictures in [-1, 1]; returns losses and margins.

        Without a face that is `fine`, in any process, there is no step and there are no metrics.
        """
        metrics = Metrics()
        judged = self._judged(len(real), fine)
        if judged is None:
            return metrics
        for member in self.members:
            found = member.train(real, fake.detach(), generator, judged)
            metrics |= {name + member.suffix: value for name, value in found.items()}
        return metrics

    def _judged(self, batch: int, fine: Tensor | None) -> Judged | None:
        if fine is None:
            return Judged(slice(None))
        count = fine.sum().float().to(self.run.device)
        mean = float(self.run.engine.mean(count))
        if not mean:
            return None
        rows = fine.nonzero().flatten()
        return Judged(rows.to(self.run.device), len(rows) / batch, len(rows) / mean)


class Progress:
    """How far a discriminator has come: what its warm-up and its gate go by."""

    def __init__(self) -> None:
        self.steps = 0
        self.hinge = 2.0  # chance

    def state_dict(self) -> dict[str, Any]:
        """Steps of its own, and its running hinge loss."""
        return {"steps": self.steps, "hinge": self.hinge}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.steps, self.hinge = int(state["steps"]), float(state["hinge"])


class Adversary:
    """One discriminator and its optimiser; `Adversaries` says what its methods take."""

    def __init__(self, config: AdversaryConfig, suffix: str, run: Run, seed: int) -> None:
        self.config = config
        self.suffix = suffix
        self.run = run
        self.net: nn.Module = run.place(_net(config, seed))
        self.optimizer = _optimizer(self.net, config)
        self.progress = Progress()

    def gradient(
        self,
        image: Tensor,
        last_layer: Tensor,
        reconstruction: Tensor,
        generator: torch.Generator,
        judged: Judged,
    ) -> tuple[Tensor | None, Metrics]:
        """Its weighted gradient at the picture, none while its gate is closed; and metrics."""
        metrics = Metrics()
        if self.config.gate:
            metrics["gate"] = torch.tensor(float(self.progress.hinge <= NEAR_CHANCE))
            if not metrics["gate"]:
                return None, metrics
        looks = self._looks(image, generator, judged)
        # Through a leaf, so that the discriminator's own parameters get no gradient.
        leaf = image.detach().requires_grad_()
        loss, gradient = leaf.new_zeros(()), torch.zeros_like(leaf)
        if judged.part:
            loss = torch.stack([generator_loss(x) for x in self._answers(leaf[judged.rows], looks)]).mean()
            gradient = torch.autograd.grad(loss, leaf)[0] * judged.part
        weight = adaptive_weight(
            image, last_layer, reconstruction, gradient, self.config.limit, self.run.engine.mean
        )
        metrics |= {"gan": loss.detach() * judged.share, "lambda": weight}
        return self.config.weight * weight * gradient, metrics

    def train(self, real: Tensor, fake: Tensor, generator: torch.Generator, judged: Judged) -> Metrics:
        """One step."""
        looks = self._looks(real, generator, judged)
        if judged.part:
            metrics = self._backward(real[judged.rows], fake[judged.rows], looks, judged.share)
        else:
            # Another process has faces: this one takes part in the mean.
            metrics = dict.fromkeys(self._metric_names, torch.zeros((), device=real.device))
            for parameter in self.net.parameters():
                parameter.grad = torch.zeros_like(parameter)
        rate = self.config.lr
        if self.progress.steps < self.config.warmup:
            rate *= (self.progress.steps + 1) / self.config.warmup
        norm = self.run.update(self.optimizer, OptimConfig(), 0, rate)
        metrics["d_gradient"] = torch.tensor(norm)  # not finite, it ends the run before a state is saved
        self.progress.steps += 1
        if self.config.gate:
            hinge = float(self.run.engine.mean(metrics["d_loss"]))
            self.progress.hinge = MEMORY * self.progress.hinge + (1 - MEMORY) * hinge
        return metrics

    @property
    def _metric_names(self) -> tuple[str, ...]:
        return ("d_loss", "real", "fake", *(("penalty",) if self.config.penalty else ()))

    def _backward(
        self, real: Tensor, fake: Tensor, looks: Sequence[tuple[Look, Augmentation | None]], share: float
    ) -> Metrics:
        """Gradients of the hinge loss, and metrics."""
        if self.config.penalty:
            real = real.detach().requires_grad_()
        with self.run.autocast():
            logits_real, logits_fake = self._answers(real, looks), self._answers(fake, looks)
        pairs = zip(logits_real, logits_fake, strict=True)
        hinge = torch.stack([hinge_discriminator_loss(*pair) for pair in pairs]).mean()
        margins = [torch.stack([x.detach().mean() for x in logits]) for logits in (logits_real, logits_fake)]
        found = [hinge, *(margin.mean() for margin in margins)]
        loss = hinge
        if self.config.penalty:
            penalty = torch.stack([gradient_penalty(logits, real) for logits in logits_real]).mean()
            found.append(penalty)
            loss = loss + self.config.penalty * penalty
        (loss * share).backward()
        values = (value.detach() * share for value in found)
        return dict(zip(self._metric_names, values, strict=True))

    def _looks(
        self, image: Tensor, generator: torch.Generator, judged: Judged
    ) -> list[tuple[Look, Augmentation | None]]:
        """Where to look in this step, and what is done to each judged picture there."""
        views, wanted = self.config.views, self.config.views_per_step
        if 0 < wanted < len(views):
            views = tuple(views[i] for i in torch.randperm(len(views), generator=generator)[:wanted].tolist())
        looks: list[tuple[Look, Augmentation | None]] = []
        for view in views:
            look = draw_look(view, image.shape[2:], generator)
            plan = None
            if self.config.kind == "projected":
                # For the faces of all processes, so that two are one with the double batch.
                engine, batch = self.run.engine, len(image)
                everyone = draw_augmentation(batch * engine.processes, generator)
                own = everyone.rows(slice(engine.rank * batch, (engine.rank + 1) * batch))
                rows = judged.rows
                plan = own.rows(rows.cpu() if isinstance(rows, Tensor) else rows)
            looks.append((look, plan))
        return looks

    def _answers(self, image: Tensor, looks: Sequence[tuple[Look, Augmentation | None]]) -> list[Tensor]:
        """Logits of every look and head, float32."""
        found: list[Tensor] = []
        for look, plan in looks:
            seen = look(image)
            if plan is not None:
                seen = augment(seen.float(), plan)
            logits = self.net(seen)
            found += [x.float() for x in ([logits] if isinstance(logits, Tensor) else logits)]
        return found


def _net(config: AdversaryConfig, seed: int) -> nn.Module:
    if config.kind == "projected":
        return ProjectedDiscriminator(torch.Generator().manual_seed(seed))
    return PatchDiscriminator(config.width, config.layers, config.norm)


def _optimizer(net: nn.Module, config: AdversaryConfig) -> torch.optim.Optimizer:
    """The one place where a discriminator's optimiser is made."""
    return make_optimizer(net, OptimConfig(kind=config.optimizer, lr=config.lr, betas=(0.5, 0.99)))

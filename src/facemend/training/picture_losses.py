"""What a drawn picture is judged by in stages I and III: image losses, discriminators, spikes behind it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from facemend.training.adversary import Adversaries
from facemend.training.config import Stage1Config, Stage3Config
from facemend.training.image_losses import ImageLosses
from facemend.training.run import Run
from facemend.training.spikes import Spikes


class Backward:
    """What goes back through the networks together: losses, and pictures whose gradient is known already."""

    def __init__(self) -> None:
        self.metrics: dict[str, Tensor] = {}
        self._tensors: list[Tensor] = []
        self._gradients: list[Tensor] = []

    def add(self, tensor: Tensor, metrics: Mapping[str, Tensor], gradient: Tensor | None = None) -> None:
        """Take in a loss, or a picture with the gradient of its losses; `metrics` are detached."""
        self.metrics |= metrics
        self._tensors.append(tensor)
        self._gradients.append(torch.ones_like(tensor) if gradient is None else gradient)

    def run(self, parts: int) -> None:
        """One backward pass, by the share of one of so many parts of a step."""
        torch.autograd.backward(self._tensors, [gradient / parts for gradient in self._gradients])


class PictureLosses:
    """The losses of a run's pictures.

    Args:
        config: of stage I or III.
        run: the run.
        decoder: what draws the pictures.
        last_layer: where the discriminators' adaptive weights are measured: the last trained layer before
            the picture.
    """

    def __init__(
        self, config: Stage1Config | Stage3Config, run: Run, decoder: nn.Module, last_layer: Tensor
    ) -> None:
        identity = config.identity_weight if isinstance(config, Stage3Config) else 0.0
        self.adversary = Adversaries(config.adversary, run)
        self._losses = ImageLosses(config.pixel_weight, config.perceptual, identity, config.eye_weight).to(
            run.device
        )
        self._spikes = Spikes(decoder, config.spike_weight)
        self._last_layer = last_layer

    def add_to(
        self,
        back: Backward,
        image: Tensor,
        target: Tensor,
        generator: torch.Generator,
        fine: Tensor | None,
        adversary: bool,
        pixel_scale: Tensor | None = None,
    ) -> None:
        """Compare (B, 3, S, S) in [-1, 1] with its graph to the target; see `ImageLosses`."""
        metrics, gradient = self._losses(image, target, generator, pixel_scale, fine)
        if adversary:
            pull, found = self.adversary.gradient(image, self._last_layer, gradient, generator, fine)
            gradient = gradient + pull
            metrics |= found
        back.add(image, metrics, gradient)
        for name, loss in self._spikes.take().items():
            back.add(loss, {name: loss.detach()})

"""The patch discriminator's side of an adversarial step, shared by stages I and III."""

from __future__ import annotations

import torch
from torch import Tensor

from facemend.losses.adversarial import adaptive_weight, generator_loss, hinge_discriminator_loss
from facemend.models.discriminator import PatchDiscriminator
from facemend.training.run import Run
from facemend.training.settings import AdversaryConfig, OptimConfig


class Adversary:
    """Discriminator and its optimiser."""

    def __init__(self, config: AdversaryConfig, run: Run) -> None:
        self.config = config
        self.run = run
        self.net = run.place(PatchDiscriminator(config.width, config.layers, config.norm))
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=config.lr, betas=(0.5, 0.99), weight_decay=0
        )

    def gradient(
        self, image: Tensor, last_layer: Tensor, reconstruction: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's adversarial gradient at the picture, weighted; and its figures.

        Args:
            image: (B, 3, S, S) network output with its graph.
            last_layer: last trained convolution weight before the picture, for the adaptive weight.
            reconstruction: gradient of the image losses at `image`.
        """
        # Through a leaf, so that the discriminator's own parameters get no gradient.
        leaf = image.detach().requires_grad_()
        loss = generator_loss(self.net(leaf).float())
        (gradient,) = torch.autograd.grad(loss, leaf)
        weight = adaptive_weight(
            image, last_layer, reconstruction, gradient, self.config.limit, self.run.engine.mean
        )
        return self.config.weight * weight * gradient, {"gan": loss.detach(), "lambda": weight}

    def train(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """One step of the discriminator on (B, 3, S, S) pictures in [-1, 1]; returns loss and margins."""
        with self.run.autocast():
            logits_real, logits_fake = self.net(real).float(), self.net(fake.detach()).float()
        loss = hinge_discriminator_loss(logits_real, logits_fake)
        loss.backward()
        self.run.update(self.optimizer, OptimConfig(), 0, self.config.lr)
        return {
            "critic": loss.detach(),
            "real": logits_real.detach().mean(),
            "fake": logits_fake.detach().mean(),
        }

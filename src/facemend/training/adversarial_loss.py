"""Hinge adversarial loss and its adaptive weight."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

NEAR_CHANCE = 1.9
"""Hinge loss above which a discriminator has learned next to nothing: one that always answers 0 has 2."""


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """mean(relu(1 - D(x))) + mean(relu(1 + D(x^))) from logits of real and restored pictures."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def gradient_penalty(logits: Tensor, real: Tensor) -> Tensor:
    """Half the squared length of a patch's gradient at real pictures, on average over patches (R1).

    Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018. Gradients of the
    patches of one picture are taken for independent, so that one backward pass serves all of them.

    Args:
        logits: (B, 1, h, w) answers, attached to their graph.
        real: (B, 3, S, S) pictures that they are answers to; requires a gradient.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean() / logits[0].numel() / 2


def generator_loss(fake: Tensor) -> Tensor:
    """-mean(D(x^)) from logits of restored pictures."""
    return -fake.mean()


def adaptive_weight(
    image: Tensor,
    last_layer: Tensor,
    reconstruction: Tensor,
    adversarial: Tensor,
    limit: float = 1.0,
    average: Callable[[Tensor], Tensor] = lambda gradient: gradient,
) -> Tensor:
    """Weight that balances the adversarial loss against the reconstruction loss at the last layer.

    lambda = clamp(|d(L1 + LPIPS)/d last| / (|d GAN/d last| + 1e-4), 0, limit), detached. Both losses come as
    gradients at the picture, so only the last layer is differentiated, and nothing twice.

    Args:
        image: (B, 3, S, S) network output, still attached to its graph.
        last_layer: weight of the last trained convolution before the picture.
        reconstruction: d(L1 + LPIPS)/d image, same shape as image.
        adversarial: d GAN / d image, same shape as image.
        limit: upper bound.
        average: mean over the processes of a run, so that all of them use the same weight.
    """
    norms = []
    for gradient in (reconstruction, adversarial):
        wanted = gradient.to(image.dtype)
        (found,) = torch.autograd.grad(image, last_layer, grad_outputs=wanted, retain_graph=True)
        norms.append(average(found).norm())
    weight: Tensor = (norms[0] / (norms[1] + 1e-4)).clamp(0, limit)
    return weight.detach()

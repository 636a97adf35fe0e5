"""L1, LPIPS and identity at the picture, as figures and as one gradient.

Working with the gradient at the picture lets the adversarial balance (losses/adversarial.py) reuse it instead
of differentiating the perceptual network twice.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facemend.models.identity import IdentityNet
from facemend.models.perceptual import LPIPS
from facemend.training.config import PerceptualConfig


class ImageLosses(nn.Module):
    """Weighted L1 + LPIPS + identity (squared distance of face embeddings, aligned faces only)."""

    def __init__(
        self, pixel_weight: float, perceptual: PerceptualConfig, identity_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.identity_weight = identity_weight
        self.identity = IdentityNet() if identity_weight else None
        self.pixel_weight = pixel_weight
        self.perceptual_weight = perceptual.weight
        self.jitter = perceptual.jitter
        self.lpips = LPIPS(perceptual.net, double_normalised=perceptual.double_normalised)

    def forward(
        self, image: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Compare (B, 3, S, S) in [-1, 1]; `generator` (CPU) draws the offset of the perceptual loss.

        Returns:
            Detached losses by name, and the gradient of their weighted sum at `image`.
        """
        leaf = image.detach().float().requires_grad_()
        pixel = (leaf - target).abs().mean()
        y, x = torch.randint(self.jitter + 1, (2,), generator=generator).tolist()
        perceptual = self.lpips(leaf[..., y:, x:], target[..., y:, x:]).mean()
        total = self.pixel_weight * pixel + self.perceptual_weight * perceptual
        figures = {"l1": pixel.detach(), "lpips": perceptual.detach()}
        if self.identity is not None:
            # Small differences of long vectors: bf16 would drown them.
            with torch.autocast(leaf.device.type, enabled=False):
                with torch.no_grad():
                    wanted = self.identity.embed_aligned(target.float())
                identity = (self.identity.embed_aligned(leaf) - wanted).square().sum(1).mean()
            total = total + self.identity_weight * identity
            figures["identity"] = identity.detach().sqrt()
        (gradient,) = torch.autograd.grad(total, leaf)
        return figures, gradient.to(image.dtype)

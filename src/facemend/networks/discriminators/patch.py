"""Patch discriminator (PatchGAN) for the adversarial loss."""

from __future__ import annotations

from torch import Tensor, nn


class PatchDiscriminator(nn.Sequential):
    """Picture (B, 3, S, S) RGB in [-1, 1] -> logits (B, 1, h, w), one per overlapping patch.

    Args:
        width: channels of the first layer (64 as published).
        layers: stride-2 layers (4 as published: receptive field 142 px).
        norm: "batch" (as published) or "spectral" (spectral normalisation of the weights, no batch
            statistics: stays alive at small batches) or "none" (goes with a gradient
            penalty).
    """

    def __init__(self, width: int = 64, layers: int = 4, norm: str = "batch") -> None:
        if norm not in ("batch", "spectral", "none"):
            raise ValueError(f"norm is 'batch', 'spectral' or 'none', not '{norm}'")

        def conv(cin: int, cout: int, stride: int, bias: bool) -> nn.Module:
            layer = nn.Conv2d(cin, cout, 4, stride=stride, padding=1, bias=bias)
            return nn.utils.parametrizations.spectral_norm(layer) if norm == "spectral" else layer

        def normalised(cin: int, cout: int, stride: int) -> list[nn.Module]:
            after = [nn.BatchNorm2d(cout)] if norm == "batch" else []
            return [conv(cin, cout, stride, norm != "batch"), *after, nn.LeakyReLU(0.2)]

        parts: list[nn.Module] = [conv(3, width, 2, True), nn.LeakyReLU(0.2)]
        channels = width
        for i in range(1, layers):
            parts += normalised(channels, width * min(2**i, 8), 2)
            channels = width * min(2**i, 8)
        parts += normalised(channels, width * min(2**layers, 8), 1)
        parts.append(conv(width * min(2**layers, 8), 1, 1, True))
        super().__init__(*parts)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, 1, h, w)."""
        logits: Tensor = super().forward(image)  # type: ignore[no-untyped-call]
        return logits

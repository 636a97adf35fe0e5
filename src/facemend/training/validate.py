"""Metrics and pictures on the held-out faces, the same for every stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from facemend.data.faces import to_unit
from facemend.errors import ConfigError
from facemend.metrics import psnr
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.codebook import code_usage
from facemend.networks.perceptual.lpips import LPIPS

BATCH = 8

Number = TypeVar("Number", float, Tensor)


def in_batches(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply a network to many images a few at a time, without gradients."""
    with torch.no_grad():
        return torch.cat([function(part) for part in images.split(BATCH)])


def compare(restored: Tensor, target: Tensor, lpips: LPIPS) -> dict[str, float]:
    """PSNR and LPIPS of pictures (N, 3, S, S) in [-1, 1]."""
    restored = restored.clamp(-1, 1)
    distance = in_batches(lambda pair: lpips(*pair.chunk(2, 1)), torch.cat((restored, target), 1))
    return {
        "psnr": psnr(to_unit(restored), to_unit(target)).mean().item(),
        f"lpips_{lpips.net}": distance.mean().item(),
    }


def by_scale(name: str, values: Sequence[Number], sides: Sequence[int]) -> dict[str, Number]:
    """A metric of each scale: their mean under the name, and each with its grid side if there are several."""
    if len(values) == 1:
        return {name: values[0]}
    mean = sum(values[1:], values[0]) / len(values)
    return {name: mean, **{f"{name}_s{side}": own for side, own in zip(sides, values, strict=True)}}


def usage_by_scale(counts: Tensor, sides: Sequence[int]) -> dict[str, float]:
    """Share of codes used and their perplexity, from the counts of `Codebook.histogram`."""
    usages = [code_usage(own) for own in counts]
    return {
        **by_scale("codes_used", [usage.used for usage in usages], sides),
        **by_scale("perplexity", [usage.perplexity for usage in usages], sides),
    }


def reconstruction(net: VQAutoencoder, images: Tensor, lpips: LPIPS) -> tuple[dict[str, float], Tensor]:
    """Stage I metrics on held-out HQ faces: quality and use of the codebook; and the reconstructions."""
    pictures, counts = [], []
    with torch.no_grad():
        for part in images.split(BATCH):
            out = net(part)
            pictures.append(out.image.float())
            counts.append(net.codebook.histogram([scale.codes for scale in out.quantized.scales]))
    restored = torch.cat(pictures)
    usage = usage_by_scale(torch.stack(counts).sum(0), net.config.grids)
    return {**compare(restored, images, lpips), **usage}, restored


def require_reconstruction(net: VQAutoencoder, images: Tensor, least: float, source: Path) -> float:
    """PSNR of stage I on held-out faces, for the stages that take their target codes from it.

    Raises:
        ConfigError: it is below `least` dB: codes of an untrained network are noise, and training on them
            looks like training.
    """
    restored = in_batches(lambda part: net(part).image.float(), images)
    value = psnr(to_unit(restored), to_unit(images)).mean().item()
    if not value >= least:
        raise ConfigError(
            f"{source}: stage I reconstructs held-out faces at {value:.1f} dB only (min_psnr = {least}); "
            "train it further, or name another checkpoint"
        )
    return value


def save_grid(path: Path, columns: Sequence[Tensor], rows: int = 6) -> None:
    """Write a picture whose columns are stages of the work and whose rows are faces.

    Args:
        path: PNG file.
        columns: each (N, 3, S, S) in [-1, 1].
        rows: at most this many faces.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    units = [to_unit(column[:rows]).cpu() for column in columns]
    grid = torch.cat([torch.cat(list(unit), 1) for unit in units], 2)
    pixels = (grid.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(path)

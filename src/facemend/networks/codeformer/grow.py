"""Grow a network: a larger one that gives the same picture, enlarged, as the one it comes from.

Training the larger one then goes on where the smaller one stopped. Only the ends may differ: the side of the
picture (with the patch, so that all grids stay), and channels of levels, which may be doubled, tripled, ...
Channels are repeated side by side, so that group normalisation keeps its statistics, and whatever reads them
shares its weights among the copies. Pixels are repeated likewise: the larger network answers an enlarged
picture with the enlarged answer.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from facemend.errors import ConfigError
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import CodeFormerConfig
from facemend.networks.codeformer.diagnosis import without_head

State = dict[str, Tensor]


def grow(
    state: State, small: CodeFormerConfig, large: CodeFormerConfig, noise: float = 0.0, seed: int = 0
) -> State:
    """Weights of the larger network.

    At w = 0 its picture of a face enlarged by repetition is the smaller one's picture enlarged by repetition,
    up to rounding; at other w the same holds of its area averages (the photo's bands are interpolated anew).

    Args:
        state: weights of the smaller network by name; of a stage I network those of its autoencoder. A
            diagnosis head stays behind.
        small: its sizes.
        large: sizes to grow to.
        noise: random change of each weight of more than one dimension that was repeated, as a share of the
            standard deviation of its tensor: copies that are equal would stay equal.
        seed: of the noise.

    Returns:
        State of `CodeFormer(large)`, or of its autoencoder.

    Raises:
        ConfigError: the larger network cannot give what the smaller one does.
    """
    times = _times(small, large)
    generator = torch.Generator().manual_seed(seed)
    grown: State = {}
    whole = any(name.startswith("transformer.") for name in state)
    net = CodeFormer(large) if whole else VQAutoencoder(large.autoencoder)
    targets = net.state_dict()
    state = without_head(state, targets)
    if lost := sorted(set(state) - set(targets)):
        raise ConfigError(f"cannot grow: {lost[0]} has no place in the larger network (encoder_skips?)")
    for name, target in targets.items():
        source = state.get(name)
        if source is None:
            grown[name] = _identity(name, target)
            continue
        value = _enlarged(name, source.float(), target, small, large, times)
        if value.shape != target.shape:
            raise ConfigError(
                f"cannot grow {name} from {tuple(source.shape)} to {tuple(target.shape)}: widths grow by "
                "whole multiples, and only those of levels; all else stays"
            )
        if noise and value.ndim > 1 and value.numel() > source.numel():
            spread = noise * value.std() * torch.randn(value.shape, generator=generator)
            value = value + spread
        grown[name] = value.to(target.dtype)
    return grown


def _times(small: CodeFormerConfig, large: CodeFormerConfig) -> dict[int, int]:
    """By which factor the channels of each level grow, by grid side."""
    a, b = small.autoencoder, large.autoencoder
    pixels, rest = divmod(b.image_size, a.image_size)
    free = ("image_size", "patch", "widths", "encoder_skips")
    ends = {name: getattr(b, name) for name in free}
    same = None
    if a.sizes == b.sizes:
        between = replace(a, **ends)
        same = replace(small, autoencoder=between, bands=large.bands, diagnosis=large.diagnosis)
    if rest or b.patch != a.patch * pixels or same != large:
        raise ConfigError(
            "a network grows by its picture's side and patch (both by the same whole factor, so that all "
            "grids stay) and by the widths of its levels; these two differ in more"
        )
    if large.bands != tuple(cell * pixels for cell in small.bands):
        raise ConfigError(f"bands {large.bands}: the enlarged picture needs {pixels} x {small.bands}")
    if any(wide % narrow for narrow, wide in zip(a.widths, b.widths, strict=True)):
        raise ConfigError(f"widths {b.widths} are not whole multiples of {a.widths}")
    if b.widths[-1] != a.widths[-1]:
        raise ConfigError("the width of the coarsest level stays: codes are read from it")
    return {size: wide // narrow for size, narrow, wide in zip(a.sizes, a.widths, b.widths, strict=True)}


def _enlarged(
    name: str,
    value: Tensor,
    target: Tensor,
    small: CodeFormerConfig,
    large: CodeFormerConfig,
    times: dict[int, int],
) -> Tensor:
    pixels = large.autoencoder.patch // small.autoencoder.patch
    patch = small.autoencoder.patch
    if name == "encoder.stem.weight":
        value = _repeat_pixels(value, 1, patch, pixels) / pixels**2
    elif name in ("decoder.out.weight", "decoder.out.bias"):
        value = _repeat_pixels(value, 0, patch, pixels)
    elif name == "bands.mix.weight":
        return _grown_taps(value, small, times)
    elif name.startswith("decoder.ups.") and small.autoencoder.upsample == "shuffle":
        # A pixel shuffle reads four channels for one: repeat these fours.
        factor = target.shape[0] // value.shape[0]
        value = value.unflatten(0, (-1, 4)).repeat_interleave(factor, 0).flatten(0, 1)
    for axis in range(min(2, value.ndim)):
        factor = target.shape[axis] // value.shape[axis]
        if factor > 1:
            # What sums over copies shares its weights among them.
            value = value.repeat_interleave(factor, axis) / (factor if axis else 1)
    return value


def _repeat_pixels(value: Tensor, axis: int, patch: int, pixels: int) -> Tensor:
    """Channels (colour, row, column) of a patch -> those of a patch whose pixels are repeated."""
    cut = value.unflatten(axis, (3, patch, patch))
    cut = cut.repeat_interleave(pixels, axis + 1).repeat_interleave(pixels, axis + 2)
    repeated: Tensor = cut.flatten(axis, axis + 2)
    return repeated


def _grown_taps(value: Tensor, config: CodeFormerConfig, times: dict[int, int]) -> Tensor:
    """Weights that read the taps of all fused sizes, smallest grid first, one behind the other."""
    sizes = sorted(config.fuse_sizes)
    parts = value.split([config.autoencoder.width_at(size) for size in sizes], 1)
    return torch.cat(
        [p.repeat_interleave(times[size], 1) / times[size] for size, p in zip(sizes, parts, strict=True)], 1
    )


def _identity(name: str, target: Tensor) -> Tensor:
    """What only the larger network has: a projection on a skip, which passes everything on as it is.

    Raises:
        ConfigError: it is something else.
    """
    if ".skip." not in name:
        raise ConfigError(f"{name} has nothing to grow from: its weights are missing, or the sizes differ")
    if name.endswith(".bias"):
        return torch.zeros_like(target)
    return torch.eye(target.shape[0], dtype=target.dtype)[..., None, None]

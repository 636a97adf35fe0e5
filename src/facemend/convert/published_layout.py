"""The layout of the published CodeFormer weight files, and a reader that trusts none of them.

Tensors have the same shapes in both layouts, so converting is renaming. The published files number the layers
of encoder and decoder in one row (`encoder.blocks.N`); ours are named after what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from facemend.convert.torch_archive import check_archive
from facemend.errors import ConfigError, WeightsError, one_line
from facemend.networks.codeformer.checkpoint import network_shapes
from facemend.networks.codeformer.config import CodeFormerConfig
from facemend.weights.weight_files import weight_kind

PARTS = ("transformer", "encoder", "codebook", "decoder", "fusion")
"""Parts of the network: the first word of each of our tensor names."""

# Official name of each parametrised layer -> ours, for the composite blocks.
_RESIDUAL = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2"}
_RESIDUAL_SKIP = {**_RESIDUAL, "conv_out": "skip"}
_ATTENTION = {"norm": "norm", "q": "query", "k": "key", "v": "value", "proj_out": "out"}
_RESAMPLE = {"conv": "conv"}
_PLAIN = {"": ""}
_TRANSFORMER_LAYER = {
    "self_attn.in_proj_weight": "query_key_value.weight",
    "self_attn.in_proj_bias": "query_key_value.bias",
    "self_attn.out_proj.weight": "out.weight",
    "self_attn.out_proj.bias": "out.bias",
    **{
        f"{layer}.{kind}": f"{layer}.{kind}"
        for layer in ("linear1", "linear2", "norm1", "norm2")
        for kind in ("weight", "bias")
    },
}

# A layer of the row: our prefix, and the names inside it.
_Row = Iterator[tuple[str, dict[str, str]]]


def official_keys(config: CodeFormerConfig) -> dict[str, str]:
    """Every tensor name of the published layout and ours for it, in the order of the published files.

    Raises:
        ConfigError: the published layout cannot express these sizes (`compact-256` is no CodeFormer file).
    """
    _require_published_form(config)
    keys = {"position_emb": "transformer.positions"}
    keys |= _numbered("encoder", _encoder_row(config))
    keys["quantize.embedding.weight"] = "codebook.vectors"
    keys |= _numbered("generator", _decoder_row(config))
    keys |= {f"feat_emb.{kind}": f"transformer.embed.{kind}" for kind in ("weight", "bias")}
    for layer in range(config.layers):
        keys |= {
            f"ft_layers.{layer}.{a}": f"transformer.layers.{layer}.{b}" for a, b in _TRANSFORMER_LAYER.items()
        }
    keys |= {f"idx_pred_layer.0.{kind}": f"transformer.norm.{kind}" for kind in ("weight", "bias")}
    keys["idx_pred_layer.1.weight"] = "transformer.head.weight"
    for size in config.fuse_sizes:
        inner = {f"encode_enc.{a}": f"mix.{b}" for a, b in _RESIDUAL_SKIP.items()}
        inner |= {f"{branch}.{i}": f"{branch}.{i}" for branch in ("scale", "shift") for i in (0, 2)}
        keys |= _layers(f"fuse_convs_dict.{size}", f"fusion.{size}", inner)
    return keys


def _require_published_form(config: CodeFormerConfig) -> None:
    ae = config.autoencoder
    ours_only = {
        "patch": ae.patch != 1,
        "middle": not ae.middle,
        "upsample": ae.upsample != "nearest",
        "encoder_blocks": 0 in ae.encoder_blocks,
        "fuse_hidden": config.fuse_hidden != 1,
        "bands": bool(config.bands),
        "codes_per_position": ae.codes_per_position != 1,
        "scales": ae.grids != (ae.code_grid,),
        "attention": config.attention != "global",
    }
    if any(ours_only.values()):
        names = ", ".join(name for name, differs in ours_only.items() if differs)
        raise ConfigError(
            f"the published weight layout has no room for this network ({names}): use codeformer-512"
        )


def _layers(official: str, ours: str, inner: Mapping[str, str]) -> dict[str, str]:
    """Weight and bias of each layer of a block."""
    return {
        ".".join(filter(None, (official, a, kind))): ".".join(filter(None, (ours, b, kind)))
        for a, b in inner.items()
        for kind in ("weight", "bias")
    }


def _numbered(official: str, row: _Row) -> dict[str, str]:
    keys: dict[str, str] = {}
    for number, (ours, inner) in enumerate(row):
        keys |= _layers(f"{official}.blocks.{number}", ours, inner)
    return keys


def _encoder_row(config: CodeFormerConfig) -> _Row:
    ae = config.autoencoder
    yield "encoder.stem", _PLAIN
    channels = ae.widths[0]
    for level, (size, width, blocks) in enumerate(zip(ae.sizes, ae.widths, ae.encoder_blocks, strict=True)):
        yield from _level_row(f"encoder.levels.{level}", channels, width, blocks, size in ae.attention_sizes)
        channels = width
        if size != ae.code_grid:
            yield f"encoder.downs.{level}", _RESAMPLE
    yield from _middle_row("encoder")
    yield "encoder.norm", _PLAIN
    yield "encoder.out", _PLAIN


def _decoder_row(config: CodeFormerConfig) -> _Row:
    ae = config.autoencoder
    yield "decoder.stem", _PLAIN
    yield from _middle_row("decoder")
    channels = ae.widths[-1]
    order = list(zip(ae.sizes, ae.widths, ae.decoder_blocks, strict=True))[::-1]
    for level, (size, width, blocks) in enumerate(order):
        yield from _level_row(f"decoder.levels.{level}", channels, width, blocks, size in ae.attention_sizes)
        channels = width
        if level + 1 < len(order):
            yield f"decoder.ups.{level}", _RESAMPLE
    yield "decoder.norm", _PLAIN
    yield "decoder.out", _PLAIN


def _level_row(ours: str, channels: int, width: int, blocks: int, attention: bool) -> _Row:
    for i in range(blocks):
        yield f"{ours}.blocks.{i}", _RESIDUAL if channels == width else _RESIDUAL_SKIP
        channels = width
        if attention:
            yield f"{ours}.attentions.{i}", _ATTENTION


def _middle_row(ours: str) -> _Row:
    yield f"{ours}.middle.0", _RESIDUAL
    yield f"{ours}.middle.1", _ATTENTION
    yield f"{ours}.middle.2", _RESIDUAL


def from_official(
    state: Mapping[str, Tensor], config: CodeFormerConfig, source: Path | str = "official weights"
) -> dict[str, Tensor]:
    """Rename a published state dict to our names.

    Args:
        state: tensors under their published names.
        config: sizes that they must have.
        source: file name for messages.

    Returns:
        float32 tensors under the names of `CodeFormer`.

    Raises:
        WeightsError: a part or tensor is absent, unknown, misshapen or not finite; the first are named.
        ConfigError: the published layout cannot express these sizes.
    """
    keys = official_keys(config)
    present = {_part(ours) for official, ours in keys.items() if official in state}
    absent = [part for part in PARTS if part not in present]
    problems = [f"no {part} in it" for part in absent]
    problems += [
        f"missing {official}"
        for official, ours in keys.items()
        if official not in state and _part(ours) not in absent
    ]
    problems += [f"unexpected {name}" for name in state if name not in keys]
    shapes = network_shapes(config)
    problems += [
        f"{official} is {tuple(state[official].shape)}, the network has {shapes[ours]}"
        for official, ours in keys.items()
        if official in state and tuple(state[official].shape) != shapes[ours]
    ]
    if not problems:  # values only once the sizes are known to be harmless
        problems = [
            f"{name} holds NaN or infinite values" for name in keys if not state[name].isfinite().all()
        ]
    if problems:
        raise WeightsError(
            f"{source}: does not fit the network: {'; '.join(problems[:3])} ({len(problems)} in all)"
        )
    return {ours: state[official].float() for official, ours in keys.items()}


def _part(ours: str) -> str:
    return ours.partition(".")[0]


def read_official(path: Path) -> dict[str, Tensor]:
    """Read a weight file of the published kind without running anything in it.

    The averaged weights (`params_ema`) are taken where there are two sets, and the `module.` that parallel
    training leaves before every name is dropped.

    Args:
        path: `.pth` as torch writes it since 1.6 (a zip file), or `.safetensors`; told apart by content.

    Returns:
        Tensors by published name, on the CPU; mapped from the file where that is possible.

    Raises:
        WeightsError: the file is missing, too large, damaged, or holds anything but tensors.
    """
    kind = weight_kind(path)
    if kind == "onnx":
        raise WeightsError(f"{path}: an ONNX file, not weights to build graphs from")
    return _unwrap(_read_torch(path) if kind == "torch" else _read_safetensors(path), path)


def _read_torch(path: Path) -> Any:
    check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # a damaged pickle can raise anything, torch's own text runs over many lines
        raise WeightsError(
            f"{path}: refused: damaged, or holds more than tensors (nothing in it was run)"
        ) from None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: not a whole safetensors file ({one_line(error, 100)}); fetch it again"
        ) from None
    return state


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in ("params_ema", "params"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path}: holds no table of tensors")
    state: dict[str, Tensor] = {}
    for name, value in content.items():
        plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if not isinstance(name, str) or not plain or not value.is_floating_point():
            raise WeightsError(f"{path}: {str(name)[:80]!r} is not a plain tensor of floating-point numbers")
        state[name.removeprefix("module.")] = value.detach()
    # A tensor can claim any shape by repeating the few numbers that it has.
    claimed = sum(value.numel() * value.element_size() for value in state.values())
    if claimed > path.stat().st_size:
        raise WeightsError(f"{path}: refused: its tensors claim more numbers than the file holds")
    return state

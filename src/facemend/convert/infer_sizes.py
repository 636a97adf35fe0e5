"""Sizes of a network read from the shapes in a weight file."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from math import isqrt
from pathlib import Path

from facemend.errors import ConfigError, WeightsError
from facemend.networks.codeformer.config import AutoencoderConfig, CodeFormerConfig
from facemend.networks.codeformer.limits import check_sizes

HEADS = 8
"""Attention heads of the published network: no shape tells them."""
NORM_GROUPS = 32
"""Groups of its group normalisation: no shape tells them either."""
MAX_TENSORS = 5000

Shape = tuple[int, ...]
_Block = dict[str, Shape]

_STAGE1 = ("encoder", "quantize", "generator")
_TRANSFORMER = ("position_emb", "feat_emb", "ft_layers", "idx_pred_layer")
_FUSION = "fuse_convs_dict"


def infer_config(shapes: Mapping[str, Shape], source: Path | str) -> CodeFormerConfig:
    """Sizes of the network that a file in the published layout holds.

    What cannot be read, the heads and the groups, is taken from the published network. Whether every tensor
    fits these sizes is for `convert.from_official` to say.

    Args:
        shapes: tensor name in the published layout -> shape.
        source: file name for messages.

    Raises:
        WeightsError: it is a stage I or stage II file, another network, or has sizes beyond reason.
    """
    _require_whole(shapes, source)
    try:
        config = _read(shapes)
    except (KeyError, IndexError, ValueError, ConfigError) as error:
        detail = f" ({error})" if isinstance(error, ConfigError) else ""
        raise WeightsError(
            f"{source}: its tensors are not arranged as in a CodeFormer network{detail}; "
            "only that network can be imported"
        ) from None
    check_sizes(config, source)
    return config


def _require_whole(shapes: Mapping[str, Shape], source: Path | str) -> None:
    held = {name.partition(".")[0] for name in shapes}
    if len(shapes) > MAX_TENSORS or not held.issuperset(_STAGE1):
        raise WeightsError(
            f"{source}: not the weights of a CodeFormer network (no encoder, codebook and decoder in it); "
            "only that network can be imported"
        )
    if not held.intersection(_TRANSFORMER):
        raise WeightsError(
            f"{source}: a stage I file (autoencoder only): to restore it lacks the transformer and the "
            "fusion of stages II and III; import the whole network, such as codeformer.pth"
        )
    if _FUSION not in held:
        raise WeightsError(
            f"{source}: a stage II file: to restore with w it lacks the fusion of stage III; "
            "import the whole network, such as codeformer.pth"
        )


def _read(shapes: Mapping[str, Shape]) -> CodeFormerConfig:
    tokens, width = shapes["position_emb"]
    codes, code_dim = shapes["quantize.embedding.weight"]
    encoder = _levels(_blocks(shapes, "encoder")[1:-5])  # between the first convolution and the middle
    decoder = _levels(_blocks(shapes, "generator")[4:-2])[::-1]  # between the middle and the last norm
    if len(encoder) > 12 or len(encoder) != len(decoder) or isqrt(tokens) ** 2 != tokens:
        raise ValueError("levels")
    sizes = [isqrt(tokens) << step for step in reversed(range(len(encoder)))]
    fused = {name.split(".")[1] for name in shapes if name.startswith(f"{_FUSION}.")}
    layers = {name.split(".")[1] for name in shapes if name.startswith("ft_layers.")}
    return CodeFormerConfig(
        autoencoder=AutoencoderConfig(
            image_size=sizes[0],
            widths=tuple(_width(level) for level in encoder),
            encoder_blocks=tuple(_count(level, "conv1.weight") for level in encoder),
            decoder_blocks=tuple(_count(level, "conv1.weight") for level in decoder),
            attention_sizes=tuple(
                size for size, level in zip(sizes, encoder, strict=True) if _count(level, "q.weight")
            ),
            code_dim=code_dim,
            codebook_size=codes,
            norm_groups=NORM_GROUPS,
        ),
        width=width,
        heads=HEADS,
        layers=len(layers),
        feedforward=shapes["ft_layers.0.linear1.weight"][0],
        fuse_sizes=tuple(sorted(int(size) for size in fused)),
    )


def _blocks(shapes: Mapping[str, Shape], part: str) -> list[_Block]:
    """The numbered blocks of a part in order: for each, name inside it -> shape."""
    found: dict[str, _Block] = {}
    for name, shape in shapes.items():
        if name.startswith(f"{part}.blocks."):
            number, _, inner = name.removeprefix(f"{part}.blocks.").partition(".")
            found.setdefault(number, {})[inner] = shape
    return [found[str(number)] for number in range(len(found))]


def _levels(blocks: list[_Block]) -> list[list[_Block]]:
    """Cut at the blocks that change the grid."""
    cut = groupby(blocks, lambda block: "conv.weight" in block)
    return [list(level) for is_resample, level in cut if not is_resample]


def _width(level: list[_Block]) -> int:
    return [block["conv1.weight"] for block in level if "conv1.weight" in block][-1][0]


def _count(level: list[_Block], name: str) -> int:
    return sum(name in block for block in level)

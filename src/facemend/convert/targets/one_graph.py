"""The pair of graphs as one: a 512 px face in, the restored face out, as other programs want it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, compose, helper, numpy_helper

from facemend.convert.skip import take_apart
from facemend.errors import ConfigError
from facemend.imaging import BROAD, gaussian_blur
from facemend.predictors.restorer import IMAGE, RESTORED, W
from facemend.weights.models import ModelInfo

SIDE = 512
"""Side of the crops that these programs cut, pixels."""
INPUT, WEIGHT, OUTPUT = "input", "weight", "output"
_SECOND, _DRAWN = "decode/", "drawn"
_STEP = 8
"""Pixels whose mean is taken before the broad blur."""


def one_graph(info: ModelInfo, *, w: float | None = None) -> ModelProto:
    """One graph without branches, so that every execution provider can take the whole of it.

    The network's own side is reached inside: the crop is averaged down, the result enlarged by bicubic. Broad
    colours and light are the crop's, as in our own pipeline.

    Args:
        info: the model.
        w: fidelity weight in [0, 1] that is frozen in the graph; None: it stays an input.

    Returns:
        `input` float32 [1,3,512,512] RGB [-1, 1] (and `weight` float64 [1]) -> `output` float32 [1,3,512,512]
        RGB, about [-1, 1], not clipped.

    Raises:
        ConfigError: the model is one graph of somebody else, or its side and 512 px do not divide evenly.
    """
    model = _merged(*plain_pair(info))
    side = info.image_size
    if max(side, SIDE) % min(side, SIDE):
        raise ConfigError(
            f"{info.name}: its {side} px do not go evenly into the {SIDE} px that programs give"
        )
    graph = model.graph
    before, scales_before = _resized(INPUT, IMAGE, SIDE, side)
    after, scales_after = _resized(_SECOND + RESTORED, _DRAWN, side, SIDE)
    broad, matrices = _in_broad_colours(_DRAWN, INPUT, OUTPUT)
    nodes = [*before, *graph.node, *after, *broad]
    face = [1, 3, SIDE, SIDE]
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, face)]
    graph.initializer.extend([*scales_before, *scales_after, *matrices])
    if w is None:
        inputs.append(helper.make_tensor_value_info(WEIGHT, TensorProto.DOUBLE, [1]))
        nodes.insert(0, helper.make_node("Cast", [WEIGHT], [_SECOND + W], to=TensorProto.FLOAT))
    else:
        graph.initializer.append(numpy_helper.from_array(np.array([w], np.float32), _SECOND + W))
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(copies)
    graph.input.extend(inputs)
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, face))
    graph.name = info.name
    model.producer_name = "facemend"
    said = {"name": info.name, "licence": info.licence, "description": info.description}
    helper.set_model_props(model, said)
    onnx.checker.check_model(model)
    return model


def plain_pair(info: ModelInfo) -> tuple[ModelProto, ModelProto]:
    """The encode and the decode graph without branches; weights are stored as they were.

    Raises:
        ConfigError: the model is one graph of somebody else.
    """
    if info.io is not None:
        raise ConfigError(f"{info.name}: is one graph already; only models of a pair of graphs are exported")
    encode, decode = (onnx.load(info.graphs[name]) for name in ("encode", "decode"))
    take_apart(decode.graph)
    return encode, decode


def _merged(encode: ModelProto, decode: ModelProto) -> ModelProto:
    """The second graph behind the first; what is left open is the picture and w."""
    second = compose.add_prefix(decode, _SECOND)
    needed = [value.name for value in second.graph.input if value.name != _SECOND + W]
    io_map = [(name.removeprefix(_SECOND), name) for name in needed]
    merged: ModelProto = compose.merge_models(encode, second, io_map=io_map, outputs=[_SECOND + RESTORED])
    return merged


def _resized(name: str, result: str, old: int, new: int) -> tuple[list[NodeProto], Sequence[TensorProto]]:
    """The operator between two sides, with its constants; shrinking is the mean of each new pixel's area."""
    if new > old:
        scales = numpy_helper.from_array(
            np.array([1, 1, new / old, new / old], np.float32), f"{result}.scales"
        )
        cubic = helper.make_node(
            "Resize",
            [name, "", scales.name],
            [result],
            mode="cubic",
            coordinate_transformation_mode="half_pixel",
        )
        return [cubic], [scales]
    times = old // new
    if times == 1:
        return [helper.make_node("Identity", [name], [result])], ()
    return [
        helper.make_node("AveragePool", [name], [result], kernel_shape=[times, times], strides=[times, times])
    ], ()


def _in_broad_colours(drawn: str, photo: str, result: str) -> tuple[list[NodeProto], Sequence[TensorProto]]:
    """`match_broad_colours` of a face of 512 px: the blur is a matrix each way, on means of 8 px."""
    blocks = np.repeat(np.eye(SIDE // _STEP, dtype=np.float32), _STEP, 0)
    # What does not change across stays so when blurred: each of its columns is the blur in one direction.
    blurred = [gaussian_blur(np.tile(block[:, None], (1, SIDE)), BROAD * SIDE)[:, 0] for block in blocks.T]
    down = numpy_helper.from_array(np.stack(blurred, 1), "broad.down")
    across = numpy_helper.from_array(np.stack(blurred), "broad.across")
    limits = [numpy_helper.from_array(np.float32(limit), f"broad.{limit}") for limit in (-1, 1)]
    pool = {"kernel_shape": [_STEP, _STEP], "strides": [_STEP, _STEP]}
    nodes = [
        helper.make_node("Clip", [drawn, *(limit.name for limit in limits)], ["broad.face"]),
        helper.make_node("Sub", [photo, "broad.face"], ["broad.change"]),
        helper.make_node("AveragePool", ["broad.change"], ["broad.means"], **pool),
        helper.make_node("MatMul", [down.name, "broad.means"], ["broad.columns"]),
        helper.make_node("MatMul", ["broad.columns", across.name], ["broad.light"]),
        helper.make_node("Add", ["broad.face", "broad.light"], [result]),
    ]
    return nodes, [down, across, *limits]

"""Graphs for the way through a network: weights in 8 or 16 bits; the arithmetic stays float32.

Other than `facemend quantize` this needs no faces to calibrate on and costs next to nothing in quality: only
what is stored is rounded. The runtime widens the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

LEAST = 4096
"""Weights with fewer elements are worth no bytes."""
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


Narrow = Callable[[NDArray[np.float32], str, str], tuple[list[TensorProto], list[NodeProto]]]


def in_bytes(model: ModelProto) -> ModelProto:
    """A copy whose large weights are 8-bit numbers, with a scale for each row or column."""
    return _narrowed(model, _bytes)


def in_halves(model: ModelProto) -> ModelProto:
    """A copy whose large weights are float16."""
    return _narrowed(model, _halves)


def _narrowed(model: ModelProto, narrow: Narrow) -> ModelProto:
    copy = ModelProto.FromString(model.SerializeToString())
    for graph in _graphs(copy.graph):
        _store(graph, narrow)
    return copy


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """That graph and those of its branches."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _store(graph: GraphProto, narrow: Narrow) -> None:
    """Put narrow weights in the place of wide ones, and before all nodes what widens them."""
    widened = {
        node.input[0]: node.output[0]
        for node in graph.node
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT
    }
    weights: list[TensorProto] = []
    before: list[NodeProto] = []
    done = set()
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        half = tensor.data_type == TensorProto.FLOAT16
        large = values.ndim > 1 and values.size >= LEAST
        if not large or tensor.data_type not in _FLOATS or (half and tensor.name not in widened):
            weights.append(tensor)
            continue
        wide = widened[tensor.name] if half else tensor.name
        made, nodes = narrow(values.astype(np.float32), f"{wide}.narrow", wide)
        weights, before = weights + made, before + nodes
        done.add(wide)
    after = [node for node in graph.node if not (node.op_type == "Cast" and node.output[0] in done)]
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in (*before, *after)]
    kept = [TensorProto.FromString(tensor.SerializeToString()) for tensor in weights]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _halves(values: NDArray[np.float32], name: str, wide: str) -> tuple[list[TensorProto], list[NodeProto]]:
    tensor = numpy_helper.from_array(values.astype(np.float16), name)
    return [tensor], [helper.make_node("Cast", [name], [wide], to=TensorProto.FLOAT)]


def _bytes(values: NDArray[np.float32], name: str, wide: str) -> tuple[list[TensorProto], list[NodeProto]]:
    """Along its first or last axis, whichever rounds less."""
    made = {axis: _rounded(values, axis) for axis in (0, values.ndim - 1)}

    def error(axis: int) -> float:
        scale, rounded = made[axis]
        return float(np.square(scale * rounded - values).sum())

    axis = min(made, key=error)
    scale, rounded = made[axis]
    tensors = [
        numpy_helper.from_array(rounded, name),
        numpy_helper.from_array(scale.reshape(-1), f"{name}.scale"),
    ]
    return tensors, [helper.make_node("DequantizeLinear", [name, f"{name}.scale"], [wide], axis=axis)]


def _rounded(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Scales that broadcast, and numbers in -127..127."""
    others = tuple(k for k in range(values.ndim) if k != axis)
    largest = np.abs(values).max(axis=others, keepdims=True)
    scale = np.maximum(largest, np.finfo(np.float32).tiny).astype(np.float32) / np.float32(127)
    return scale, np.rint(values / scale).astype(np.int8)

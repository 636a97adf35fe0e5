"""Let the graphs convolve before they double the grid, not after.

A 3 x 3 convolution of a grid doubled by repetition sees each value up to twice per axis. Each of the four
results that belong to one value is therefore a 2 x 2 convolution of the coarse grid, whose weights are sums
of the 3 x 3 ones: the same result for 4/9 of the multiplications. The sums stand in the graph, over the
weights as they were trained; the runtime folds them away when it loads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

# What the two results along an axis take from the three weights: the first sees the value before and, twice,
# its own; the second its own, twice, and the value after.
_SUMS = (np.array([[1, 0, 0], [0, 1, 1]], np.float32), np.array([[1, 1, 0], [0, 0, 1]], np.float32))


def convolve_before_doubling(model: ModelProto) -> int:
    """Replace each doubling of the grid that a 3 x 3 convolution follows, in place.

    Args:
        model: a graph that `torch.onnx` wrote, with its weights.

    Returns:
        How many were replaced.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    users: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    doubled = {
        node.output[0]: node
        for node in graph.node
        if _doubles(node, constants) and [user.op_type for user in users[node.output[0]]] == ["Conv"]
    }
    nodes: list[NodeProto] = []
    count = 0
    for node in graph.node:
        before = doubled.get(node.input[0]) if node.op_type == "Conv" else None
        if before is None or not _plain(node, constants):
            nodes.append(node)
            continue
        nodes.remove(before)
        nodes.extend(_four(node, before.input[0]))
        count += 1
    if count:
        for axis, sums in enumerate(_SUMS):
            graph.initializer.append(numpy_helper.from_array(sums, _sums(axis)))
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(sums.T), _sums(axis, "T")))
    del graph.node[:]
    graph.node.extend(nodes)
    left = {name for node in nodes for name in node.input}
    for scale in {node.input[2] for node in doubled.values()} - left:
        graph.initializer.remove(constants[scale])
    return count


def _four(conv: NodeProto, coarse: str) -> Sequence[NodeProto]:
    _, weight, *bias = conv.input
    (out,) = conv.output
    nodes, parts = [], []
    for y in (0, 1):
        for x in (0, 1):
            part = f"{out}.{y}{x}"
            columns, kernel = f"{part}.columns", f"{part}.kernel"
            nodes += [
                helper.make_node("MatMul", [weight, _sums(x, "T")], [columns]),
                helper.make_node("MatMul", [_sums(y), columns], [kernel]),
                helper.make_node("Conv", [coarse, kernel, *bias], [part], pads=[1 - y, 1 - x, y, x]),
            ]
            parts.append(part)
    four = f"{out}.four"
    nodes.append(helper.make_node("Concat", parts, [four], axis=1))
    nodes.append(helper.make_node("DepthToSpace", [four], [out], blocksize=2, mode="DCR"))
    return nodes


def _sums(part: int, turned: str = "") -> str:
    return f"doubling.{part}{turned}"


def _doubles(node: NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    """Whether a node repeats each value twice along both axes."""
    said = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return (
        node.op_type == "Resize"
        and said.get("mode", b"nearest") == b"nearest"
        and said.get("coordinate_transformation_mode") == b"asymmetric"
        and said.get("nearest_mode") == b"floor"
        and len(node.input) == 3
        and _is(constants.get(node.input[2]), [1, 1, 2, 2])
    )


def _is(tensor: TensorProto | None, values: Sequence[float]) -> bool:
    return tensor is not None and numpy_helper.to_array(tensor).tolist() == values


def _plain(conv: NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    """Whether a convolution is 3 x 3 with a border of 1 and nothing special."""
    said = {item.name: helper.get_attribute_value(item) for item in conv.attribute}
    weight = constants.get(conv.input[1])
    return (
        weight is not None
        and list(weight.dims[2:]) == [3, 3]
        and said.get("pads") == [1, 1, 1, 1]
        and said.get("strides", [1, 1]) == [1, 1]
        and said.get("dilations", [1, 1]) == [1, 1]
        and said.get("group", 1) == 1
        and said.get("auto_pad", b"NOTSET") == b"NOTSET"
    )

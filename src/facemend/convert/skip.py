"""Let a decode graph skip at w = 0 what w would multiply by nothing.

CFT and the photo bands are all of the form out = base + s(w) * change. The operators that serve only such a
change move, with their weights, into the branch of an ONNX `If` on max(w) > 0: one file, no weight twice, and
at w = 0 the runtime does not run them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

W, SOME = "w", "w_above_0"


@dataclass(frozen=True)
class _Sum:
    """A sum base + s(w) * change: indices of the addition and of the product, name of the base."""

    add: int
    product: int
    base: str


def graphs(model: ModelProto) -> Iterator[GraphProto]:
    """The graph of a model, then the branches inside it."""
    yield model.graph
    for node in model.graph.node:
        yield from (item.g for item in node.attribute if item.type == AttributeProto.GRAPH)


def skip_at_zero(model: ModelProto) -> int:
    """Move what only matters at w > 0 behind an `If`, in place.

    Args:
        model: a decode graph with input "w", float32 [N], w >= 0.

    Returns:
        How many sums base + s(w) * change were found.
    """
    graph = model.graph
    nodes = list(graph.node)
    sums = _sums(graph, nodes)
    if not sums:
        return 0
    placed: list[NodeProto | None] = list(nodes)
    for found in sums:
        inside = _serving(nodes, found)
        for index in inside:
            placed[index] = None
        placed[found.add] = _choice(graph, nodes, inside, found.base)
    kept = [node for node in placed if node is not None]
    rest = _keep_initializers(graph, kept)
    zero = helper.make_tensor(f"{SOME}.zero", TensorProto.FLOAT, [], [0.0])
    test = [
        helper.make_node("ReduceMax", [W], [f"{SOME}.max"], keepdims=0),
        helper.make_node("Greater", [f"{SOME}.max", zero.name], [SOME]),
    ]
    del graph.node[:], graph.initializer[:]
    graph.node.extend([*test, *kept])
    graph.initializer.extend([*rest, zero])
    return len(sums)


def _sums(graph: GraphProto, nodes: Sequence[NodeProto]) -> list[_Sum]:
    constant = {tensor.name for tensor in graph.initializer} | {""}
    of_w = {W}  # names of all that follows from w and constants alone
    maker: dict[str, int] = {}
    found = []
    for index, node in enumerate(nodes):
        unknown = [name for name in node.input if name not in constant]
        if not set(unknown) - of_w:
            (of_w if unknown else constant).update(node.output)
        maker.update((name, index) for name in node.output)
        if node.op_type != "Add" or node.output[0] in of_w | constant:
            continue
        for base, other in (node.input, reversed(node.input)):
            product = maker.get(other)
            if product is None or nodes[product].op_type != "Mul":
                continue
            if len(of_w.intersection(nodes[product].input)) == 1:
                found.append(_Sum(index, product, base))
    return found


def _serving(nodes: Sequence[NodeProto], found: _Sum) -> list[int]:
    """Indices of the operators that serve this change and nothing else, and of the sum itself, in order."""
    users: dict[str, set[int]] = {}
    for index, node in enumerate(nodes):
        for name in node.input:
            users.setdefault(name, set()).add(index)
    inside = {found.add}
    for index in range(found.add - 1, -1, -1):  # nodes stand in order: users are decided before their makers
        outputs = nodes[index].output
        if found.base in outputs:
            continue
        used = set().union(*(users.get(name, set()) for name in outputs))
        if used and used <= inside:
            inside.add(index)
    return sorted(inside)


def _choice(graph: GraphProto, nodes: Sequence[NodeProto], inside: list[int], base: str) -> NodeProto:
    """The `If` in the place of a sum: the operators inside, which the sum ends, or a copy of the base."""
    *before, total = (nodes[index] for index in inside)
    name = total.output[0]
    changed, same = f"{name}.changed", f"{name}.same"  # a branch may not use names from outside again
    last = NodeProto()
    last.CopyFrom(total)
    last.output[0] = changed
    result = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in (changed, same)]
    needed = {n for index in inside for n in nodes[index].input}
    shared = {n for index in set(range(len(nodes))).difference(inside) for n in nodes[index].input}
    weights = [tensor for tensor in graph.initializer if tensor.name in needed - shared]
    some = helper.make_graph([*before, last], f"{name}.some", [], result[:1], weights)
    copy = helper.make_node("Identity", [base], [same])
    none = helper.make_graph([copy], f"{name}.none", [], result[1:])
    return helper.make_node("If", [SOME], [name], then_branch=some, else_branch=none)


def _keep_initializers(graph: GraphProto, kept: Sequence[NodeProto]) -> list[TensorProto]:
    """The initializers that did not move into a branch."""
    moved = {
        tensor.name
        for node in kept
        for item in node.attribute
        if item.type == AttributeProto.GRAPH
        for tensor in item.g.initializer
    }
    return [tensor for tensor in graph.initializer if tensor.name not in moved]


def plain(model: ModelProto) -> ModelProto:
    """The arithmetic alone: no branches, and each float32 weight as it is used.

    onnxruntime folds what hangs on constants only (the casts of float16 weights, transposes, splits).

    Args:
        model: a graph of `facemend.convert.to_onnx`; it is not changed.

    Returns:
        A graph that gives the same numbers.
    """
    copy = ModelProto.FromString(model.SerializeToString())
    take_apart(copy.graph)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plain.onnx"
        options.optimized_model_filepath = str(file)
        onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(file)
    del folded.opset_import[:]  # onnxruntime names its own operators too, of which this level uses none
    folded.opset_import.extend(model.opset_import)
    onnx.checker.check_model(folded)
    return folded


def take_apart(graph: GraphProto) -> None:
    """Put what runs at w > 0 back among the rest, in place: at w = 0 it adds nothing (see `skip_at_zero`)."""
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "If":
            if not node.output[0].startswith(SOME):  # the test has nothing left to decide
                nodes.append(node)
            continue
        branch = next(item.g for item in node.attribute if item.name == "then_branch")
        inner = (item.type for step in branch.node for item in step.attribute)
        assert AttributeProto.GRAPH not in inner, "skip_at_zero makes no branches inside branches"
        branch.node[-1].output[0] = node.output[0]  # the sum ends the branch
        nodes.extend(branch.node)
        graph.initializer.extend(branch.initializer)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    weights = [tensor for tensor in graph.initializer if not tensor.name.startswith(SOME)]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(copies)
    graph.initializer.extend(weights)

"""Undo what the exporter does for storage and speed, so that a graph can be worked on."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto


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
    """Put what runs at w > 0 back among the rest, in place: at w = 0 it adds nothing (see `skip`)."""
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "If":
            nodes.append(node)
            continue
        branch = next(item.g for item in node.attribute if item.name == "then_branch")
        inner = (item.type for step in branch.node for item in step.attribute)
        assert AttributeProto.GRAPH not in inner, "skip_at_zero makes no branches inside branches"
        branch.node[-1].output[0] = node.output[0]  # the sum ends the branch
        nodes.extend(branch.node)
        graph.initializer.extend(branch.initializer)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)

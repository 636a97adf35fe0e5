"""Parameters and multiply-accumulates of an ONNX graph, counted from its shapes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from onnx import shape_inference

from facemend.errors import WeightsError, one_line


@dataclass(frozen=True)
class Cost:
    """Size of a graph.

    Attributes:
        parameters: numbers in its weights; scalars and shape constants count too, as they are few.
        macs: multiply-accumulates of convolutions and matrix products for one face; None where a shape is
            not known.
    """

    parameters: int
    macs: int | None


def graph_cost(path: Path) -> Cost:
    """Count a graph for a batch of one.

    Raises:
        WeightsError: the file is no ONNX graph.
    """
    try:
        model = onnx.load(path)
        for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
            for dimension in value.type.tensor_type.shape.dim:
                if dimension.dim_param:
                    dimension.dim_value = 1
        if not model.graph.node:  # what an empty file is read as
            raise ValueError("no operator in it")
        model = shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # protobuf and the checker have many
        raise WeightsError(f"{path}: not an ONNX graph ({one_line(error)})") from error
    branches = (item.g for node in model.graph.node for item in node.attribute if item.type == item.GRAPH)
    graphs = [model.graph, *branches]  # what runs at w > 0 stands in branches of the decode graph
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for graph in graphs
        for value in (*graph.input, *graph.output, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }
    tensors = [tensor for graph in graphs for tensor in graph.initializer]
    shapes |= {tensor.name: list(tensor.dims) for tensor in tensors}
    parameters = sum(prod(tensor.dims) for tensor in tensors)
    total = 0
    for node in (node for graph in graphs for node in graph.node):
        if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            continue
        # A transposed convolution spreads each number of its input, the others gather for each of the output.
        places = shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0])
        weight = shapes.get(node.input[1])
        if places is None or not weight or not all((*places, *weight)):
            return Cost(parameters, None)
        if node.op_type.startswith("Conv"):
            total += prod(places) * prod(weight[1:])
        else:
            flipped = len(weight) == 1 or any(a.name == "transB" and a.i for a in node.attribute)
            total += prod(places) * weight[-1 if flipped else -2]
    return Cost(parameters, total)

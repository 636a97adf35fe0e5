"""How fast and how large the models are; kept apart from their quality, as times differ from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import shape_inference

from facemend.errors import WeightsError
from facemend.evaluation.peers import open_peer
from facemend.photo.bench import whole_pass
from facemend.photo.timing import apart, median_seconds, peak_mb, processor
from facemend.predictors.restorer import FaceRestorer
from facemend.runtime.cores import usable_cores
from facemend.runtime.devices import CPU
from facemend.weights.models import ModelInfo, find_model

BATCHES = (1, 4, 16)
_HINT = "go on with --no-speed"


def measure_speed(models: Sequence[str], peers: Sequence[str] = (), side: int = 256) -> dict[str, Any]:
    """Measure each model and peer in a process of its own, so that its memory is its own.

    Args:
        models: names or folders.
        peers: as `open_peer` takes them; they are measured with single faces only.
        side: of the faces that peers get, pixels; models get their own size.

    Returns:
        `device`, `cores` and `rows`: name, parameters, gflop (a face, 2 x MAC), ms and faces_per_s by batch
        (median of 5), decode_ms (another w of a known face) and peak_mb of the process (None where the
        system does not tell).

    Raises:
        BackendError: the process died, for example for want of memory.
        FacemendError: a model cannot be used; the message says which and why.
    """
    rows = []
    for name in models:
        times = apart(name, _measure, name, hint=_HINT)
        info = find_model(name)  # its graphs are counted here: that must not add to the memory measured there
        rows.append({"name": info.name, **_cost(info), **times})
    rows += [apart(spec, _measure_peer, spec, side, hint=_HINT) for spec in peers]
    return {"device": processor(), "cores": usable_cores(), "rows": rows}


def _measure(name: str) -> dict[str, Any]:
    info = find_model(name)
    restorer = FaceRestorer.open(info, device=CPU)
    rng = np.random.default_rng(0)
    size = info.image_size
    row: dict[str, Any] = {"ms": {}, "faces_per_s": {}}
    for batch in BATCHES:
        faces = rng.random((batch, size, size, 3), dtype=np.float32)
        seconds = median_seconds(partial(whole_pass, restorer, faces))
        row["ms"][str(batch)] = round(1000 * seconds, 2)
        row["faces_per_s"][str(batch)] = round(batch / seconds, 2)
    encoded = restorer.encode(rng.random((1, size, size, 3), dtype=np.float32))
    row["decode_ms"] = round(1000 * median_seconds(lambda: restorer.decode(encoded, 0.5)), 2)
    row["peak_mb"] = peak_mb()
    return row


def _measure_peer(spec: str, side: int) -> dict[str, Any]:
    peer = open_peer(spec)
    face = np.random.default_rng(0).random((1, side, side, 3), dtype=np.float32)
    seconds = median_seconds(lambda: peer(face))
    return {
        "name": peer.name,
        "parameters": None,
        "gflop": None,
        "ms": {"1": round(1000 * seconds, 2)},
        "faces_per_s": {"1": round(1 / seconds, 2)},
        "decode_ms": None,
        "peak_mb": peak_mb(),
    }


def _cost(info: ModelInfo) -> dict[str, Any]:
    costs = [graph_cost(path) for path in info.graphs.values()]
    macs = [cost.macs for cost in costs]
    return {
        "parameters": sum(cost.parameters for cost in costs),
        "gflop": None if None in macs else round(2e-9 * sum(m for m in macs if m is not None), 2),
    }


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
        model = onnx.load(path, load_external_data=False)
        for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
            for dimension in value.type.tensor_type.shape.dim:
                if dimension.dim_param:
                    dimension.dim_value = 1
        if not model.graph.node:  # what an empty file is read as
            raise ValueError("no operator in it")
        model = shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # protobuf and the checker have many
        raise WeightsError(f"{path}: not an ONNX graph ({' '.join(str(error).split())[:200]})") from error
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

"""A model folder with int8 arithmetic: static quantisation (QDQ), calibrated on faces.

Convolutions and matrix products with a weight take 8-bit numbers in and give 8-bit numbers out, with scales
from calibration faces. What paints the finest pixels stays in float32: there one 8-bit level is seen.
Works on the graphs alone, so it needs no torch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from facemend.convert.quiet import quiet
from facemend.runtime.onnx import OnnxRunner
from facemend.runtime.runner import Arrays

QUANTIZED = ("Conv", "MatMul")
# Weights from this many elements on are stored in 8 bits even where the arithmetic stays float32 (tables and
# the 1x1 convolutions of the way up: 8 bits of weight cost nothing there, 8 bits of activation do).
ROWS_FROM = 1 << 15
# Smaller ones are stored as float16 from here on.
HALF_FROM = 256
# Weights w is taken through at calibration: the ranges must hold for the whole dial.
WS = (0.0, 0.25, 0.5, 0.75, 1.0)


def quantized(
    encode: ModelProto, decode: ModelProto, crops: Sequence[NDArray[np.float32]], fine: Sequence[str]
) -> tuple[ModelProto, ModelProto]:
    """Quantise a pair of plain graphs.

    Args:
        encode: as `facemend.convert.skip.plain` gives it.
        decode: the same.
        crops: calibration faces, each (1, 3, S, S) float32 RGB in [-1, 1], degraded as photos are.
        fine: parts of weight names whose operators stay in float32.

    Returns:
        The two graphs in int8, without branches.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        onnx.save(encode, path / "encode.onnx")
        onnx.save(decode, path / "decode.onnx")
        first = OnnxRunner(path / "encode.onnx")
        wanted = [value.name for value in decode.graph.input if value.name != "w"]
        given = [first.run({"image": crop}) for crop in crops]
        dial = [
            {**{name: outputs[name] for name in wanted}, "w": np.array([WS[number % len(WS)]], np.float32)}
            for number, outputs in enumerate(given)
        ]
        return (
            _static(path / "encode.onnx", [{"image": crop} for crop in crops], fine),
            _static(path / "decode.onnx", dial, fine),
        )


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    def __init__(self, inputs: Iterable[Arrays]) -> None:
        self._inputs: Iterator[Arrays] = iter(inputs)

    def get_next(self) -> Arrays | None:
        return next(self._inputs, None)


def _static(path: Path, inputs: Sequence[Arrays], fine: Sequence[str]) -> ModelProto:
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    left = [
        node.name
        for node in graph.node
        if node.op_type in QUANTIZED
        and (
            not weights.intersection(node.input) or any(part in name for part in fine for name in node.input)
        )
    ]
    out = path.with_suffix(".int8.onnx")
    with quiet():  # it would have graphs prepared by a tool that needs sympy
        quantize_static(
            path,
            out,
            _Reader(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            nodes_to_exclude=left,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": False,
                "WeightSymmetric": True,
                "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1},
            },
        )
    model = onnx.load(out)
    _pack(model)
    onnx.checker.check_model(model)
    return model


def _pack(model: ModelProto) -> None:
    """Store what is left of float32 in fewer bytes, and drop names that only people would read."""
    graph = model.graph
    before: list[NodeProto] = []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < HALF_FROM:
            continue
        if values.ndim > 1 and values.size >= ROWS_FROM:
            before.append(_in_rows(graph, tensor, values))
        elif not tensor.name.endswith("_scale"):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            before.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*before, *graph.node]
    zeros = {
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.INT8 and not numpy_helper.to_array(tensor).any()
    }
    for node in nodes:
        if node.op_type == "DequantizeLinear" and len(node.input) == 3 and node.input[2] in zeros:
            del node.input[2]  # int8 without a zero point has zero at 0
    used = {name for node in nodes for name in node.input}
    kept = [TensorProto.FromString(t.SerializeToString()) for t in graph.initializer if t.name in used]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(copies)
    graph.initializer.extend(kept)
    _rename(graph)


def _in_rows(graph: GraphProto, tensor: TensorProto, values: NDArray[np.float32]) -> NodeProto:
    """Replace a weight by 8-bit rows (slices of its first axis), a scale for each; returns what widens it."""
    name = tensor.name
    largest = np.abs(values).reshape(len(values), -1).max(1)
    scales = np.maximum(largest, np.finfo(np.float32).tiny).astype(np.float32) / 127
    shape = (-1,) + (1,) * (values.ndim - 1)
    rows = np.rint(values / scales.reshape(shape)).astype(np.int8)
    tensor.CopyFrom(numpy_helper.from_array(rows, f"{name}.rows"))
    graph.initializer.append(numpy_helper.from_array(scales, f"{name}.row_scale"))
    return helper.make_node("DequantizeLinear", [f"{name}.rows", f"{name}.row_scale"], [name], axis=0)


def _rename(graph: GraphProto) -> None:
    """Short names inside; inputs and outputs keep theirs."""
    names = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}
    for tensor in graph.initializer:
        tensor.name = names.setdefault(tensor.name, f"t{len(names)}")
    for node in graph.node:
        node.name = node.doc_string = ""
        for side in (node.input, node.output):
            renamed = [names.setdefault(name, f"t{len(names)}") for name in side]
            del side[:]
            side.extend(renamed)

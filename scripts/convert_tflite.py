"""Maintainer's tool: small float tflite graphs as ONNX; onnxruntime is two to five times as fast as OpenCV.

Needs `pip install tflite` (the schema alone, Apache-2.0). It knows what the two shipped nets of MediaPipe are
made of, no more; `convert_assets.py` uses it and compares the result with OpenCV on the tflite file. Weights
stay the half floats that they are in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import tflite
from onnx import helper, numpy_helper

OPSET = 17
NAMES = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
TYPES = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16}
TYPES[tflite.TensorType.INT32] = np.int32
Emit = Callable[..., str]


class TfliteConverter:
    """Reads the first subgraph; `convert` gives the ONNX file. Pictures are NHWC there and NCHW here."""

    def __init__(self, data: bytes) -> None:
        self._model = tflite.Model.GetRootAsModel(data, 0)
        self._graph = self._model.Subgraphs(0)
        self._half: dict[int, np.ndarray] = {}  # weights that the file turns into floats by DEQUANTIZE
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def convert(self, name: str, output: str) -> bytes:
        """The ONNX file: `image` (1, 3, H, W) to `output`, the tflite tensor of that name, flattened.

        Raises:
            ValueError: the graph has something that this tool does not know.
        """
        (image,) = self._graph.InputsAsNumpy()
        self._emit("Identity", ["image"], str(image))
        for index in range(self._graph.OperatorsLength()):
            self._operator(self._graph.Operators(index))
        _, height, width, channels = self._graph.Tensors(image).ShapeAsNumpy().tolist()
        (last,) = (
            i for i in self._graph.OutputsAsNumpy() if self._graph.Tensors(i).Name().decode() == output
        )
        self._emit("Flatten", [str(last)], "values")
        info = helper.make_tensor_value_info
        size = int(self._graph.Tensors(last).ShapeAsNumpy().prod())
        nodes = _needed(self._nodes, "values")
        used = {each for node in nodes for each in node.input}
        graph = helper.make_graph(
            nodes,
            name,
            [info("image", onnx.TensorProto.FLOAT, [1, channels, height, width])],
            [info("values", onnx.TensorProto.FLOAT, [1, size])],
            [weight for weight in self._weights if weight.name in used],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9, producer_name="facemend"
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def _operator(self, operator: Any) -> None:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        kind = NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs, (out,) = operator.InputsAsNumpy().tolist(), operator.OutputsAsNumpy().tolist()
        if kind == "CUSTOM":
            kind = code.CustomCode().decode()
        handler = getattr(self, f"_{kind.lower()}", None)
        if handler is None:
            raise ValueError(f"no rule for {kind}")
        handler(operator, inputs, out)

    def _emit(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def _array(self, index: int) -> np.ndarray:
        if index in self._half:
            return self._half[index]
        tensor = self._graph.Tensors(index)
        raw = self._model.Buffers(tensor.Buffer()).DataAsNumpy()
        return np.frombuffer(raw.tobytes(), TYPES[tensor.Type()]).reshape(tensor.ShapeAsNumpy())

    def _weight(self, name: str, array: np.ndarray) -> str:
        if array.dtype == np.float32:
            self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
            return name
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{name}.half"))
        return self._emit("Cast", [f"{name}.half"], name, to=onnx.TensorProto.FLOAT)

    def _options(self, operator: Any, kind: type) -> Any:
        options = kind()
        options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        if getattr(options, "FusedActivationFunction", int)():
            raise ValueError("a fused activation")
        return options

    def _pads(self, options: Any, source: int, out: int, kernel: tuple[int, int]) -> dict[str, list[int]]:
        """Strides and explicit pads: SAME of TensorFlow has the odd pixel below and on the right."""
        strides = [options.StrideH(), options.StrideW()]
        sizes = zip(
            *(self._graph.Tensors(i).ShapeAsNumpy()[1:3].tolist() for i in (source, out)), strict=True
        )
        total = [0, 0]
        if options.Padding() == tflite.Padding.SAME:
            sides = zip(sizes, strides, kernel, strict=True)
            total = [max(0, (after - 1) * step + k - before) for (before, after), step, k in sides]
        low = [each // 2 for each in total]
        return {"strides": strides, "pads": [*low, *(t - v for t, v in zip(total, low, strict=True))]}

    def _dequantize(self, _: Any, inputs: list[int], out: int) -> None:
        self._half[out] = self._array(inputs[0])

    def _conv(self, options: Any, inputs: list[int], out: int, kernel: np.ndarray, group: int) -> None:
        weight, bias = (
            self._weight(f"{out}.weight", kernel),
            self._weight(f"{out}.bias", self._array(inputs[2])),
        )
        pads = self._pads(options, inputs[0], out, kernel.shape[2:])
        self._emit("Conv", [str(inputs[0]), weight, bias], str(out), group=group, **pads)

    def _conv_2d(self, operator: Any, inputs: list[int], out: int) -> None:
        kernel = self._array(inputs[1]).transpose(0, 3, 1, 2)
        self._conv(self._options(operator, tflite.Conv2DOptions), inputs, out, kernel, 1)

    def _depthwise_conv_2d(self, operator: Any, inputs: list[int], out: int) -> None:
        kernel = self._array(inputs[1]).transpose(3, 0, 1, 2)
        self._conv(self._options(operator, tflite.DepthwiseConv2DOptions), inputs, out, kernel, len(kernel))

    def _convolution2dtransposebias(self, operator: Any, inputs: list[int], out: int) -> None:
        """Of stride 2 and kernel 2: each pixel becomes four, which is a 1x1 convolution to four channels."""
        kernel = self._array(inputs[1])  # (outputs, 2, 2, inputs)
        if kernel.shape[:3] != (1, 2, 2):
            raise ValueError(f"a transposed convolution of {kernel.shape}")
        weight = self._weight(f"{out}.weight", kernel.reshape(4, -1, 1, 1))
        bias = self._weight(f"{out}.bias", np.repeat(self._array(inputs[2]), 4))
        self._emit("Conv", [str(inputs[0]), weight, bias], f"{out}.four")
        self._emit("DepthToSpace", [f"{out}.four"], str(out), blocksize=2)

    def _prelu(self, _: Any, inputs: list[int], out: int) -> None:
        """As slope x + (1 - slope) relu(x), by 1x1 convolutions: PRelu takes longer than all the rest."""
        slope = self._array(inputs[1]).reshape(-1, 1, 1, 1).astype(np.float32)
        x, channels = str(inputs[0]), len(slope)
        self._emit("Relu", [x], f"{out}.positive")
        for name, source, scale in (("all", x, slope), ("rest", f"{out}.positive", 1 - slope)):
            weight = self._weight(f"{out}.{name}.slope", scale.astype(np.float32))
            self._emit("Conv", [source, weight], f"{out}.{name}", group=channels)
        self._emit("Add", [f"{out}.all", f"{out}.rest"], str(out))

    def _max_pool_2d(self, operator: Any, inputs: list[int], out: int) -> None:
        options = self._options(operator, tflite.Pool2DOptions)
        kernel = (options.FilterHeight(), options.FilterWidth())
        pads = self._pads(options, inputs[0], out, kernel)
        self._emit("MaxPool", [str(inputs[0])], str(out), kernel_shape=list(kernel), **pads)

    def _average_pool_2d(self, _: Any, inputs: list[int], out: int) -> None:
        if self._graph.Tensors(out).ShapeAsNumpy()[1:3].tolist() != [1, 1]:
            raise ValueError("an average pool that is not global")
        self._emit("GlobalAveragePool", [str(inputs[0])], str(out))

    def _pad(self, _: Any, inputs: list[int], out: int) -> None:
        """Channels are added, in all of them zeros."""
        low, high = (self._array(inputs[1])[:, side][[0, 3, 1, 2]].astype(np.int64) for side in (0, 1))
        pads = numpy_helper.from_array(np.concatenate([low, high]), f"{out}.pads")
        self._weights.append(pads)
        self._emit("Pad", [str(inputs[0]), pads.name], str(out))

    def _resize_bilinear(self, operator: Any, inputs: list[int], out: int) -> None:
        options = self._options(operator, tflite.ResizeBilinearOptions)
        if options.AlignCorners() or not options.HalfPixelCenters():
            raise ValueError("a resize with other pixel centres")
        scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), f"{out}.scales")
        self._weights.append(scales)
        self._emit("Resize", [str(inputs[0]), "", scales.name], str(out), mode="linear")

    def _hard_swish(self, _: Any, inputs: list[int], out: int) -> None:
        gate = self._emit("HardSigmoid", [str(inputs[0])], f"{out}.gate", alpha=1 / 6, beta=0.5)
        self._emit("Mul", [str(inputs[0]), gate], str(out))

    def _add(self, operator: Any, inputs: list[int], out: int) -> None:
        self._options(operator, tflite.AddOptions)
        self._emit("Add", [str(i) for i in inputs], str(out))

    def _mul(self, operator: Any, inputs: list[int], out: int) -> None:
        self._options(operator, tflite.MulOptions)
        self._emit("Mul", [str(i) for i in inputs], str(out))

    def _relu(self, _: Any, inputs: list[int], out: int) -> None:
        self._emit("Relu", [str(inputs[0])], str(out))

    def _logistic(self, _: Any, inputs: list[int], out: int) -> None:
        self._emit("Sigmoid", [str(inputs[0])], str(out))


def _needed(nodes: list[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """Those that the output rests on, in their order."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if node.output[0] in wanted:
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]

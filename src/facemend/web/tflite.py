"""The two tflite nets as ONNX graphs: a browser has one runtime, and it reads ONNX.

Only what these nets use is known. Arrays are NHWC in tflite and NCHW in ONNX, so weights and shapes are
turned here, once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from facemend.errors import WeightsError

OPSET = 17
_TYPES = {0: "<f4", 1: "<f2", 2: "<i4"}  # of tensors, as the format numbers them
_ACTIVATIONS = {0: None, 1: "Relu"}
_SAME = 0


class _Table:
    """One table of a flatbuffer: fields by number, each there or not."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def _field(self, number: int) -> int:
        """Where a field lies; 0: it is not there."""
        index = self._place - struct.unpack_from("<i", self._data, self._place)[0]
        (length,) = struct.unpack_from("<H", self._data, index)
        at = 4 + 2 * number
        offset = struct.unpack_from("<H", self._data, index + at)[0] if at < length else 0
        return self._place + offset if offset else 0

    def _follow(self, place: int) -> int:
        return int(place + struct.unpack_from("<I", self._data, place)[0])

    def number(self, field: int, form: str = "i") -> int:
        """A number, by its form in `struct`; 0 where the file leaves it out."""
        place = self._field(field)
        return int(struct.unpack_from(f"<{form}", self._data, place)[0]) if place else 0

    def table(self, field: int) -> _Table:
        return _Table(self._data, self._follow(self._field(field)))

    def _vector(self, field: int) -> tuple[int, int]:
        place = self._field(field)
        if not place:
            return 0, 0
        start = self._follow(place)
        return start + 4, int(struct.unpack_from("<I", self._data, start)[0])

    def tables(self, field: int) -> list[_Table]:
        start, count = self._vector(field)
        return [_Table(self._data, self._follow(start + 4 * k)) for k in range(count)]

    def array(self, field: int, kind: str = "<i4") -> NDArray[Any]:
        start, count = self._vector(field)
        return np.frombuffer(self._data, kind, count, start)

    def text(self, field: int) -> str:
        return self.array(field, "u1").tobytes().decode()


class _Operator(NamedTuple):
    options: _Table
    inputs: list[int]
    output: int


class _Net:
    """The first graph of a tflite file, and the ONNX nodes that were made of it so far."""

    def __init__(self, data: bytes) -> None:
        model = _Table.root(data)
        graph, buffers = model.tables(2)[0], model.tables(4)
        self.codes = [(code.number(0, "b"), code.text(1)) for code in model.tables(1)]
        self.operators, self.inputs = graph.tables(3), graph.array(1).tolist()
        tensors = graph.tables(0)
        self.shapes = [tuple(tensor.array(0).tolist()) for tensor in tensors]
        self.names = [tensor.text(3) for tensor in tensors]
        self.constants: dict[int, NDArray[Any]] = {}
        for index, tensor in enumerate(tensors):
            raw = buffers[tensor.number(2, "I")].array(0, "u1").tobytes()
            if raw:
                kind = _TYPES[tensor.number(1, "b")]
                self.constants[index] = np.frombuffer(raw, kind).reshape(self.shapes[index])
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    def weight(self, index: int, turn: tuple[int, ...] | None = None) -> str:
        """A constant as a float32 value; kept as float16, which it is in the file."""
        values = self.constants[index]
        name = f"c{index}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values.transpose(turn)), name))
        if values.dtype == np.float32:
            return name
        self.add("Cast", [name], f"{name}.wide", to=TensorProto.FLOAT)
        return f"{name}.wide"

    def finish(self, operator: _Operator, made: str, activation: int) -> None:
        """Give a result its name, through what is fused to it."""
        kind = _ACTIVATIONS[activation]
        self.add(kind or "Identity", [made], _value(operator.output))


def _value(index: int) -> str:
    return f"v{index}"


def _pads(net: _Net, operator: _Operator, same: bool, kernel: tuple[int, int], stride: int) -> list[int]:
    """Top, left, bottom, right; where they are odd, more at the end."""
    if not same:
        return [0, 0, 0, 0]
    sizes = zip(net.shapes[operator.inputs[0]][1:3], net.shapes[operator.output][1:3], kernel, strict=True)
    totals = [max(0, (out - 1) * stride + k - size) for size, out, k in sizes]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]


def _conv(net: _Net, operator: _Operator, *, depthwise: bool) -> None:
    options, (image, kernel, bias) = operator.options, operator.inputs
    shape, stride = net.shapes[kernel], options.number(1)
    pads = _pads(net, operator, options.number(0, "b") == _SAME, (shape[1], shape[2]), stride)
    weight = net.weight(kernel, (3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    made = f"{_value(operator.output)}.conv"
    group = shape[3] if depthwise else 1
    net.add(
        "Conv", [_value(image), weight, net.weight(bias)], made, strides=[stride] * 2, pads=pads, group=group
    )
    net.finish(operator, made, options.number(4 if depthwise else 3, "b"))


def _conv_up(net: _Net, operator: _Operator) -> None:
    image, kernel, bias = operator.inputs  # 2x2 in steps of 2: nothing overlaps
    weights = [net.weight(kernel, (3, 0, 1, 2)), net.weight(bias)]
    net.add("ConvTranspose", [_value(image), *weights], _value(operator.output), strides=[2, 2])


def _pool(net: _Net, operator: _Operator, kind: str) -> None:
    options = operator.options
    stride, kernel = options.number(1), (options.number(4), options.number(3))
    pads = _pads(net, operator, options.number(0, "b") == _SAME, kernel, stride)
    made = f"{_value(operator.output)}.pool"
    image = _value(operator.inputs[0])
    net.add(kind, [image], made, kernel_shape=kernel, strides=[stride] * 2, pads=pads)
    net.finish(operator, made, options.number(5, "b"))


def _both(net: _Net, operator: _Operator, kind: str) -> None:
    made = f"{_value(operator.output)}.sum"
    net.add(kind, [_value(index) for index in operator.inputs], made)
    net.finish(operator, made, operator.options.number(0, "b"))


def _plain(net: _Net, operator: _Operator, kind: str) -> None:
    net.add(kind, [_value(operator.inputs[0])], _value(operator.output))


def _prelu(net: _Net, operator: _Operator) -> None:
    slope = net.weight(operator.inputs[1], (2, 0, 1))
    net.add("PRelu", [_value(operator.inputs[0]), slope], _value(operator.output))


def _pad(net: _Net, operator: _Operator) -> None:
    sides = net.constants[operator.inputs[1]][[0, 3, 1, 2]].T.astype(np.int64)
    name = f"{_value(operator.output)}.pads"
    net.weights.append(numpy_helper.from_array(sides.ravel(), name))
    net.add("Pad", [_value(operator.inputs[0]), name], _value(operator.output))


def _resize(net: _Net, operator: _Operator) -> None:
    shape = net.shapes[operator.output]
    name = f"{_value(operator.output)}.size"
    net.weights.append(numpy_helper.from_array(np.array([1, shape[3], *shape[1:3]], np.int64), name))
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    net.add("Resize", [_value(operator.inputs[0]), "", "", name], _value(operator.output), **how)


def _widen(net: _Net, operator: _Operator) -> None:
    """Weights that the file widens stay narrow here until they are used."""
    net.constants[operator.output] = net.constants[operator.inputs[0]]


_WRITERS: dict[int, Callable[[_Net, _Operator], None]] = {
    0: lambda net, op: _both(net, op, "Add"),
    1: lambda net, op: _pool(net, op, "AveragePool"),
    3: lambda net, op: _conv(net, op, depthwise=False),
    4: lambda net, op: _conv(net, op, depthwise=True),
    6: _widen,
    14: lambda net, op: _plain(net, op, "Sigmoid"),
    17: lambda net, op: _pool(net, op, "MaxPool"),
    18: lambda net, op: _both(net, op, "Mul"),
    19: lambda net, op: _plain(net, op, "Relu"),
    23: _resize,
    32: _conv_up,
    34: _pad,
    54: _prelu,
    117: lambda net, op: _plain(net, op, "HardSwish"),
}


def to_onnx(path: Path, output: str) -> ModelProto:
    """A tflite net as ONNX: `image` float32 [1,3,S,S], as the file wants it, -> `output` [1,C,H,W].

    Args:
        path: the tflite file.
        output: name of the tensor that is wanted.

    Raises:
        WeightsError: the file uses what is not known here.
    """
    net = _Net(path.read_bytes())
    for each in net.operators:
        code, custom = net.codes[each.number(0, "I")]
        if code not in _WRITERS:
            raise WeightsError(f"{path}: the operator {custom or code} of this net has no form in ONNX here")
        made = int(each.array(2)[0])
        _WRITERS[code](net, _Operator(each.table(4), each.array(1).tolist(), made))
        if net.names[made] == output:
            break
    else:
        raise WeightsError(f"{path}: this net has no {output}")
    _, *size, channels = net.shapes[net.inputs[0]]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, *size])
    shape = net.shapes[made]
    told = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, shape[3], *shape[1:3]])
    nodes = [
        helper.make_node("Identity", ["image"], [_value(net.inputs[0])]),
        *net.nodes,
        helper.make_node("Identity", [_value(made)], ["output"]),
    ]
    graph = helper.make_graph(nodes, path.stem, [image], [told], net.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)

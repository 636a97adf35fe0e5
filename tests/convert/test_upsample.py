"""Doubling by repetition is convolved before, with the same result."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from facemend.convert.upsample import convolve_before_doubling


def doubling(weight: np.ndarray, bias: np.ndarray | None, *, scale=(1, 1, 2, 2), twice_used=False, **conv):
    """Resize, then a convolution, as torch exports them."""
    constants = [
        numpy_helper.from_array(np.array(scale, np.float32), "scale"),
        numpy_helper.from_array(weight, "weight"),
        *([] if bias is None else [numpy_helper.from_array(bias, "bias")]),
    ]
    inputs = ["doubled", *(tensor.name for tensor in constants[1:])]
    nodes = [
        helper.make_node(
            "Resize",
            ["x", "", "scale"],
            ["doubled"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        helper.make_node("Conv", inputs, ["y"], **{"pads": [1, 1, 1, 1], **conv}),
    ]
    outputs = ["y"]
    if twice_used:
        nodes.append(helper.make_node("Neg", ["doubled"], ["other"]))
        outputs.append("other")
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", weight.shape[1], "h", "w"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "c", "H", "W"]) for name in outputs],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("height", "width"), [(5, 7), (1, 1), (8, 8)])
def test_the_result_is_the_same(height, width, with_bias):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, 4, 3, 3)).astype(np.float32)
    bias = rng.normal(size=6).astype(np.float32) if with_bias else None
    x = rng.normal(size=(2, 4, height, width)).astype(np.float32)
    model = doubling(weight, bias)
    wanted = run(model, x)
    assert convolve_before_doubling(model) == 1
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node].count("Resize") == 0
    assert "scale" not in [tensor.name for tensor in model.graph.initializer]
    got = run(model, x)
    assert got.shape == wanted.shape == (2, 6, 2 * height, 2 * width)
    assert np.abs(got - wanted).max() < 1e-5


@pytest.mark.parametrize(
    "other",
    [
        {"scale": (1, 1, 3, 3)},
        {"strides": [2, 2]},
        {"pads": [0, 0, 0, 0]},
        {"dilations": [2, 2]},
        {"twice_used": True},
    ],
    ids=str,
)
def test_other_forms_are_left_as_they_are(other):
    weight = np.ones((4, 4, 3, 3), np.float32)
    model = doubling(weight, None, **other)
    before = model.SerializeToString()
    assert convolve_before_doubling(model) == 0
    assert model.SerializeToString() == before


def test_weights_stay_as_they_were_trained():
    """So that they can be taken back out of the graph."""
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(4, 4, 3, padding=1)
    model = doubling(conv.weight.detach().numpy(), conv.bias.detach().numpy())
    convolve_before_doubling(model)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert np.array_equal(held["weight"], conv.weight.detach().numpy())

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facemend.errors import BackendError, ModelNotFoundError, WeightsError
from facemend.evaluation import speed
from facemend.evaluation.speed import BATCHES, Cost, graph_cost, measure_speed


def save(path, nodes, inputs, outputs, weights):
    """An ONNX file; `inputs` and `outputs` are name -> shape, `weights` name -> shape."""

    def info(shapes):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in shapes.items()]

    constants = [numpy_helper.from_array(np.ones(s, np.float32), name) for name, s in weights.items()]
    graph = helper.make_graph(nodes, "g", info(inputs), info(outputs), constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_costs_are_those_worked_out_by_hand(tmp_path):
    node = helper.make_node
    nodes = [
        # 8 x 8 -> 4 x 4 places x 6 channels, each from 4 / 2 channels x 3 x 3: 96 x 18 = 1728
        node("Conv", ["x", "conv"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1], group=2),
        # 4 x 4 places x 6 channels, each spread over 5 channels x 2 x 2: 96 x 20 = 1920
        node("ConvTranspose", ["a", "up"], ["b"], strides=[2, 2]),
        # 5 x 8 rows of 8 times 8 x 7: 5 x 8 x 7 x 8 = 2240
        node("MatMul", ["b", "mat"], ["c"]),
        # 1 row of 280 times 280 x 3, the matrix given transposed: 840
        node("Flatten", ["c"], ["d"]),
        node("Gemm", ["d", "gem"], ["e"], transB=1),
        # a vector: 3
        node("MatMul", ["e", "vec"], ["y"]),
        node("Relu", ["y"], ["z"]),
    ]
    weights = {
        "conv": (6, 2, 3, 3),
        "up": (6, 5, 2, 2),
        "mat": (8, 7),
        "gem": (3, 280),
        "vec": (3,),
    }
    path = save(tmp_path / "hand.onnx", nodes, {"x": ["N", 4, 8, 8]}, {"z": ["N"]}, weights)
    assert graph_cost(path) == Cost(108 + 120 + 56 + 840 + 3, 1728 + 1920 + 2240 + 840 + 3)


def test_a_network_without_products_costs_nothing(tiny_model):
    assert graph_cost(tiny_model / "encode.onnx") == Cost(0, 0)
    assert graph_cost(tiny_model / "decode.onnx") == Cost(8, 0)


def test_unknown_shapes_give_no_figure(tmp_path):
    nodes = [
        helper.make_node("NonZero", ["x"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["t"]),
        helper.make_node("MatMul", ["f", "t"], ["y"]),
        helper.make_node("MatMul", ["y", "m"], ["z"]),
    ]
    path = save(tmp_path / "n.onnx", nodes, {"x": ["N", 4]}, {"z": [2, 3]}, {"m": (2, 3)})
    assert graph_cost(path) == Cost(6, None)


@pytest.mark.parametrize("content", [b"", b"not a graph", None])
def test_what_is_no_graph_is_named(tmp_path, content):
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad\.onnx: not an ONNX graph") as caught:
        graph_cost(path)
    assert "\n" not in str(caught.value)


def test_models_and_peers_are_measured_in_processes_of_their_own(tiny_model):
    ballast = np.ones(800_000_000 // 8)  # a parent's memory must not count for the model's
    found = measure_speed([str(tiny_model)], ["unsharp"], 64)
    assert found["cores"] >= 1
    assert found["device"]
    row, peer = found["rows"]
    assert (row["name"], row["parameters"], row["gflop"]) == ("tiny", 8, 0)
    assert list(row["ms"]) == list(row["faces_per_s"]) == [str(batch) for batch in BATCHES]
    assert all(0 < value < 10_000 for value in (*row["ms"].values(), row["decode_ms"]))
    assert 20 < row["peak_mb"] < 600 < ballast.nbytes / 1e6
    assert (peer["name"], list(peer["ms"])) == ("unsharp", ["1"])
    assert 0 < peer["ms"]["1"] < 10_000


def test_faces_a_second_are_the_batch_over_the_median(tiny_model, monkeypatch):
    monkeypatch.setattr(speed, "median_seconds", lambda work: 0.05)
    row = speed._measure(str(tiny_model))
    assert row["ms"] == {"1": 50.0, "4": 50.0, "16": 50.0}
    assert row["faces_per_s"] == {"1": 20.0, "4": 80.0, "16": 320.0}


def test_models_that_cannot_be_measured_are_named(tmp_path, monkeypatch):
    with pytest.raises(ModelNotFoundError, match="nothing-there"):
        measure_speed([str(tmp_path / "nothing-there")])
    monkeypatch.setattr(speed, "_measure", os._exit)  # is sent to the process by its name
    with pytest.raises(BackendError, match="--no-speed"):
        measure_speed([3])

"""At w = 0 the decode graph does not run what w multiplies by nothing, and gives the same numbers."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from facemend.convert.skip import graphs, skip_at_zero
from facemend.convert.to_onnx import _export, export_graphs
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import preset
from facemend.networks.codeformer.halves import DecodeGraph, decode_names
from facemend.runtime.onnx import OnnxRunner


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A tiny network with gates that let something in; its graphs; its decode graph without the branches."""
    torch.manual_seed(2)
    net = CodeFormer(preset("tiny")).eval()
    folder = tmp_path_factory.mktemp("skip")
    export_graphs(net, folder)
    with torch.no_grad():
        encoded = net.encode(torch.randn(2, 3, 64, 64).clamp(-1, 1))
    kept = [encoded.features[size] for size in net.config.kept_sizes]
    _export(
        DecodeGraph(net, True),
        (torch.tensor([0.3, 0.7]), encoded.codes, encoded.z, *kept),
        decode_names(net, True),
        ["restored"],
        folder / "plain.onnx",
    )
    inputs = [encoded.codes, encoded.z, *kept]
    named = dict(zip(decode_names(net, True)[1:], (tensor.numpy() for tensor in inputs), strict=True))
    return net, folder, named


@pytest.mark.parametrize("w", [[0, 0], [0.5, 0.5], [0, 1], [1, 0], [1e-3, 0]])
def test_the_numbers_do_not_change(pair, w):
    _, folder, named = pair
    inputs = {**named, "w": np.array(w, np.float32)}
    with_branches, plain = (
        OnnxRunner(folder / name, threads=1).run(inputs)["restored"] for name in ("decode.onnx", "plain.onnx")
    )
    np.testing.assert_allclose(with_branches, plain, atol=2e-5)


def test_at_zero_the_branches_do_not_run(pair, tmp_path):
    """Asked of the runtime itself: its profile lists the operators that ran."""
    _, folder, named = pair
    ran = {}
    for w in (0.0, 0.5):
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / f"{w}")
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(folder / "decode.onnx"), options)
        session.run(None, {**named, "w": np.full(2, w, np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        ran[w] = sum(
            event.get("args", {}).get("op_name") in ("Conv", "FusedConv")
            for event in events
            if "args" in event
        )
    model = onnx.load(folder / "decode.onnx")
    outside, *branches = (sum(node.op_type == "Conv" for node in graph.node) for graph in graphs(model))
    assert sum(branches) > 0
    assert ran[0.0] == outside
    assert ran[0.5] == outside + sum(branches)


def test_every_weight_is_there_once_and_where_it_serves(pair):
    net, folder, _ = pair
    model = onnx.load(folder / "decode.onnx")
    main, *branches = graphs(model)
    inside = {tensor.name for branch in branches for tensor in branch.initializer}
    outside = {tensor.name for tensor in main.initializer}
    assert not inside & outside
    assert not [name for name in outside if "fusion" in name or "bands" in name]
    assert not [name for name in inside if "decoder" in name or "codebook" in name]
    # One sum for each fused size, and one for the photo bands.
    assert sum(node.op_type == "If" for node in main.node) == len(net.config.fuse_sizes) + 1
    assert abs((folder / "decode.onnx").stat().st_size - (folder / "plain.onnx").stat().st_size) < 8000


def test_a_graph_without_such_sums_is_left_alone():
    info = onnx.helper.make_tensor_value_info
    number = onnx.TensorProto.FLOAT
    nodes = [
        onnx.helper.make_node("Mul", ["z", "z"], ["square"]),
        onnx.helper.make_node("Add", ["square", "z"], ["restored"]),
    ]
    inputs = [info("w", number, ["N"]), info("z", number, ["N"])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, [info("restored", number, ["N"])])
    model = onnx.helper.make_model(graph)
    before = model.SerializeToString(deterministic=True)
    assert skip_at_zero(model) == 0
    assert model.SerializeToString(deterministic=True) == before


def test_a_base_that_the_change_reads_stays_outside():
    """out = z2 + w * (z2 * z2) with z2 = -z: `z2` is needed when w = 0, its square is not."""
    info = onnx.helper.make_tensor_value_info
    number = onnx.TensorProto.FLOAT
    nodes = [
        onnx.helper.make_node("Neg", ["z"], ["z2"]),
        onnx.helper.make_node("Mul", ["z2", "z2"], ["square"]),
        onnx.helper.make_node("Mul", ["w", "square"], ["change"]),
        onnx.helper.make_node("Add", ["z2", "change"], ["restored"]),
    ]
    inputs = [info("w", number, ["N"]), info("z", number, ["N"])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, [info("restored", number, ["N"])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    assert skip_at_zero(model) == 1
    onnx.checker.check_model(model, full_check=True)
    main, *branches = graphs(model)
    assert [node.op_type for node in main.node] == ["ReduceMax", "Greater", "Neg", "If"]
    assert sorted(node.op_type for branch in branches for node in branch.node) == [
        "Add",
        "Identity",
        "Mul",
        "Mul",
    ]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    z = np.array([1, 2, 3], np.float32)
    for w in (np.zeros(3, np.float32), np.array([0, 1, 0.5], np.float32)):
        (restored,) = session.run(None, {"w": w, "z": z})
        np.testing.assert_allclose(restored, -z + w * z**2)

"""At w = 0 the decode graph does not run what w multiplies by nothing, and gives the same numbers."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from facemend.convert.skip import graphs, plain, skip_at_zero
from facemend.networks.codeformer.halves import decode_names
from facemend.runtime.onnx import OnnxRunner


@pytest.fixture(scope="module")
def given(net):
    """What two random faces are encoded to, by name; and the network's own result at a w."""
    with torch.no_grad():
        encoded = net.encode(
            torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)).clamp(-1, 1)
        )
    kept = [encoded.codes, *(encoded.features[size] for size in net.config.kept_sizes)]
    names = decode_names(net, False)[1:]

    def result(w):
        with torch.no_grad():
            return net.decode(encoded.codes, encoded.features, torch.tensor(w, dtype=torch.float32)).numpy()

    return dict(zip(names, (tensor.numpy() for tensor in kept), strict=True)), result


@pytest.mark.parametrize("w", [[0, 0], [0.5, 0.5], [0, 1], [1, 0], [1e-3, 0]])
def test_the_numbers_are_those_of_the_network(full, given, tmp_path, w):
    """Also where the branches are put back among the rest."""
    onnx.save(plain(onnx.load(full[0] / "decode.onnx")), tmp_path / "plain.onnx")
    named, result = given
    for path in (full[0] / "decode.onnx", tmp_path / "plain.onnx"):
        restored = OnnxRunner(path, threads=1).run({**named, "w": np.array(w, np.float32)})["restored"]
        np.testing.assert_allclose(restored, result(w), atol=1e-4)


def test_at_zero_the_branches_do_not_run(full, given, tmp_path):
    """Asked of the runtime itself: its profile lists the operators that ran."""
    ran = {}
    for w in (0.0, 0.5):
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / f"{w}")
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(full[0] / "decode.onnx"), options)
        session.run(None, {**given[0], "w": np.full(2, w, np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        names = [event.get("args", {}).get("op_name") for event in events]
        ran[w] = sum(name in ("Conv", "FusedConv") for name in names)
    model = onnx.load(full[0] / "decode.onnx")
    outside, *branches = (sum(node.op_type == "Conv" for node in graph.node) for graph in graphs(model))
    assert sum(branches) > 0
    assert ran[0.0] == outside
    assert ran[0.5] == outside + sum(branches)


def test_every_weight_is_there_once_and_where_it_serves(full, net):
    main, *branches = graphs(onnx.load(full[0] / "decode.onnx"))
    inside = [tensor.name for branch in branches for tensor in branch.initializer]
    outside = {tensor.name for tensor in main.initializer}
    assert len(set(inside)) == len(inside)
    assert not outside.intersection(inside)
    assert not [name for name in outside if "fusion" in name or "bands" in name]
    assert not [name for name in inside if "decoder" in name or "codebook" in name]
    # One sum for each fused size, and one for the photo bands.
    assert sum(node.op_type == "If" for node in main.node) == len(net.config.fuse_sizes) + 1


def made(*nodes):
    """A graph from z and w, float32 [N] each, to "restored"."""
    w, z, out = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N"]) for n in ("w", "z", "restored"))
    graph = helper.make_graph(
        [helper.make_node(kind, ins, [name]) for kind, ins, name in nodes], "g", [w, z], [out]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_graph_without_such_sums_is_left_alone():
    model = made(("Mul", ["z", "z"], "square"), ("Add", ["square", "z"], "restored"))
    before = model.SerializeToString(deterministic=True)
    assert skip_at_zero(model) == 0
    assert model.SerializeToString(deterministic=True) == before


def test_a_base_that_the_change_reads_stays_outside():
    """out = z2 + w * (z2 * z2) with z2 = -z: `z2` is needed when w = 0, its square is not."""
    model = made(
        ("Neg", ["z"], "z2"),
        ("Mul", ["z2", "z2"], "square"),
        ("Mul", ["w", "square"], "change"),
        ("Add", ["z2", "change"], "restored"),
    )
    assert skip_at_zero(model) == 1
    onnx.checker.check_model(model, full_check=True)
    main, *branches = graphs(model)
    assert [node.op_type for node in main.node] == ["ReduceMax", "Greater", "Neg", "If"]
    inside = sorted(node.op_type for branch in branches for node in branch.node)
    assert inside == ["Add", "Identity", "Mul", "Mul"]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    z = np.array([1, 2, 3], np.float32)
    for w in (np.zeros(3, np.float32), np.array([0, 1, 0.5], np.float32)):
        (restored,) = session.run(None, {"w": w, "z": z})
        np.testing.assert_allclose(restored, -z + w * z**2)

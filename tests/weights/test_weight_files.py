"""Weight files of others, judged by their bytes."""

from __future__ import annotations

import pickle
import random
import struct
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from facemend.errors import WeightsError
from facemend.weights import weight_files
from facemend.weights.weight_files import MAX_DEPTH, check_onnx, weight_kind


def tensor(name: str = "half", **more: object) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, [1], [0.5], **more)


def model(
    nodes: list[onnx.NodeProto] | None = None, tensors: list[onnx.TensorProto] | None = None
) -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes or [helper.make_node("Mul", ["x", "half"], ["y"])],
        "toy",
        [info("x", TensorProto.FLOAT, [1])],
        [info("y", TensorProto.FLOAT, [1])],
        [tensor()] if tensors is None else tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def outside(location: str, flag: bool = True) -> onnx.TensorProto:
    """A tensor whose numbers lie in another file."""
    made = tensor()
    made.ClearField("float_data")
    if flag:
        made.data_location = TensorProto.EXTERNAL
    made.external_data.add(key="location", value=location)
    return made


def saved(tmp_path: Path, content: onnx.ModelProto | bytes) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def refuse(path: Path, match: str) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        check_onnx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_plain_graph_passes(tmp_path: Path) -> None:
    check_onnx(saved(tmp_path, model()))


def test_the_shipped_graphs_pass() -> None:
    from facemend.weights.catalog import assets_folder

    # The upscaler's graphs ship without weights, which are given at load: not files that a user could import.
    graphs = [path for path in sorted(assets_folder().rglob("*.onnx")) if path.parent.name != "upscaler"]
    assert len(graphs) >= 5
    for path in graphs:
        assert weight_kind(path) == "onnx"
        check_onnx(path)


@pytest.mark.parametrize("location", ["/etc/passwd", "../../secret", "weights.bin"])
@pytest.mark.parametrize("flag", [True, False])
def test_weights_in_other_files(tmp_path: Path, location: str, flag: bool) -> None:
    refuse(saved(tmp_path, model(tensors=[outside(location, flag)])), "keeps weights in other files")


def test_weights_in_other_files_wherever_a_tensor_can_be(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["half"], value=outside("/etc/passwd"))
    refuse(saved(tmp_path, model([constant])), "other files")
    several = helper.make_node("Constant", [], ["half"])
    attribute = several.attribute.add(name="many", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.append(outside("x"))
    refuse(saved(tmp_path, model([several])), "other files")
    sparse = model()
    sparse.graph.sparse_initializer.add().values.CopyFrom(outside("x"))
    refuse(saved(tmp_path, sparse), "other files")
    inner = model([helper.make_node("Constant", [], ["z"], value=outside("x"))]).graph
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    refuse(saved(tmp_path, model([branch])), "other files")


def test_a_flag_that_is_overwritten_counts(tmp_path: Path) -> None:
    """Of a field that comes twice, readers take the last; here any will do."""
    bad = outside("x")
    bad.ClearField("external_data")
    body = bad.SerializeToString() + b"\x70\x00"  # data_location = DEFAULT behind EXTERNAL
    graph = model(tensors=[]).graph.SerializeToString() + b"\x2a" + bytes([len(body)]) + body
    refuse(saved(tmp_path, b"\x08\x09\x3a" + bytes([len(graph)]) + graph), "other files")


@pytest.mark.parametrize(
    ("domain", "operator"), [("my.ops", "Mul"), ("com.microsoft", "EPContext"), ("", "EPContext")]
)
def test_operators_that_are_not_standard(tmp_path: Path, domain: str, operator: str) -> None:
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    refuse(saved(tmp_path, model([node])), f"needs the operator {domain}.{operator}")


def test_operators_of_the_runtime_are_fine(tmp_path: Path) -> None:
    check_onnx(saved(tmp_path, model([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")])))


@pytest.mark.parametrize(
    ("domain", "operator"),
    [("", "Loop"), ("", "Scan"), ("", "SequenceMap"), ("com.microsoft", "BeamSearch"), ("", "Unknown")],
)
def test_loops(tmp_path: Path, domain: str, operator: str) -> None:
    """Also in a branch. Branches themselves are fine: the graphs that facemend exports have them."""
    loop = model([helper.make_node(operator, ["x"], ["y"], domain=domain, body=model().graph)])
    refuse(saved(tmp_path, loop), rf"has a loop \({operator}\)")
    branch = [
        helper.make_node("If", ["x"], ["y"], then_branch=inner.graph, else_branch=model().graph)
        for inner in (model(), loop)
    ]
    check_onnx(saved(tmp_path, model(branch[:1])))
    refuse(saved(tmp_path, model(branch)), "has a loop")


def test_functions_and_training_graphs(tmp_path: Path) -> None:
    made = model()
    made.functions.add(name="f", domain="d")
    refuse(saved(tmp_path, made), "functions or training graphs")
    made = model()
    made.training_info.add()
    refuse(saved(tmp_path, made), "functions or training graphs")


def test_graphs_in_graphs(tmp_path: Path) -> None:
    made = model()
    for _ in range(MAX_DEPTH + 1):
        made = model([helper.make_node("If", ["x"], ["y"], then_branch=made.graph)])
    refuse(saved(tmp_path, made), "graphs in graphs")


def test_too_many_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_files, "MAX_FIELDS", 100)
    refuse(saved(tmp_path, model([helper.make_node("Identity", ["x"], ["y"])] * 40)), "more than 100 fields")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        b"\x08\x09",
        b"\x08\x09\x3a\x7f",
        b"\x08\xff" + b"\xff" * 20,
        b"\x0b\x08",
        b"\x3a\x00" * 2,
    ],
)
def test_what_is_no_graph(tmp_path: Path, content: bytes) -> None:
    refuse(saved(tmp_path, content), "damaged or no ONNX file; fetch it again")


def test_any_damage_ends_in_one_error_or_none(tmp_path: Path) -> None:
    """Whatever passes the check keeps all its weights inside, as the official reader sees it too."""
    wholes = [model(tensors=[*more, tensor()]).SerializeToString() for more in ([outside("x")], [])]
    rng = random.Random(0)
    passed = 0
    for turn in range(400):
        data = bytearray(wholes[turn % 2])
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path = saved(tmp_path, bytes(data))
        try:
            check_onnx(path)
        except WeightsError:
            continue
        try:
            seen = onnx.load_model_from_string(bytes(data))
        except Exception:  # not readable at all
            continue
        passed += 1
        for each in seen.graph.initializer:
            assert each.data_location != TensorProto.EXTERNAL
            assert not each.external_data
    assert passed > 20


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04rest", "torch"),
        (struct.pack("<Q", 2) + b"{}", "safetensors"),
        (b"\x08\x09:\x00", "onnx"),
    ],
)
def test_kinds_by_content(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "net.bin").write_bytes(content)
    assert weight_kind(tmp_path / "net.bin") == kind


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole"),
        (b"PK", "not a whole"),
        (b"<html>not found</html>", "not a whole"),
        (struct.pack("<Q", 10**15) + b"{}", "not a whole"),
        (pickle.dumps({"a": 1}), "a plain pickle, which can run code, so it is not opened"),
    ],
)
def test_what_is_no_weight_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        weight_kind(path)
    assert str(path) in str(caught.value)


def test_missing_folder_and_giant(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(WeightsError, match="cannot read the weight file"):
            weight_kind(path)
    giant = tmp_path / "giant.onnx"
    with giant.open("wb") as file:  # sparse: takes no room on the disk
        file.write(b"\x08\x09")
        file.truncate(weight_files.MAX_WEIGHT_BYTES + 1)
    with pytest.raises(WeightsError, match=r"giant\.onnx: 2048 MiB is more than a weight file has"):
        weight_kind(giant)
    with pytest.raises(WeightsError, match=r"giant\.onnx: 2048 MiB is more than a graph has"):
        check_onnx(giant)

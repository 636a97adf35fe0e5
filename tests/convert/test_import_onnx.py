"""ONNX files of others: imported as they are, in an install without torch and onnx."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facemend.convert import import_onnx as foreign
from facemend.convert.import_onnx import Probe, import_onnx, inspect_graph
from facemend.errors import BackendError, OutputError, WeightsError
from facemend.predictors.restorer import FaceRestorer
from facemend.predictors.single_graph import PassOn, WholeGraph
from facemend.weights.models import GraphIO, find_model, models_dir
from fake_runner import FakeRunner

SIZE = 64


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def apart(monkeypatch):
    """The first run in this process, where the process apart is not what a test is about."""

    monkeypatch.setattr(
        foreign,
        "_run_apart",
        lambda path: subprocess.CompletedProcess("", 0, json.dumps(foreign._answer(path)), ""),
    )


def crops(count):
    return np.random.default_rng(0).random((count, SIZE, SIZE, 3), np.float32)


def contrast(faces, factor):
    return (np.float32(factor) * (faces * 2 - 1) + 1) / 2


@pytest.mark.parametrize(
    ("options", "io"),
    [
        ({}, GraphIO("input", "output", "float32", "weight", "float64", 1)),
        ({"w_shape": ()}, GraphIO("input", "output", "float32", "weight", "float64", 0)),
        (
            {"image": "image", "w": "w", "w_type": "FLOAT"},
            GraphIO("image", "output", "float32", "w", "float32", 1),
        ),
        ({"shape": ("n", 3, "h", "w")}, GraphIO("input", "output", "float32", "weight", "float64", 1)),
        (
            {"image_type": "FLOAT16", "w_type": "FLOAT16"},
            GraphIO("input", "output", "float16", "weight", "float16", 1),
        ),
        ({"w": None}, GraphIO("input", "output")),
    ],
    ids=["vector", "scalar", "float", "free size", "half", "no w"],
)
def test_conventions_of_others(tmp_path, whole_graph, options, io):
    found = inspect_graph(whole_graph(tmp_path / "net.onnx", **options))
    size = 512 if "shape" in options else SIZE
    assert found == Probe(io, size, live=io.w is not None)


def test_it_restores_like_a_pair(tmp_path, whole_graph):
    """Through the process apart, the cache and the restorer: numbers as the graph defines them."""
    file = whole_graph(tmp_path / "CodeFormer v0.1.onnx")
    info = import_onnx(file, licence="test")
    assert info == find_model("CodeFormer-v0.1")
    assert (info.image_size, info.task, info.w, info.licence) == (SIZE, "restoration", "live", "test")
    assert info.encode.read_bytes() == file.read_bytes()
    assert [path.name for path in models_dir().iterdir()] == ["CodeFormer-v0.1"]
    restorer = FaceRestorer.open(info, threads=1, device="cpu")
    faces = crops(6)
    encoded = restorer.encode(faces)
    for w in (0.0, 0.5, 1.0):
        np.testing.assert_allclose(restorer.decode(encoded, w), contrast(faces, 0.5 + w / 2), atol=1e-6)
    each = restorer.decode(encoded, [0, 1, 0, 1, 0, 1])
    np.testing.assert_allclose(each[1::2], faces[1::2], atol=1e-6)
    np.testing.assert_allclose(each[::2], contrast(faces[::2], 0.5), atol=1e-6)


@pytest.mark.parametrize("options", [{"w": None}, {"uses_w": False}])
def test_a_w_without_effect_is_fixed(tmp_path, whole_graph, apart, options):
    info = import_onnx(whole_graph(tmp_path / "net.onnx", **options))
    assert info.w == "fixed"
    restorer = FaceRestorer.open(info, threads=1, device="cpu")
    faces = crops(2)
    encoded = restorer.encode(faces)
    np.testing.assert_array_equal(restorer.decode(encoded, 0), restorer.decode(encoded, 1))
    np.testing.assert_allclose(restorer.decode(encoded, 0), faces, atol=1e-6)


@pytest.mark.parametrize(("task", "w"), [("restoration", 0.5), ("colorization", 0), ("inpainting", 1)])
def test_tasks(tmp_path, whole_graph, apart, task, w):
    info = import_onnx(whole_graph(tmp_path / "net.onnx"), name="mine", task=task)
    assert (info.name, info.task, info.default_w) == ("mine", task, w)
    with pytest.raises(OutputError, match="mine: there is a model of that name already"):
        import_onnx(tmp_path / "net.onnx", name="mine")


def refuse(file, match):
    with pytest.raises(WeightsError, match=match) as caught:
        import_onnx(file)
    assert str(caught.value).startswith(f"{file}: "), caught.value
    assert "\n" not in str(caught.value)
    assert ".import-" not in str(caught.value)
    assert not models_dir().is_dir() or list(models_dir().iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"shape": (2, 3, SIZE, SIZE)},
            r"takes input \[2, 3, 64, 64\].*takes a float picture \[1, 3, S, S\]",
        ),
        ({"shape": (1, SIZE, SIZE, 3)}, "takes a float picture"),
        ({"shape": (1, 1, SIZE, SIZE)}, "takes a float picture"),
        ({"shape": (1, 3, SIZE, 2 * SIZE)}, "takes a float picture"),
        ({"shape": (1, 3, 16, 16)}, "with S from 32 to 2048"),
        ({"shape": (1, 3, 100_000, 100_000)}, "with S from 32 to 2048"),
        ({"image_type": "DOUBLE"}, "takes a float picture"),
        ({"shape": (3, SIZE, SIZE)}, "a restoration graph takes a picture, and w at most"),
        ({"w_shape": (2,), "uses_w": False}, r"takes weight \[2\] .*w is one floating-point number"),
        ({"w_type": "INT64"}, "w is one floating-point number"),
        ({"factor": float("nan")}, "gives values that are not numbers; its weights are damaged"),
        ({"factor": 100.0}, r"gives values up to \d+, where pictures lie in \[-1, 1\]"),
    ],
)
def test_other_graphs(tmp_path, whole_graph, apart, options, message):
    refuse(whole_graph(tmp_path / "net.onnx", **options), message)


FACE = [1, 3, SIZE, SIZE]
SHAPES = {"input": FACE, "logits": [1, 3 * SIZE * SIZE], "picture": FACE}


def small_graph(path, nodes, output_shape, outputs=("output",), inputs=("input",)):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info(name, TensorProto.FLOAT, [1, 3, SIZE, SIZE]) for name in inputs],
        [info(name, TensorProto.FLOAT, output_shape) for name in outputs],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_other_forms(tmp_path, apart):
    path = tmp_path / "net.onnx"
    more = [  # graphs may give logits besides: the first picture counts
        helper.make_node("Flatten", ["input"], ["logits"]),
        helper.make_node("Identity", ["input"], ["picture"]),
    ]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in SHAPES.items()]
    graph = helper.make_graph(more, "g", info[:1], info[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    assert inspect_graph(path).io.output == "picture"
    flat = [helper.make_node("Flatten", ["input"], ["output"])]
    refuse(small_graph(path, flat, [1, 3 * SIZE * SIZE]), r"gives no picture \[1, 3, S, S\]")
    refuse(
        small_graph(path, [helper.make_node("GlobalAveragePool", ["input"], ["output"])], [1, 3, 1, 1]),
        r"gives \(1, 3, 1, 1\) for a face of \(1, 3, 64, 64\)",
    )
    two = [helper.make_node("Add", ["input", "other"], ["output"])]
    refuse(small_graph(path, two, [1, 3, SIZE, SIZE], inputs=("input", "other")), "takes input .*, other")


def test_custom_operators(tmp_path):
    node = helper.make_node("Restore", ["input"], ["output"], domain="my.ops")
    refuse(
        small_graph(tmp_path / "net.onnx", [node], [1, 3, SIZE, SIZE]), r"needs the operator my\.ops\.Restore"
    )


@pytest.mark.parametrize("keep", [0, 20, 0.95])
def test_cut_off(tmp_path, whole_graph, apart, keep):
    file = whole_graph(tmp_path / "net.onnx")
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    refuse(file, "damaged|not a whole|cannot load")


def test_a_tensor_that_claims_more_than_it_has(tmp_path, whole_graph):
    file = whole_graph(tmp_path / "net.onnx")
    model = onnx.load(file)
    model.graph.initializer[0].dims.extend([1_000_000, 1_000_000])
    file.write_bytes(model.SerializeToString())
    refuse(file, "cannot load")


def grows(path, numbers):
    """A few hundred bytes that unfold to any number of zeros."""
    shape = helper.make_node(
        "Constant", [], ["shape"], value=helper.make_tensor("", TensorProto.INT64, [1], [numbers])
    )
    nodes = [
        shape,
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Add", ["input", "sum"], ["output"]),
    ]
    return small_graph(path, nodes, [1, 3, SIZE, SIZE])


def test_a_graph_that_eats_memory(tmp_path, monkeypatch):
    """16 GiB against a limit of 12."""
    refuse(
        grows(tmp_path / "net.onnx", 1 << 32), "cannot load|the run failed|crashed or needed more than 12 GiB"
    )


def test_a_graph_that_takes_for_ever(tmp_path, monkeypatch, whole_graph):
    monkeypatch.setattr(foreign, "SECONDS", 0.01)
    refuse(whole_graph(tmp_path / "net.onnx"), r"one face takes longer than 0\.01 s")


def test_a_runtime_that_crashes(tmp_path, monkeypatch, whole_graph):
    monkeypatch.setattr(foreign, "_CHILD", "import os; os.abort()")
    refuse(whole_graph(tmp_path / "net.onnx"), "its first run crashed or .*\\(it ended with -6\\)")
    monkeypatch.setattr(foreign, "_CHILD", "import nowhere")
    refuse(tmp_path / "net.onnx", r"\(ModuleNotFoundError: No module named 'nowhere'\)")


def test_the_process_apart_finds_what_this_one_has(tmp_path, monkeypatch, whole_graph):
    """Its own `-P` leaves out the folder that a run from source was started in."""
    monkeypatch.setattr(foreign, "_CHILD", "import beside; " + foreign._CHILD)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/beside.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    assert foreign.probe(whole_graph(tmp_path / "net.onnx"), "net").size == SIZE


def test_a_name_of_odd_bytes(tmp_path, whole_graph, apart):
    file = whole_graph(tmp_path / "net.onnx").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.onnx"))
    info = import_onnx(file)
    assert info.details["source"]["file"] == "caf\ufffd.onnx"
    assert len(FaceRestorer.open(find_model(info.name)).encode(crops(2))) == 2


def test_what_cannot_be_described_leaves_nothing(tmp_path, whole_graph, apart, cache):
    with pytest.raises(WeightsError, match="licence"):
        import_onnx(whole_graph(tmp_path / "net.onnx"), licence=" ")
    assert not list((cache / "models").iterdir())


def test_other_kinds_of_file(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"PK\x03\x04")
    refuse(tmp_path / "net.onnx", "not an ONNX file")


def test_a_description_that_does_not_fit_the_graph(tmp_path, whole_graph, apart):
    info = import_onnx(whole_graph(tmp_path / "net.onnx"))
    for change in ({"w": "other"}, {"w": None}, {"image": "x"}, {"output": "x"}):
        path = info.folder / "model.json"
        data = json.loads(path.read_text())
        path.write_text(json.dumps({**data, "io": {**data["io"], **change}}))
        with pytest.raises(BackendError, match=r"inputs are|gives"):
            FaceRestorer.open(find_model(info.name), threads=1, device="cpu")
        path.write_text(json.dumps(data))


def test_the_two_halves():
    image = np.zeros((2, 3, 4, 4), np.float32)
    assert PassOn().run({"image": image}) == {"face": image}
    with pytest.raises(BackendError):
        PassOn().run({"x": image})
    seen = []

    def fn(inputs):
        seen.append((inputs["i"].shape, inputs["i"].dtype, inputs["q"].shape, float(inputs["q"])))
        return {"o": inputs["i"] + inputs["q"], "more": image}

    graph = WholeGraph(
        FakeRunner(fn, ["i", "q"], ["o", "more"]), GraphIO("i", "o", "float16", "q", "float64", 0)
    )
    out = graph.run({"face": image, "w": np.array([0.25, 0.5], np.float32)})["restored"]
    assert out.dtype == np.float32
    assert out[:, 0, 0, 0].tolist() == [0.25, 0.5]
    assert seen == [((1, 3, 4, 4), np.float16, (), 0.25), ((1, 3, 4, 4), np.float16, (), 0.5)]


def test_an_install_without_torch_and_onnx(tmp_path, whole_graph, photo):
    """The whole way by the command: import by first use, a note about w, a second use without import."""
    for name in ("torch", "onnx", "safetensors", "onnxscript"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')\n")
    file = whole_graph(tmp_path / "net.onnx", w=None)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = "from facemend.cli.app import main; main()"

    def run(*words):
        command = [sys.executable, "-c", code, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    first = run("restore", photo, "-o", tmp_path / "a.png", "--model", file)
    assert first.returncode == 0, first.stderr
    assert f"importing {file} into the cache (once)" in first.stderr
    assert "net: -w has no effect" in first.stderr
    second = run("restore", photo, "-o", tmp_path / "b.png", "--model", file)
    assert second.returncode == 0, second.stderr
    assert "importing" not in second.stderr
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

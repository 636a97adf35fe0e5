"""Graphs kept in their optimised form: the same numbers, and no harm from a cache that is not whole."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from facemend.errors import OutputError, WeightsError
from facemend.files import file_sha256
from facemend.photo.options import DEFAULT_MODEL
from facemend.runtime import optimised
from facemend.runtime.onnx import OnnxRunner
from facemend.weights.cache import cache_dir
from facemend.weights.models import GraphFile, find_model

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="no owners and modes of files")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(optimised, "LEAST_BYTES", 0)
    return tmp_path / "cache/optimised"


@pytest.fixture
def graph(tmp_path) -> GraphFile:
    """y = x + table, whose 4 KB lie in a file of their own once it is optimised."""
    from onnx import TensorProto, helper, save

    table = np.random.default_rng(1).random((4, 256), dtype=np.float32)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 256]) for name in "xy")
    constant = helper.make_tensor("table", TensorProto.FLOAT, table.shape, table.tobytes(), raw=True)
    body = helper.make_graph([helper.make_node("Add", ["x", "table"], ["y"])], "sum", [x], [y], [constant])
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path / "sum.onnx"
    save(helper.make_model(body, opset_imports=opset, ir_version=9), path)
    return GraphFile(path, file_sha256(path))


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Files that sessions were made of, from now on."""
    real, files = onnxruntime.InferenceSession, []

    def session(path, **options):
        files.append(path)
        return real(path, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return files


def only(cache: Path) -> Path:
    (folder,) = cache.iterdir()
    return folder


def run(graph: GraphFile) -> np.ndarray:
    return OnnxRunner(graph).run({"x": np.ones((4, 256), np.float32)})["y"]


def test_the_networks_that_ship_give_the_same_to_the_bit(cache, opened):
    """The decoder too, whose branches onnxruntime writes in a way that it cannot read."""
    info = find_model(DEFAULT_MODEL, check_files=False)
    shape = (1, 3, info.image_size, info.image_size)
    inputs = {"image": np.random.default_rng(0).random(shape, dtype=np.float32)}
    for name, file in info.files.items():
        plain = OnnxRunner(file.path).run(inputs)
        for _ in range(2):
            kept = OnnxRunner(file).run(inputs)
            assert cache in Path(opened[-1]).parents
            assert all(np.array_equal(plain[key], kept[key]) for key in plain)
        if name == "encode":
            needed = OnnxRunner(info.decode).input_names
            inputs = {key: plain[key] for key in needed if key != "w"} | {"w": np.array([0.5], np.float32)}


def test_a_second_start_reads_no_more_than_what_was_kept(cache, graph, opened, monkeypatch):
    expected = run(graph)
    monkeypatch.setattr(
        GraphFile, "verify", lambda self: pytest.fail("it was checked when its form was made")
    )
    opened.clear()
    assert np.array_equal(run(graph), expected)
    assert opened == [str(only(cache) / "graph.onnx")]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: flip(folder / "weights.bin"),
        lambda folder: flip(folder / "graph.onnx"),
        lambda folder: os.truncate(folder / "weights.bin", 0),
        lambda folder: (folder / "graph.onnx").unlink(),
        lambda folder: (folder / "seal.json").write_text("[]"),
        lambda folder: (folder / "seal.json").write_bytes(b"\xff"),
    ],
)
def test_a_damaged_form_is_made_anew(cache, graph, opened, harm):
    expected = run(graph)
    harm(only(cache))
    assert np.array_equal(run(graph), expected)
    opened.clear()
    assert np.array_equal(run(graph), expected)
    assert opened == [str(only(cache) / "graph.onnx")]


@POSIX
@pytest.mark.parametrize("at", [lambda cache: cache, only], ids=["all", "one"])
def test_folders_that_others_may_write_to_are_not_trusted(cache, graph, opened, at):
    expected = run(graph)
    at(cache).chmod(0o777)
    opened.clear()
    assert np.array_equal(run(graph), expected)
    # One is made anew for this user alone; where all lie, nothing is.
    assert (opened[-1] == str(graph.path)) is (at is not only)
    assert at is not only or only(cache).stat().st_mode & 0o077 == 0


@POSIX
def test_a_link_is_not_followed(cache, graph, opened, tmp_path):
    run(graph)
    folder = only(cache)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    opened.clear()
    run(graph)
    assert opened[-1] == str(graph.path)


def test_without_a_cache_the_graph_itself_is_opened(graph, opened, tmp_path, monkeypatch):
    monkeypatch.setattr(optimised, "LEAST_BYTES", 0)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "file"))
    run(graph)
    assert opened == [str(graph.path)]


def test_what_cannot_be_read_back_is_tried_once(cache, graph, opened, monkeypatch):
    monkeypatch.setattr(optimised, "_opens", lambda path: False)
    expected = run(graph)
    opened.clear()
    assert np.array_equal(run(graph), expected)
    assert opened == [str(graph.path)]


@pytest.mark.parametrize("change", ["version", "content", "machine"])
def test_a_form_of_another_kind_is_not_taken_and_goes(cache, graph, opened, monkeypatch, change):
    run(graph)
    before = only(cache)
    if change == "version":
        monkeypatch.setattr(onnxruntime, "__version__", "0.1")
    elif change == "machine":
        monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": {"found": ["none"]}})
    else:
        os.utime(graph.path, ns=(0, 0))
    run(graph)
    assert only(cache) != before


def test_a_damaged_file_is_refused_also_where_its_form_was_kept(cache, graph):
    run(graph)
    flip(graph.path)
    with pytest.raises(WeightsError, match="damaged"):
        run(graph)


def test_all_together_is_bounded(cache, graph, monkeypatch):
    # Room for the graph twice, and for less than that in its form and another's.
    monkeypatch.setattr(optimised, "MOST_BYTES", 2 * graph.path.stat().st_size + 1)
    run(graph)
    first = only(cache)
    first.rename(first.with_name("0" * len(first.name)))
    os.utime(cache / ("0" * len(first.name)), (1, 1))
    (cache / ("0" * len(first.name)) / "more").write_bytes(bytes(optimised.MOST_BYTES))
    run(graph)
    assert only(cache) == first
    first.rename(cache.parent / "elsewhere")
    abandoned = cache / ".abandoned"
    abandoned.mkdir()
    os.utime(abandoned, (0, 0))
    monkeypatch.setattr(optimised, "MOST_BYTES", 1 << 30)
    run(graph)
    assert not abandoned.exists()
    assert only(cache).is_dir()


def test_processes_at_the_same_time_do_not_disturb_each_other(cache, graph):
    code = (
        "import sys, pathlib\n"
        "from facemend.runtime import optimised\n"
        "from facemend.runtime.onnx import OnnxRunner\n"
        "from facemend.weights.models import GraphFile\n"
        "optimised.LEAST_BYTES = 0\n"
        "OnnxRunner(GraphFile(pathlib.Path(sys.argv[1]), sys.argv[2]), threads=1)"
    )
    words = [sys.executable, "-c", code, str(graph.path), graph.sha256]
    crowd = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[1] for process in crowd] == [""] * 3
    assert [process.returncode for process in crowd] == [0] * 3
    assert optimised.kept_form(graph) == only(cache) / "graph.onnx"


def test_without_a_home_folder_there_is_no_form_and_no_error(graph, monkeypatch):
    for name in ("FACEMEND_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)

    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(OutputError, match="there is no home folder; set FACEMEND_CACHE"):
        cache_dir()
    assert optimised.kept_form(graph) is None
    assert not optimised.can_keep(graph)
    monkeypatch.setenv("FACEMEND_CACHE", "~nobody-of-that-name/cache")
    with pytest.raises(OutputError, match="there is no home folder"):
        cache_dir()


def test_graphs_of_which_two_do_not_fit_are_not_kept(cache, graph, monkeypatch):
    assert optimised.can_keep(graph)
    monkeypatch.setattr(optimised, "MOST_BYTES", graph.path.stat().st_size)
    assert not optimised.can_keep(graph)

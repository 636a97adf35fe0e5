"""Model folders, and models in the user's cache: described, put in, found, taken out."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import onnx
import pytest

from facemend.errors import ModelNotFoundError, OutputError, WeightsError
from facemend.photo.networks import load_network
from facemend.photo.options import DEFAULT_MODEL, RestoreOptions
from facemend.weights.catalog import find_published
from facemend.weights.models import (
    GraphIO,
    cached_models,
    find_model,
    imported_as,
    is_named,
    models,
    models_dir,
    read_model,
    sole_model,
)
from facemend.weights.store import model_name, new_model, remove_model

SHA = "ab" * 32
PAIR = ("encode", "decode")
GRAPH = b"\x08\x09\x3a\x00"  # the shortest ONNX file: version 9, an empty graph
IO = {"image": "input", "output": "output", "w": "weight", "w_dtype": "float64", "w_rank": 1}


def fill(folder, graphs=("whole",), **changes):
    """A folder that looks like a model: of one graph, or with `PAIR` of two."""
    files = {}
    for graph in graphs:
        (folder / f"{graph}.onnx").write_bytes(GRAPH)
        files[graph] = {"file": f"{graph}.onnx", "sha256": hashlib.sha256(GRAPH).hexdigest()}
    data = {
        "name": folder.name,
        "image_size": 64,
        "template": "ffhq",
        "licence": "not stated",
        "description": "a toy",
        "files": files,
        **(
            {"io": IO, "source": {"sha256": SHA}}
            if graphs == ("whole",)
            else {"default_w": 0.6, "codebook_size": 9}
        ),
        **changes,
    }
    (folder / "model.json").write_text(json.dumps(data))
    return folder


def add(name, **changes):
    with new_model(name) as folder:
        fill(folder, **changes)
    return models_dir() / name


def test_a_folder_of_two_graphs_is_a_model(tmp_path):
    info = find_model(fill(tmp_path, PAIR, name="toy"))
    assert (info.name, info.image_size, info.default_w) == ("toy", 64, 0.6)
    assert (info.encode, info.decode) == (tmp_path / "encode.onnx", tmp_path / "decode.onnx")
    assert info.card == tmp_path / "MODEL_CARD.md"
    assert dict(info.details) == {"codebook_size": 9}
    assert find_model(str(tmp_path)) == info
    (tmp_path / "decode.onnx").write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"decode\.onnx: damaged"):
        find_model(tmp_path)
    assert find_model(tmp_path, check_files=False).name == "toy"
    (tmp_path / "decode.onnx").unlink()
    with pytest.raises(WeightsError, match=r"decode\.onnx: missing"):
        find_model(tmp_path)


def test_models_are_listed_by_name(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        fill(tmp_path / name, PAIR)
    assert [info.name for info in models(tmp_path)] == ["a", "b"]
    assert models(tmp_path / "nowhere") == []


def test_shipped_models_are_whole():
    for info in models():
        assert find_model(info.name) == info
        assert info.card.is_file()


@pytest.mark.parametrize("name", ["no-such-model", "../../etc", "a\0b", ""])
def test_unknown_model(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match="there are"):
        find_model(name)


@pytest.mark.parametrize("file", ["../encode.onnx", "/etc/passwd", "a/../../x", "x\0y", 7, None, "link"])
def test_files_stay_inside_the_folder(tmp_path, file):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "outside.onnx")
    files = {graph: {"file": f"{graph}.onnx", "sha256": SHA} for graph in PAIR}
    files["encode"]["file"] = file
    with pytest.raises(WeightsError, match="encode"):
        read_model(fill(folder, PAIR, files=files))


def without_end(graph):
    """A loop in the place of the graph's last operator."""
    body = onnx.helper.make_graph([], "body", [], [])
    graph.node[-1].CopyFrom(onnx.helper.make_node("Loop", ["", "", "z"], ["restored"], body=body))


def outside(location):
    """A tensor that lies in another file."""

    def change(graph):
        tensor = graph.initializer[1]
        tensor.ClearField("float_data")
        tensor.external_data.add(key="location", value=location)
        tensor.data_location = onnx.TensorProto.EXTERNAL

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (outside("../../secret"), "keeps weights in other files"),
        (outside("/etc/hostname"), "keeps weights in other files"),
        (outside("beside"), "keeps weights in other files"),  # changed after the checksum
        (without_end, r"has a loop \(Loop\)"),
    ],
)
@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_graphs_of_a_folder_are_checked_like_imported_ones(tmp_path, tiny_model, change, match, backend):
    """The checksums are right: whoever made the folder wrote them. No runtime gets to see the graph."""
    folder = shutil.copytree(tiny_model, tmp_path / "a" / "b" / "model")
    for secret in (tmp_path / "a" / "secret", folder / "beside"):
        secret.write_bytes(bytes(4))
    model = onnx.load(folder / "decode.onnx")
    change(model.graph)
    data = model.SerializeToString()
    (folder / "decode.onnx").write_bytes(data)
    description = json.loads((folder / "model.json").read_text())
    description["files"]["decode"]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "model.json").write_text(json.dumps(description))
    (folder / "beside").write_bytes(b"else")
    with pytest.raises(WeightsError, match=rf"decode\.onnx: {match}"):
        load_network(RestoreOptions(model=str(folder), backend=backend))


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": "256"},
        {"image_size": True},
        {"image_size": 10**9},
        {"image_size": 31},
        {"image_size": None},
        {"name": ""},
        {"name": " "},
        {"template": 3},
        {"template": "arcface"},
        {"licence": None},
        {"default_w": 7},
        {"default_w": "half"},
        {"default_w": True},
        {"files": []},
        {"files": {"whole": "x"}},
        {"files": {"whole": {"file": "whole.onnx", "sha256": "zz"}}},
        {"files": {"encode": {"file": "whole.onnx", "sha256": SHA}}},
        {"io": []},
        {"io": {"image": "a"}},
        {"io": {"image": "a", "output": "b", "surprise": 1}},
        {"io": {"image": "", "output": "b"}},
        {"io": {"image": 3, "output": "b"}},
        {"io": {"image": "a", "output": "b", "dtype": "int64"}},
        {"io": {"image": "a", "output": "b", "w_rank": 2}},
        {"task": "enhance"},
        {"task": ["restoration"]},
        {"w": "sometimes"},
    ],
    ids=str,
)
def test_wrong_descriptions(tmp_path, change):
    with pytest.raises(WeightsError, match=r"model\.json: ") as caught:
        read_model(fill(tmp_path, **change))
    assert str(caught.value).count(next(iter(change))) >= 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '"' + "x" * (1 << 20) + '"', "\xff\xfe"])
def test_hostile_descriptions(tmp_path, text):
    (tmp_path / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match=r"model\.json"):
        read_model(tmp_path)


def test_a_cached_model_is_found_by_name_and_folder():
    folder = add("toy")
    info = find_model("toy")
    assert info == find_model(folder)
    assert info.encode == info.decode == folder / "whole.onnx"
    assert list(info.graphs.values()) == [folder / "whole.onnx"]
    assert info.io == GraphIO("input", "output", "float32", "weight", "float64", 1)
    assert (info.task, info.w, info.default_w) == ("restoration", "live", 0.5)
    assert is_named("toy")
    assert is_named(DEFAULT_MODEL)
    assert not is_named("../models/toy")


def test_a_weight_file_is_found_by_its_content(tmp_path):
    file = tmp_path / "net.pth"
    file.write_bytes(b"weights")
    with pytest.raises(ModelNotFoundError, match=r"net\.pth: not imported yet; .*facemend models import"):
        find_model(file)
    digest = hashlib.sha256(b"weights").hexdigest()
    add("toy", source={"sha256": digest}, precision="fp16")
    assert find_model(file).name == "toy"
    assert imported_as(digest) is not None
    assert imported_as(digest, precision="fp16", task=None) is not None
    assert imported_as(digest, precision="fp32") is None
    assert imported_as(digest, task="inpainting") is None
    assert imported_as("0" * 64) is None
    add("zoo", source={"sha256": digest}, task="inpainting")  # one file for two tasks
    assert find_model(file).name == "toy"
    assert find_model(file, "inpainting").name == "zoo"
    with pytest.raises(ModelNotFoundError, match="is for restoration, and a model for colorization"):
        find_model(file, "colorization")


@pytest.mark.parametrize("task", ["colorization", "inpainting"])
def test_the_way_to_a_model_for_a_task(task, monkeypatch):
    """The published file, a row of the catalogue, or what is there."""
    url = rf"https://github\.com/.*/codeformer_{task}\.pth"
    file = (
        rf"bring the published file \({url}, S-Lab License 1\.0 \(non-commercial use only\)\) "
        rf"and use `facemend models import codeformer_{task}\.pth`"
    )
    with pytest.raises(ModelNotFoundError, match=f"no model is there for {task}: {file}"):
        sole_model(task)
    with pytest.raises(
        ModelNotFoundError,
        match=rf"is for restoration.* {task} is needed; use it with `facemend restore`, or {file}",
    ):
        find_model(DEFAULT_MODEL, task)
    row = dataclasses.replace(find_published("codeformer"), name="row", task=task)
    monkeypatch.setattr("facemend.weights.catalog.PUBLISHED", {"row": row})
    with pytest.raises(ModelNotFoundError, match="fetch one with `facemend models get row`"):
        sole_model(task)
    add("toy", task=task)
    assert sole_model(task) == find_model("toy", task).name == "toy"
    with pytest.raises(ModelNotFoundError, match="choose with --model: toy"):
        find_model(DEFAULT_MODEL, task)
    with pytest.raises(ModelNotFoundError, match=f"toy: is for {task}, and a model for rest"):
        find_model("toy")
    add("other", task=task)
    with pytest.raises(ModelNotFoundError, match=r"several models are there .* --model: other, toy"):
        sole_model(task)


def put_together(work, error, match):
    """A model that is not put together to the end."""

    def broken():
        with new_model("toy") as folder:
            fill(folder)
            work(folder)

    with pytest.raises(error, match=match):
        broken()
    return [path.name for path in models_dir().iterdir()]


def test_a_failure_leaves_nothing_and_nothing_half_is_listed():
    def fail(folder):
        fill(folder.parent)  # as another process sees it, or a later one if this is killed now
        assert cached_models() == ([], [])
        raise WeightsError("no")

    assert put_together(fail, WeightsError, "no") == []
    assert put_together(lambda folder: add("toy"), OutputError, "toy: cannot be written") == ["toy"]
    assert find_model("toy").name == "toy"


def test_broken_models_are_told_and_can_be_removed():
    add("good")
    (add("bad") / "model.json").write_text("{")
    found, broken = cached_models()
    assert [model.name for model in found] == ["good"]
    assert len(broken) == 1
    assert "bad/model.json" in str(broken[0]).replace("\\", "/")
    remove_model("bad")
    assert cached_models()[1] == []


def test_remove():
    add("toy")
    add("other")
    for name in ("..", ".", "", "../cache/models/toy", "toy/", "a\0b"):
        with pytest.raises(ModelNotFoundError):
            remove_model(name)
    remove_model("toy")
    assert [path.name for path in models_dir().iterdir()] == ["other"]
    with pytest.raises(ModelNotFoundError, match="toy: no model in the cache"):
        remove_model("toy")
    with pytest.raises(OutputError, match="ships with facemend"):
        remove_model(DEFAULT_MODEL)
    assert find_model(DEFAULT_MODEL).name == DEFAULT_MODEL


def test_a_link_is_removed_and_not_what_it_points_at(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    fill(elsewhere)
    models_dir().mkdir(parents=True)
    (models_dir() / "link").symlink_to(elsewhere, target_is_directory=True)
    remove_model("link")
    assert list(models_dir().iterdir()) == []
    assert (elsewhere / "whole.onnx").is_file()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("codeformer.pth", "codeformer"),
        ("My net (v2).pth", "My-net-v2"),
        ("\u4eba.pth", "model"),
        (f"{DEFAULT_MODEL}.safetensors", f"{DEFAULT_MODEL}-abababab"),
        ("toy.onnx", "toy-abababab"),
        ("x" * 200, "x" * 50),
    ],
)
def test_names_after_files(file, name):
    add("toy")
    assert model_name(None, Path(file), SHA) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("toy", "toy: there is a model of that name already"),
        (DEFAULT_MODEL, "ships with facemend has that name"),
        *((name, "not usable as a name") for name in ("../x", "", ".x", "x" * 65)),
    ],
)
def test_wanted_names(name, message):
    add("toy")
    with pytest.raises(OutputError, match=message):
        model_name(name, Path("net.pth"), SHA)
    assert model_name("mine", Path("net.pth"), SHA) == "mine"

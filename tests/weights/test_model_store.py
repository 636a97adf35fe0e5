"""Models in the user's cache: put in, found, taken out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from facemend.errors import ModelNotFoundError, OutputError, WeightsError
from facemend.photo.options import DEFAULT_MODEL
from facemend.weights.catalog import find_published
from facemend.weights.models import (
    GraphIO,
    cached_models,
    find_model,
    imported_as,
    is_named,
    models_dir,
    read_model,
    sole_model,
)
from facemend.weights.store import model_name, new_model, remove_model

SHA = "ab" * 32


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(folder: Path, **changes: Any) -> None:
    row = {"file": "model.onnx", "sha256": hashlib.sha256(b"graph").hexdigest()}
    (folder / "model.onnx").write_bytes(b"graph")
    data = {
        "name": folder.name,
        "image_size": 64,
        "template": "ffhq",
        "licence": "not stated",
        "description": "a toy",
        "files": {"whole": row},
        "io": {"image": "input", "output": "output", "w": "weight", "w_dtype": "float64", "w_rank": 1},
        "source": {"sha256": SHA},
        **changes,
    }
    (folder / "model.json").write_text(json.dumps(data))


def add(name: str, **changes: Any) -> Path:
    with new_model(name) as folder:
        fill(folder, **changes)
    return models_dir() / name


def test_a_cached_model_is_found_by_name_and_folder() -> None:
    folder = add("toy")
    info = find_model("toy")
    assert info == find_model(folder)
    assert info.encode == info.decode == folder / "model.onnx"
    assert list(info.graphs.values()) == [folder / "model.onnx"]
    assert info.io == GraphIO("input", "output", "float32", "weight", "float64", 1)
    assert (info.task, info.w) == ("restoration", "live")
    assert is_named("toy")
    assert is_named(DEFAULT_MODEL)
    assert not is_named("../models/toy")


def test_a_damaged_graph_is_refused() -> None:
    (add("toy") / "model.onnx").write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"model\.onnx: damaged"):
        find_model("toy")
    assert find_model("toy", check_files=False).name == "toy"


def test_a_weight_file_is_found_by_its_content(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("task", ["colorization", "inpainting"])
def test_another_task_is_refused(task: str) -> None:
    add("toy", task=task)
    with pytest.raises(
        ModelNotFoundError, match=f"toy: is for {task}, and a model for restoration is needed"
    ):
        find_model("toy")
    assert find_model("toy", task).task == task
    with pytest.raises(ModelNotFoundError, match=f"is for restoration, and a model for {task} is needed"):
        find_model(DEFAULT_MODEL, task)


@pytest.mark.parametrize("task", ["colorization", "inpainting"])
def test_the_way_to_a_model_for_a_task(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published file, a row of the catalogue, or what is there."""
    file = rf"bring the published file and use `facemend models import codeformer_{task}\.pth`"
    with pytest.raises(ModelNotFoundError, match=f"no model is there for {task}: {file}"):
        sole_model(task)
    with pytest.raises(ModelNotFoundError, match=rf"use it with `facemend restore`, or {file}"):
        find_model(DEFAULT_MODEL, task)
    row = dataclasses.replace(find_published("codeformer"), name="row", task=task)
    monkeypatch.setattr("facemend.weights.catalog.PUBLISHED", {"row": row})
    with pytest.raises(ModelNotFoundError, match="fetch one with `facemend models get row`"):
        sole_model(task)
    add("toy", task=task)
    assert sole_model(task) == "toy"
    with pytest.raises(ModelNotFoundError, match="choose with --model: toy"):
        find_model(DEFAULT_MODEL, task)
    add("other", task=task)
    with pytest.raises(ModelNotFoundError, match=r"several models are there .* --model: other, toy"):
        sole_model(task)


def test_of_one_file_for_two_tasks_the_right_model_is_found(tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    file.write_bytes(b"weights")
    source = {"sha256": hashlib.sha256(b"weights").hexdigest()}
    add("a", source=source)
    add("b", source=source, task="inpainting")
    assert find_model(file).name == "a"
    assert find_model(file, "inpainting").name == "b"
    with pytest.raises(ModelNotFoundError, match="is for restoration, and a model for colorization"):
        find_model(file, "colorization")


def test_a_failure_leaves_nothing() -> None:
    def broken() -> None:
        with new_model("toy") as folder:
            fill(folder)
            raise WeightsError("no")

    with pytest.raises(WeightsError):
        broken()
    assert list(models_dir().iterdir()) == []


def test_what_is_put_together_is_not_listed() -> None:
    with new_model("toy") as folder:
        fill(folder)
        # As another process sees it, or a later one if this is killed now.
        fill(folder.parent)
        assert cached_models() == ([], [])
    assert [model.name for model in cached_models()[0]] == ["toy"]


def test_a_name_that_is_taken_meanwhile() -> None:
    def late() -> None:
        with new_model("toy") as folder:
            fill(folder)
            add("toy")

    with pytest.raises(OutputError, match="toy: cannot be written"):
        late()
    assert find_model("toy").name == "toy"
    assert [path.name for path in models_dir().iterdir()] == ["toy"]


def test_broken_models_are_told_and_can_be_removed() -> None:
    add("good")
    (add("bad") / "model.json").write_text("{")
    found, broken = cached_models()
    assert [model.name for model in found] == ["good"]
    assert len(broken) == 1
    assert "bad/model.json" in str(broken[0]).replace("\\", "/")
    remove_model("bad")
    assert cached_models()[1] == []


def test_remove() -> None:
    add("toy")
    add("other")
    remove_model("toy")
    assert [path.name for path in models_dir().iterdir()] == ["other"]
    with pytest.raises(ModelNotFoundError, match="toy: no model in the cache"):
        remove_model("toy")
    with pytest.raises(OutputError, match="ships with facemend"):
        remove_model(DEFAULT_MODEL)
    assert find_model(DEFAULT_MODEL).name == DEFAULT_MODEL


@pytest.mark.parametrize("name", ["..", ".", "", "../cache/models/toy", "toy/", "a\0b"])
def test_only_a_name_is_removed(name: str) -> None:
    add("toy")
    with pytest.raises(ModelNotFoundError):
        remove_model(name)
    assert is_named("toy")


def test_a_link_is_removed_and_not_what_it_points_at(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    fill(elsewhere)
    models_dir().mkdir(parents=True)
    (models_dir() / "link").symlink_to(elsewhere, target_is_directory=True)
    remove_model("link")
    assert list(models_dir().iterdir()) == []
    assert (elsewhere / "model.onnx").is_file()


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
def test_names_after_files(file: str, name: str) -> None:
    add("toy")
    assert model_name(None, Path(file), SHA) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("toy", "toy: there is a model of that name already"),
        (DEFAULT_MODEL, "ships with facemend has that name"),
        ("../x", "not usable as a name"),
        ("", "not usable as a name"),
        (".x", "not usable as a name"),
        ("x" * 65, "not usable as a name"),
    ],
)
def test_wanted_names(name: str, message: str) -> None:
    add("toy")
    with pytest.raises(OutputError, match=message):
        model_name(name, Path("net.pth"), SHA)
    assert model_name("mine", Path("net.pth"), SHA) == "mine"


@pytest.mark.parametrize(
    "change",
    [
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
        {"files": {"encode": {"file": "model.onnx", "sha256": SHA}}},
    ],
)
def test_wrong_descriptions(tmp_path: Path, change: dict[str, Any]) -> None:
    fill(tmp_path, **change)
    with pytest.raises(WeightsError, match=r"model\.json"):
        read_model(tmp_path)

"""Shared by the tests of whole runs: a tiny model on disk, a photo with a face."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from facemend.imaging import Picture, read_picture
from facemend.weights.models import DESCRIPTION_FILE

TINY_SIZE = 64

# A machine with much else to do is no error; what hangs ends at the time limit of pytest.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def _save_graphs(folder: Path, tint: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
    """encode: z = image. decode: restored = z (0.5 + 0.5 w) + tint: w = 0 halves the contrast."""
    from onnx import TensorProto, checker, helper, save

    def graph(name, nodes, inputs, outputs, constants=()):
        model = helper.make_model(
            helper.make_graph(nodes, name, inputs, outputs, list(constants)),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=9,
        )
        checker.check_model(model)
        save(model, folder / f"{name}.onnx")

    faces = ["N", 3, TINY_SIZE, TINY_SIZE]
    info = helper.make_tensor_value_info
    graph(
        "encode",
        [helper.make_node("Identity", ["image"], ["z"])],
        [info("image", TensorProto.FLOAT, faces)],
        [info("z", TensorProto.FLOAT, faces)],
    )
    graph(
        "decode",
        [
            helper.make_node("Reshape", ["w", "shape"], ["each"]),
            helper.make_node("Mul", ["each", "half"], ["part"]),
            helper.make_node("Add", ["part", "half"], ["factor"]),
            helper.make_node("Mul", ["z", "factor"], ["plain"]),
            helper.make_node("Add", ["plain", "tint"], ["restored"]),
        ],
        [info("z", TensorProto.FLOAT, faces), info("w", TensorProto.FLOAT, ["N"])],
        [info("restored", TensorProto.FLOAT, faces)],
        [
            helper.make_tensor("shape", TensorProto.INT64, [4], [-1, 1, 1, 1]),
            helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
            helper.make_tensor("tint", TensorProto.FLOAT, [1, 3, 1, 1], tint),
        ],
    )


def _save_model(folder: Path, task: str, tint: tuple[float, float, float]) -> Path:
    folder.mkdir()
    _save_graphs(folder, tint)
    files = {}
    for name in ("encode", "decode"):
        file = folder / f"{name}.onnx"
        files[name] = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    description = {
        "name": folder.name,
        "image_size": TINY_SIZE,
        "template": "ffhq",
        "task": task,
        "files": files,
        "licence": "Apache-2.0",
        "description": "changes contrast and tint; for tests",
        "default_w": 0.5,
    }
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description), encoding="utf-8")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: of two workers none should be left alone with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model that onnxruntime runs in a millisecond."""
    return _save_model(tmp_path_factory.mktemp("models") / "tiny", "restoration", (0.0, 0.0, 0.0))


@pytest.fixture(scope="session")
def task_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes the folder of such a model for another task, which adds a tint to its [-1, 1] pictures."""

    def make(task: str, tint: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Path:
        return _save_model(tmp_path_factory.mktemp("models") / "tiny", task, tint)

    return make


def save_whole_graph(
    path: Path,
    *,
    w: str | None = "weight",
    w_type: str = "DOUBLE",
    w_shape: tuple[int, ...] = (1,),
    image: str = "input",
    image_type: str = "FLOAT",
    shape: tuple[int | str, ...] = (1, 3, TINY_SIZE, TINY_SIZE),
    factor: float = 0.5,
    uses_w: bool = True,
) -> Path:
    """One graph as others publish it: output = input (factor + factor w), for w = 1 where there is no w."""
    from onnx import TensorProto, checker, helper, save

    info = helper.make_tensor_value_info
    kind = getattr(TensorProto, image_type)
    inputs = [info(image, kind, list(shape))]
    constants = [helper.make_tensor("factor", kind, [], [factor])]
    if w is not None:
        inputs.append(info(w, getattr(TensorProto, w_type), list(w_shape)))
    if w is not None and uses_w:
        nodes = [helper.make_node("Cast", [w], ["w_cast"], to=kind)]
    else:
        constants.append(helper.make_tensor("one", kind, [], [1.0]))
        nodes = [helper.make_node("Identity", ["one"], ["w_cast"])]
    nodes += [
        helper.make_node("Mul", ["w_cast", "factor"], ["part"]),
        helper.make_node("Add", ["part", "factor"], ["whole"]),
        helper.make_node("Mul", [image, "whole"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "whole", inputs, [info("output", kind, list(shape))], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, path)
    return path


@pytest.fixture(scope="session")
def whole_graph() -> Callable[..., Path]:
    """Saves a single-graph model that runs in a millisecond."""
    return save_whole_graph


@pytest.fixture(scope="session")
def portrait() -> Picture:
    """A public-domain portrait, 320 x 400, one face."""
    return read_picture(Path(__file__).parent / "data/portrait.jpg").resized(0.5)


@pytest.fixture
def photo(tmp_path: Path, portrait: Picture) -> Path:
    """That portrait as a JPEG file."""
    from facemend.imaging import write_picture

    path = tmp_path / "photo.jpg"
    write_picture(path, portrait)
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def browser():
    """Chromium, for one file at most: playwright keeps an event loop in this thread, which others mind."""
    chromium = shutil.which("chromium")
    if chromium is None:  # scripts/test installs it where it may; elsewhere all but the page can be tested
        pytest.skip("no Chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the pip package playwright")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()

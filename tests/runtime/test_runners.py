from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from facemend.errors import BackendError
from facemend.photo.options import DEFAULT_MODEL
from facemend.runtime.cores import usable_cores
from facemend.runtime.devices import Device
from facemend.runtime.onnx import OnnxRunner
from facemend.runtime.runner import Runner
from facemend.weights.catalog import asset_path
from facemend.weights.models import find_model
from fake_runner import FakeRunner

IMAGE = np.zeros((1, 3, 24, 24), np.float32)


def test_onnx_runner_runs_a_graph_with_a_dynamic_batch() -> None:
    runner = OnnxRunner(asset_path("rnet"), threads=1)
    assert isinstance(runner, Runner)
    assert runner.input_names == ("image",)
    assert runner.output_names == ("probability", "offsets")
    rng = np.random.default_rng(0)
    batch = rng.uniform(-1, 1, (5, 3, 24, 24)).astype(np.float32)
    whole = runner.run({"image": batch})
    assert whole["offsets"].shape == (5, 4)
    assert ((whole["probability"] >= 0) & (whole["probability"] <= 1)).all()
    single = runner.run({"image": batch[3:4]})
    np.testing.assert_allclose(single["offsets"][0], whole["offsets"][3], atol=1e-5)
    assert runner.run({"image": batch[:0]})["offsets"].shape == (0, 4)


def test_threads_share_a_runner() -> None:
    runner = OnnxRunner(asset_path("rnet"), threads=1)
    want = runner.run({"image": IMAGE})["probability"]
    results: list[np.ndarray] = []
    workers = [
        threading.Thread(target=lambda: results.append(runner.run({"image": IMAGE})["probability"]))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 4
    assert all((result == want).all() for result in results)


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"picture": IMAGE},
        {"image": IMAGE, "w": IMAGE},
        {"image": IMAGE[0]},
        {"image": IMAGE[:, :2]},
        {"image": IMAGE.astype(np.float64)},
        {"image": "text"},
    ],
)
def test_wrong_inputs_name_the_file(inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(BackendError, match=r"rnet\.onnx") as caught:
        OnnxRunner(asset_path("rnet"), threads=1).run(inputs)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_graphs(tmp_path: Path) -> None:
    graph = asset_path("rnet").read_bytes()
    for name, content in {"empty": b"", "text": b"hello" * 100, "cut": graph[: len(graph) // 2]}.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(BackendError, match=name):
            OnnxRunner(path)
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(BackendError, match="no such file"):
            OnnxRunner(path)


def test_bad_settings() -> None:
    with pytest.raises(BackendError, match="threads"):
        OnnxRunner(asset_path("rnet"), threads=0)
    with pytest.raises(BackendError, match="NoSuchProvider"):
        OnnxRunner(asset_path("rnet"), device=Device("none", "NoSuchProvider", "nothing"))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no CPU affinity")
def test_usable_cores_respects_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 3, 5})
    assert usable_cores() == 3


def test_fake_runner() -> None:
    fake = FakeRunner(lambda arrays: {"y": arrays["x"] * 2}, ["x"], ["y"])
    assert isinstance(fake, Runner)
    assert fake.run({"x": np.array(3)})["y"] == 6
    with pytest.raises(BackendError):
        fake.run({"z": np.array(3)})
    with pytest.raises(BackendError):
        FakeRunner(lambda arrays: {}, ["x"], ["y"]).run({"x": np.array(3)})


def test_a_path_of_odd_bytes(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/mod\xe8le.onnx"))
    shutil.copyfile(find_model(DEFAULT_MODEL).decode, odd)
    assert OnnxRunner(odd).input_names == OnnxRunner(find_model(DEFAULT_MODEL).decode).input_names

"""Choosing hardware, with an onnxruntime that has what a test says."""

from __future__ import annotations

import logging

import onnxruntime
import pytest

from facemend.errors import BackendError
from facemend.photo.networks import Networks
from facemend.photo.options import RestoreOptions
from facemend.runtime.devices import DEVICES, available, find_device
from facemend.runtime.onnx import open_graphs
from facemend.weights.catalog import asset_path

CPU, CUDA, TENSORRT, COREML = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt", "CoreML"))
PATHS = [asset_path("rnet"), asset_path("onet")]


class Machine:
    """Stands for onnxruntime: providers that it reports, those that start, and those that refuse a graph."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.real = onnxruntime.InferenceSession
        self.reported = [CPU]
        self.dead: set[str] = set()  # left out by onnxruntime with a message, as when a driver is missing
        self.refused: dict[str, str] = {}  # provider -> part of the name of the graph that it cannot load
        self.sessions: list[tuple[str, list[object]]] = []
        self.spinning: list[str] = []
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(self.reported))
        monkeypatch.setattr(onnxruntime, "InferenceSession", self.session)

    def session(self, path, sess_options, providers):
        names = [name for name, *_ in (p if isinstance(p, tuple) else (p,) for p in providers)]
        self.sessions.append((path, list(providers)))
        self.spinning.append(sess_options.get_session_config_entry("session.intra_op.allow_spinning"))
        for name in names:
            if name in self.refused and self.refused[name] in path:
                raise RuntimeError(f"{name} has no such operator\nand more lines")
        real = self.real(path, sess_options=sess_options, providers=[CPU])
        real.get_providers = lambda: [name for name in names if name not in self.dead]
        return real


@pytest.fixture
def machine(monkeypatch) -> Machine:
    return Machine(monkeypatch)


def test_auto_takes_the_best_that_is_there(machine):
    machine.reported = [COREML, CUDA, CPU]
    opened = open_graphs(PATHS)
    assert (opened.device, opened.notes, len(opened.runners)) == ("cuda", (), 2)
    for _, providers in machine.sessions:
        assert [providers[0][0], providers[1]] == [CUDA, CPU]


def test_auto_with_nothing_but_a_cpu_has_nothing_to_tell(machine):
    opened = open_graphs(PATHS)
    assert (opened.device, opened.notes) == ("cpu", ())


@pytest.mark.parametrize("fault", ["dead", "refused"])
def test_auto_falls_back_with_one_note(machine, caplog, fault):
    """The second graph is the one that does not open: the first must not stay on the card alone."""
    machine.reported = [CUDA, CPU]
    if fault == "dead":
        machine.dead = {CUDA}
    else:
        machine.refused = {CUDA: "onet"}
    with caplog.at_level(logging.WARNING):
        opened = open_graphs(PATHS, threads=1)
    assert opened.device == "cpu"
    (note,) = opened.notes
    assert note.startswith("cuda does not work (")
    assert note.endswith("): going on with cpu")
    assert "\n" not in note
    assert [record.message for record in caplog.records] == [note]
    assert [providers[0][0] for _, providers in machine.sessions[-2:]] == [CPU, CPU]


def test_auto_never_takes_what_needs_minutes_to_start(machine):
    machine.reported = [TENSORRT, CPU]
    assert open_graphs(PATHS).device == "cpu"
    assert open_graphs(PATHS, "tensorrt").device == "tensorrt"


def test_graphs_of_changing_shape_go_where_they_do_well(machine):
    machine.reported = [COREML, CPU]
    assert open_graphs(PATHS).device == "coreml"
    assert open_graphs(PATHS, any_shape=True).device == "cpu"
    assert machine.spinning == ["1", "1", "0", "0"]  # their threads leave the cores to the rest


@pytest.mark.parametrize("device", [d for d in DEVICES if d.name != "cpu"], ids=lambda device: device.name)
def test_a_named_device_that_is_not_there_says_what_brings_it(machine, device):
    with pytest.raises(BackendError, match=rf"device {device.name} is not there.*comes with") as caught:
        open_graphs(PATHS, device.name)
    assert device.package in str(caught.value)
    assert not machine.sessions


def test_a_named_device_that_does_not_start_is_an_error(machine):
    machine.reported, machine.dead = [CUDA, CPU], {CUDA}
    with pytest.raises(BackendError, match=r"rnet\.onnx: CUDAExecutionProvider does not start; it needs"):
        open_graphs(PATHS, "cuda")


def test_unknown_names(machine):
    with pytest.raises(BackendError, match=r"no device 'gpu'; there are: auto, tensorrt, cuda"):
        find_device("gpu")
    machine.reported = ["AzureExecutionProvider"]
    assert available() == []
    with pytest.raises(BackendError, match="install onnxruntime again"):
        open_graphs(PATHS)


def test_a_broken_graph_is_no_matter_of_devices(machine, tmp_path):
    """The last candidate's own error is told: falling back cannot help."""
    machine.reported = [CUDA, CPU]
    with pytest.raises(BackendError, match="no such file"):
        open_graphs([tmp_path / "none.onnx"])


def test_the_note_is_in_every_result(machine, tiny_model, portrait):
    from facemend.photo.restore import Restorer

    machine.reported, machine.dead = [CUDA, CPU], {CUDA}
    restorer = Restorer(model=str(tiny_model), threads=1)
    assert restorer.device == "cpu"
    assert len(restorer.notes) == 1
    assert restorer.restore(portrait).notes == restorer.notes


def test_the_detector_follows_the_network(machine, tiny_model):
    machine.reported = [CUDA, CPU]
    for device, expected in (("cpu", CPU), ("cuda", CUDA)):
        machine.sessions.clear()
        Networks.load(RestoreOptions(model=str(tiny_model), device=device))
        used = {providers[0][0] for path, providers in machine.sessions if "net.onnx" in path}
        assert used == {expected}

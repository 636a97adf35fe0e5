"""The check between graphs and network finds what it is there to find."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch

import facemend.convert.export as export_room
import facemend.convert.parity as parity_room
from facemend.convert.export import ExportOptions, Parity, export_model
from facemend.convert.parity import measure_parity
from facemend.errors import WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint, save_checkpoint

SIDE = 64


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (2, 3, SIDE, SIDE)).astype(np.float32)


def measure(net, folder, images) -> Parity:
    return measure_parity(net, folder / "encode.onnx", folder / "decode.onnx", images, adain=False)


def test_one_graph_and_one_picture_at_a_time(net, full, images, monkeypatch):
    """That is what keeps large networks within the memory of a usual machine."""
    alive, batches = [], []

    class Watched(parity_room.OnnxRunner):
        def run(self, inputs):
            gc.collect()
            batches.append({len(value) for value in inputs.values()})
            assert [ref() for ref in alive if ref() is not None] == [self]
            return super().run(inputs)

        def __init__(self, path):
            super().__init__(path)
            alive.append(weakref.ref(self))

    usual = measure(net, full[0], images)
    monkeypatch.setattr(parity_room, "OnnxRunner", Watched)
    assert measure(net, full[0], images) == usual
    assert len(alive) == 2
    assert batches == [{1}] * (2 + 2 * 3)


def test_figures_are_those_of_all_pictures(net, full, images):
    """Means of the pictures' own figures, and the largest of them."""
    both = measure(net, full[0], images)
    first, second = (measure(net, full[0], images[i : i + 1]) for i in range(2))
    assert both.mean == pytest.approx((first.mean + second.mean) / 2)
    assert both.w_effect == pytest.approx((first.w_effect + second.w_effect) / 2)
    assert both.largest == max(first.largest, second.largest)


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("decoder.out.bias", "largest"),
        ("fusion.16.shift.2.bias", "largest"),
        ("transformer.head.weight", "codes"),
    ],
)
def test_one_changed_tensor_is_noticed(net, full, images, name, figure):
    other = copy.deepcopy(net)
    with torch.no_grad():
        parameter = other.get_parameter(name)
        parameter.copy_(parameter.flip(0) + 0.1)
    parity = measure(other, full[0], images)
    if figure == "largest":
        assert parity.largest > 2e-3
        assert parity.codes == 1
    else:
        assert parity.codes < 0.97
        assert parity.largest < 1e-4  # compared on the graphs' own codes
        assert parity.mean > 1e-4


def test_weights_whose_results_are_no_numbers(checkpoint, exported_before, tmp_path):
    """Finite, and yet good for nothing."""
    found = load_checkpoint(checkpoint)
    state = {k: value * 1e30 if k.startswith("decoder.") else value for k, value in found.state.items()}
    save_checkpoint(tmp_path / "wild.safetensors", state, found.config, found.info)
    with pytest.raises(WeightsError, match="the network gives values that are not numbers"):
        export_model(tmp_path / "wild.safetensors", tmp_path / "out", ExportOptions())


@pytest.mark.parametrize(
    "bad",
    [
        Parity(codes=0.9, largest=0.0, mean=0.0, w_effect=0.1),
        Parity(codes=1.0, largest=0.1, mean=0.0, w_effect=0.1),
        Parity(codes=1.0, largest=0.0, mean=0.0, w_effect=0.0),
        Parity(codes=1.0, largest=float("nan"), mean=0.0, w_effect=0.1),
    ],
    ids=["codes", "pictures", "frozen w", "nan"],
)
def test_graphs_that_do_not_agree_are_not_written(checkpoint, exported_before, tmp_path, monkeypatch, bad):
    """The slow exporter is left out; its check and what follows are real."""
    monkeypatch.setattr(export_room, "measure_parity", lambda *arguments: bad)
    with pytest.raises(WeightsError, match=r"do not agree|w changes nothing"):
        export_model(checkpoint, tmp_path / "out", ExportOptions(precision="fp32"))
    assert list(tmp_path.iterdir()) == []

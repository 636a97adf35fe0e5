"""The diagnosis in graphs: what torch says, nothing else changed, in int8 too, and back out of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facemend.convert import int8
from facemend.convert.export import ExportOptions, export_model
from facemend.convert.int8 import quantize_model
from facemend.convert.recover import recover_checkpoint
from facemend.convert.targets.one_graph import one_graph
from facemend.imaging import Picture, write_picture
from facemend.networks.codeformer.checkpoint import load_checkpoint, save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.predictors.restorer import FaceRestorer
from facemend.runtime.torch_runner import open_network
from facemend.types import Diagnosis
from facemend.weights.models import read_model


@pytest.fixture(scope="module")
def headed(checkpoint, once):
    """The checkpoint with a head, and its export."""

    def make(folder):
        torch.manual_seed(3)
        plain = load_checkpoint(checkpoint)
        config = replace(plain.config, diagnosis=12)
        state = {k: v + 0.01 * torch.randn(v.shape) for k, v in CodeFormer(config).state_dict().items()}
        save_checkpoint(folder / "model.safetensors", state | plain.state, config, plain.info)
        export_model(folder / "model.safetensors", folder / "model", ExportOptions(precision="fp16"))

    return once("headed", make)


def crops(count):
    coarse = np.random.default_rng(5).random((count, 8, 8, 3), np.float32)
    return coarse.repeat(8, 1).repeat(8, 2)


def test_the_graph_says_what_torch_says_and_the_rest_is_as_without(headed, half):
    graphs = FaceRestorer.open(read_model(headed / "model"), threads=1)
    assert graphs.diagnoses
    with_head, without = graphs.encode(crops(3)), FaceRestorer.open(read_model(half.folder)).encode(crops(3))
    for name, array in without.outputs.items():
        np.testing.assert_array_equal(with_head.outputs[name], array)
    opened, side = open_network(headed / "model.safetensors", "cpu")
    by_torch = FaceRestorer(*opened.runners, side).encode(crops(3))
    assert with_head.diagnosis.shape == (3, Diagnosis.COUNT)
    np.testing.assert_allclose(with_head.diagnosis, by_torch.diagnosis, rtol=0.02, atol=0.02)
    assert np.ptp(with_head.diagnosis, axis=0).max() > 0.05
    np.testing.assert_array_equal(graphs.decode(with_head, 0.3), graphs.decode(without, 0.3))


def test_a_graph_for_others_is_as_without(headed, half):
    """They know nothing of a diagnosis: it is left out."""
    one, other = (one_graph(read_model(folder)) for folder in (headed / "model", half.folder))
    assert [value.name for value in one.graph.output] == [value.name for value in other.graph.output]
    assert len(one.graph.node) == len(other.graph.node)


def test_int8_says_nearly_the_same(headed, tmp_path, monkeypatch):
    faces = tmp_path / "faces"
    faces.mkdir()
    for number, crop in enumerate(crops(4)):
        write_picture(faces / f"{number}.png", Picture.from_array(crop))
    monkeypatch.setattr(int8, "LEAST_CODES", 0.0)  # codes of untrained weights flip at a touch
    quantize_model(read_model(headed / "model"), faces, tmp_path / "small")
    said = [
        FaceRestorer.open(read_model(folder), threads=1).encode(crops(3)).diagnosis
        for folder in (headed / "model", tmp_path / "small")
    ]
    np.testing.assert_allclose(said[1], said[0], rtol=0.1, atol=0.1)


@pytest.mark.long
def test_it_comes_back(headed):
    found = recover_checkpoint(headed / "model")
    original = load_checkpoint(headed / "model.safetensors")
    assert found.config == original.config
    for name, value in original.state.items():
        if name.startswith("diagnosis."):
            torch.testing.assert_close(found.state[name], value, atol=1e-3, rtol=1e-3)

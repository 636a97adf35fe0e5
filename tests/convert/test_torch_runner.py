"""The torch backend gives the graphs' numbers."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from facemend.errors import BackendError, ConfigError, MissingExtraError, WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint
from facemend.networks.codeformer.config import preset
from facemend.photo.networks import Networks, load_network
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import Restorer
from facemend.predictors.restorer import FaceRestorer
from facemend.runtime import torch_runner
from facemend.runtime.runner import Runner
from facemend.runtime.torch_runner import open_network
from facemend.weights.models import read_model

SIDE = 64


def crops(count: int) -> np.ndarray:
    coarse = np.random.default_rng(5).random((count, 8, 8, 3), np.float32)
    return coarse.repeat(8, 1).repeat(8, 2)


def by_torch(model, **options) -> FaceRestorer:
    return load_network(RestoreOptions(model=str(model), backend="torch", device="cpu", **options))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "torch-cache"
    monkeypatch.setenv("FACEMEND_CACHE", str(folder))
    return folder


@pytest.mark.parametrize("w", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 3])
def test_a_checkpoint_gives_the_numbers_of_its_graphs(half, checkpoint, count, w):
    """`half` has AdaIN and weights rounded to float16; so has neither code nor picture to move far."""
    graphs, network = FaceRestorer.open(read_model(half.folder), threads=1), by_torch(checkpoint)
    assert network.device == "cpu"
    one, other = graphs.encode(crops(count)), network.encode(crops(count))
    assert one.outputs.keys() == other.outputs.keys()
    assert (one.outputs["codes"] == other.outputs["codes"]).mean() > 0.97
    assert other.outputs["codes"].dtype == np.int64
    # Given the same codes: one flipped code would change a whole patch.
    np.testing.assert_allclose(graphs.decode(one, w), network.decode(one, w), atol=2e-2)


def test_a_model_folder_gives_its_own_numbers(full, checkpoint, cache, monkeypatch):
    """Float32 graphs without AdaIN: equal to rounding. The weights are recovered once, then read.

    That they come back right is tested with `recover` itself, which is slow.
    """
    asked = []

    def recover(folder):
        asked.append(folder)
        return load_checkpoint(checkpoint)

    monkeypatch.setattr("facemend.convert.recover.recover_checkpoint", recover)
    graphs, network = FaceRestorer.open(read_model(full[0]), threads=1), by_torch(full[0])
    known = graphs.encode(crops(2))
    assert (known.outputs["codes"] == network.encode(crops(2)).outputs["codes"]).all()
    for w in (0.0, 0.5):
        np.testing.assert_allclose(graphs.decode(known, w), network.decode(known, w), atol=1e-4)
    by_torch(full[0])
    assert asked == [full[0]]
    assert len(list((cache / "recovered").glob("*.safetensors"))) == 1


def test_bf16_is_near_and_not_the_same(checkpoint):
    network, short = by_torch(checkpoint), by_torch(checkpoint, precision="bf16")
    known = network.encode(crops(1))
    exact, rounded = network.decode(known, 0.5), short.decode(known, 0.5)
    assert rounded.dtype == np.float32
    assert 1e-5 < np.abs(exact - rounded).max() < 0.1


@pytest.mark.parametrize("has", [True, False])
def test_bf16_without_instructions_for_it_has_a_note(checkpoint, monkeypatch, has):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has)
    for precision in ("fp32", "bf16"):
        notes = open_network(checkpoint, "cpu", precision=precision)[0].notes
        assert any("bf16" in note for note in notes) is (precision == "bf16" and not has)


def test_a_whole_photo(checkpoint, portrait):
    result = Restorer(model=str(checkpoint), backend="torch", device="cpu", threads=1).restore(portrait)
    assert len(result.faces) == 1
    assert result.picture.pixels.shape == portrait.pixels.shape


def test_runners_name_what_is_wrong(checkpoint):
    opened, _ = open_network(checkpoint, "cpu")
    encode, _ = opened.runners
    assert isinstance(encode, Runner)
    for inputs in ({}, {"image": np.zeros((1, 4, SIDE, SIDE), np.float32)}, {"picture": np.zeros(1)}):
        with pytest.raises(BackendError, match="torch network") as caught:
            encode.run(inputs)
        assert "\n" not in str(caught.value)


def test_devices(checkpoint, monkeypatch):
    present = {"cuda": False, "mps": False, "cpu": True}
    monkeypatch.setattr(torch_runner, "_PRESENT", {name: lambda n=name: present[n] for name in present})
    assert open_network(checkpoint)[0].device == "cpu"
    assert open_network(checkpoint)[0].notes == ()
    with pytest.raises(BackendError, match=r"device cuda is not there \(torch here has: cpu\)"):
        open_network(checkpoint, "cuda")


def test_a_card_that_does_not_take_the_network(checkpoint, monkeypatch, caplog):
    """This torch has no CUDA: saying that there is a card makes the move to it fail, as a full one does."""
    here = {"cuda": True, "mps": False, "cpu": True}
    monkeypatch.setattr(torch_runner, "_PRESENT", {name: lambda n=name: here[n] for name in here})

    def refuse(net, device):
        if device == "cuda":
            raise RuntimeError("CUDA out of memory\nand more lines")
        return net

    monkeypatch.setattr(torch.nn.Module, "to", refuse)
    opened, _ = open_network(checkpoint)
    (note,) = opened.notes
    assert opened.device == "cpu"
    assert note == "cuda does not work (CUDA out of memory and more lines): going on with cpu"
    assert note in caplog.text
    with pytest.raises(BackendError, match="--device cpu"):
        open_network(checkpoint, "cuda")


def test_models_that_torch_cannot_run(half, tmp_path, monkeypatch):
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"bad\.safetensors"):
        open_network(tmp_path / "bad.safetensors")
    sizes = json.loads(json.dumps(preset("tiny").to_dict()))
    for number in (10**7, 10**13):  # there is no room made for them
        sizes["autoencoder"]["codebook_size"] = number
        header = {"config": json.dumps(sizes), "info": "{}"}
        save_file({"a": torch.zeros(1)}, tmp_path / "big.safetensors", metadata=header)
        with pytest.raises(WeightsError, match=r"big\.safetensors: codebook_size is"):
            open_network(tmp_path / "big.safetensors")
    sizes["autoencoder"]["codebook_size"] = 60_000
    for info, message in (("{}", "does not fit the network"), ("[]", "its record is no table")):
        header = {"config": json.dumps(sizes), "info": info}
        save_file({"a": torch.zeros(1)}, tmp_path / "bad.safetensors", metadata=header)
        with pytest.raises(WeightsError, match=message):
            open_network(tmp_path / "bad.safetensors")
    monkeypatch.setattr("facemend.errors.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"backend torch needs extra packages: .*\[export\]"):
        Networks.load(RestoreOptions(model=str(half.folder), backend="torch"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "mps"}, "device must be one of auto, tensorrt, .* with backend onnx"),
        (
            {"backend": "torch", "device": "directml"},
            "device must be one of auto, cuda, mps, cpu with backend torch",
        ),
        ({"precision": "bf16"}, "precision must be fp32 with onnx"),
        ({"backend": "tf"}, "backend must be onnx or torch"),
    ],
)
def test_combinations_that_do_not_exist(options, message):
    with pytest.raises(ConfigError, match=message):
        RestoreOptions(**options)

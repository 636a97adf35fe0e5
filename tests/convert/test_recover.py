"""Weights come back out of an exported model."""

import json
import shutil

import pytest
import torch

from facemend.convert import recover as module
from facemend.convert.recover import model_checkpoint, recover_checkpoint
from facemend.errors import WeightsError
from facemend.files import file_sha256
from facemend.networks.codeformer.checkpoint import load_checkpoint
from facemend.weights.models import read_model


@pytest.mark.parametrize(
    "precision", [pytest.param("fp32", marks=pytest.mark.long), pytest.param("fp16", marks=pytest.mark.long)]
)
def test_weights_come_back(checkpoint, half, full, precision):
    recovered = recover_checkpoint(half.folder if precision == "fp16" else full[0])
    original = load_checkpoint(checkpoint)
    assert recovered.config == original.config
    assert recovered.info == original.info
    assert recovered.state.keys() == original.state.keys()
    rounded = 0
    for name, value in original.state.items():
        exact = torch.equal(recovered.state[name], value)
        assert exact or torch.equal(recovered.state[name], value.half().float()), name
        rounded += not exact
    assert (rounded > 0) == (precision == "fp16")


def test_another_models_checkpoint_is_not_taken(checkpoint, full, tmp_path, monkeypatch):
    """It lies there since the folder was written over, say."""
    monkeypatch.setattr(module, "recover_checkpoint", lambda folder: load_checkpoint(checkpoint))
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(full[0], tmp_path / "model")
    stale = folder / "model.safetensors"
    stale.write_bytes(b"of another model")
    assert model_checkpoint(read_model(folder)).parent == tmp_path / "cache/recovered"
    said = json.loads((folder / "model.json").read_text())
    row = {"file": stale.name, "sha256": file_sha256(checkpoint)}
    (folder / "model.json").write_text(json.dumps({**said, "weights": row}))
    assert model_checkpoint(read_model(folder)).parent == tmp_path / "cache/recovered"
    shutil.copyfile(checkpoint, stale)
    assert model_checkpoint(read_model(folder)) == stale


def test_sizes_that_the_graphs_cannot_hold(full, tmp_path):
    folder = shutil.copytree(full[0], tmp_path / "model")
    said = json.loads((folder / "model.json").read_text())
    for layers, message in ((64, "its graphs hold less"), (10**9, "layers is")):
        said["config"]["layers"] = layers
        (folder / "model.json").write_text(json.dumps(said))
        with pytest.raises(WeightsError, match=message):
            recover_checkpoint(folder)


def test_a_graph_of_others_has_no_weights_to_take_back(full, tmp_path):
    folder = shutil.copytree(full[0], tmp_path / "model")
    said = json.loads((folder / "model.json").read_text())
    del said["config"]
    (folder / "model.json").write_text(json.dumps(said))
    with pytest.raises(WeightsError, match=r"imported as a graph"):
        recover_checkpoint(folder)


LONG = pytest.param("other graphs", marks=pytest.mark.long)  # another export


@pytest.mark.parametrize("damage", ["no description", "no graph", LONG])
def test_other_folders_are_refused(full, tmp_path, damage):
    folder = shutil.copytree(full[0], tmp_path / "model")
    if damage == "no description":
        (folder / "model.json").unlink()
    elif damage == "no graph":
        (folder / "decode.onnx").write_bytes(b"not a graph")
    else:
        description = json.loads((folder / "model.json").read_text())
        description["config"]["width"] *= 2
        (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(WeightsError, match="model"):
        recover_checkpoint(folder)

"""Weights come back out of an exported model."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from facemend.convert.export import ExportOptions, export_model
from facemend.convert.recover import recover_checkpoint
from facemend.errors import WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def trained(checkpoint, tmp_path_factory) -> Path:
    """As if trained: the exporter drops norms that still hold ones and zeros."""
    loaded = load_checkpoint(checkpoint)
    generator = torch.Generator().manual_seed(3)
    state = {
        name: value + 0.05 * torch.randn(value.shape, generator=generator)
        for name, value in loaded.state.items()
    }
    path = tmp_path_factory.mktemp("trained") / "model.safetensors"
    save_checkpoint(path, state, loaded.config, loaded.info)
    return path


@pytest.mark.parametrize("precision", [pytest.param("fp32", marks=pytest.mark.long), "fp16"])
def test_weights_come_back(trained, tmp_path, precision):
    export_model(trained, tmp_path / "model", ExportOptions(precision=precision, adain=precision == "fp16"))
    recovered, original = recover_checkpoint(tmp_path / "model"), load_checkpoint(trained)
    assert recovered.config == original.config
    assert recovered.state.keys() == original.state.keys()
    rounded = 0
    for name, value in original.state.items():
        exact = torch.equal(recovered.state[name], value)
        assert exact or torch.equal(recovered.state[name], value.half().float()), name
        rounded += not exact
    assert (rounded > 0) == (precision == "fp16")


@pytest.mark.parametrize("damage", ["no description", "other graphs", "no graph"])
def test_other_folders_are_refused(full, tmp_path, damage):
    folder = tmp_path / "model"
    shutil.copytree(full[0], folder)
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

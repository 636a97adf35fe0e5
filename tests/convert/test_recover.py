"""Weights come back out of an exported model."""

import json
import shutil

import pytest
import torch

from facemend.convert.recover import recover_checkpoint
from facemend.errors import WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint


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

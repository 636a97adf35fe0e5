"""The architecture of integrations/spandrel: spandrel's loader gives our network, number for number."""

import dataclasses
import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch

from facemend.errors import WeightsError
from facemend.evaluation import peers
from facemend.networks.codeformer.checkpoint import save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import preset

SOURCE = Path(__file__).parents[2] / "integrations/spandrel/facemend_spandrel.py"


@pytest.fixture(scope="module")
def ours():
    """The module, its architecture in a registry of its own."""
    if os.environ.get("FACEMEND_NO_ORACLE") == "1":
        # scripts/test installs it; who runs tests where it cannot be had says so, as in tests/networks.
        pytest.skip("FACEMEND_NO_ORACLE=1: no spandrel")
    spandrel, _ = peers._import_spandrel()
    spec = importlib.util.spec_from_file_location("facemend_spandrel", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["facemend_spandrel"] = module
    spec.loader.exec_module(module)
    registry = spandrel.ArchRegistry()
    module.install(registry)
    module.install(registry)
    return module, spandrel.ModelLoader(registry=registry)


def checkpoint(path, config):
    torch.manual_seed(3)
    net = CodeFormer(config)
    with torch.no_grad():
        for value in net.parameters():
            value.add_(0.05 * torch.randn(value.shape))
    save_checkpoint(path, net.state_dict(), config, {"stage": "stage3"})
    return net.eval()


def faces():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("known", [True, False], ids=["preset", "header"])
def test_parity_with_the_network(ours, tmp_path, known):
    module, loader = ours
    config = preset("tiny") if known else dataclasses.replace(preset("tiny"), heads=2, layers=3)
    path = tmp_path / "model.safetensors"
    net = checkpoint(path, config)
    model = loader.load_from_file(path) if known else module.load(path)
    assert (model.architecture.id, model.purpose, model.scale) == ("facemend", "FaceSR", 1)
    with torch.no_grad():
        usual = ((net(faces() * 2 - 1, torch.full((2,), 0.5)) + 1) / 2).clamp(0, 1)
        torch.testing.assert_close(model(faces()), usual)
        closer = ((net(faces() * 2 - 1, torch.ones(2)) + 1) / 2).clamp(0, 1)
        torch.testing.assert_close(module.restore(model.model, faces(), 1.0), closer)
    assert (usual - closer).abs().max() > 1e-3


def test_other_sizes_need_the_header(ours, tmp_path):
    _, loader = ours
    path = tmp_path / "model.safetensors"
    checkpoint(path, dataclasses.replace(preset("tiny"), layers=3))
    with pytest.raises(WeightsError, match=r"fit no preset of facemend; use facemend_spandrel\.load"):
        loader.load_from_file(path)


def test_other_networks_are_not_taken_for_ours(ours):
    module, _ = ours
    assert not module.FacemendArch().detect({"conv.weight": torch.zeros(1, 3, 3, 3)})


def test_the_default_model_has_a_head_besides(ours):
    """Which spandrel has no use for: the file is known all the same."""
    module, _ = ours
    with torch.device("meta"):
        state = CodeFormer(dataclasses.replace(preset("compact-512"), diagnosis=96)).state_dict()
    assert any(name.startswith("diagnosis.") for name in state)
    assert module.sizes(state) == preset("compact-512")

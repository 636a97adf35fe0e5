"""The node of integrations/comfyui, copied into a folder as a user does, with real tensors."""

import asyncio
import importlib.util
import shutil
import sys
import tomllib
from pathlib import Path

import comfy_stand_in
import numpy as np
import pytest
import torch

from facemend import RestoreOptions, Restorer

SOURCE = Path(__file__).parents[2] / "integrations/comfyui"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """The one node of the folder, found as ComfyUI finds it."""
    folder = tmp_path_factory.mktemp("custom_nodes") / "facemend-node"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    spec = importlib.util.spec_from_file_location("custom_nodes.facemend-node", folder / "__init__.py")
    with pytest.MonkeyPatch.context() as patch:
        for name, module in comfy_stand_in.modules().items():
            patch.setitem(sys.modules, name, module)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        (found,) = asyncio.run(asyncio.run(module.comfy_entrypoint()).get_node_list())
        yield found


def defaults(node):
    return {each.id: each.default for each in node.define_schema().inputs if each.id != "image"}


def test_a_batch_is_restored_as_facemend_does_it(node, portrait):
    face = portrait.as_float()
    batch = torch.from_numpy(np.stack([face * 1.001, np.full_like(face, 0.5)]))  # the second without a face
    before = batch.clone()
    image, mask = node.run(image=batch, **defaults(node) | {"w": 0.8})
    assert torch.equal(batch, before)
    assert image.dtype == mask.dtype == torch.float32
    assert image.shape == batch.shape
    assert mask.shape == batch.shape[:3]
    wanted = Restorer(w=0.8, upscale=1).restore(np.clip(batch[0].numpy(), 0, 1)).to_array() / 65535
    np.testing.assert_allclose(image[0].numpy(), wanted, atol=1e-3)
    changed = (image[0] - batch[0].clamp(0, 1)).abs().amax(2)
    assert changed[mask[0] == 0].max() < 1e-4, "the mask covers what was redrawn"
    assert changed[mask[0] > 0.9].mean() > 4 * changed[mask[0] < 0.1].mean()
    assert 0.02 < mask[0].mean() < 0.9
    assert torch.equal(image[1], batch[1])
    assert not mask[1].any()


def test_strength_0_leaves_the_picture(node, portrait):
    batch = torch.from_numpy(portrait.as_float()[None])
    image, mask = node.run(image=batch, **defaults(node) | {"strength": 0.0, "faces": "largest"})
    torch.testing.assert_close(image, batch, atol=1e-5, rtol=0)
    assert mask.max() == 1


def test_the_schema_offers_what_facemend_takes(node):
    schema = node.define_schema()
    usual = RestoreOptions()
    said = defaults(node)
    assert {key: said[key] for key in ("w", "strength", "faces", "model")} == {
        key: getattr(usual, key) for key in ("w", "strength", "faces", "model")
    }
    assert [type(each).__name__ for each in schema.outputs] == ["Output", "Output"]


def test_what_the_registry_reads():
    said = tomllib.loads((SOURCE / "pyproject.toml").read_text())
    ours = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())
    assert said["project"]["version"] == ours["project"]["version"]
    assert said["project"]["dependencies"] == (SOURCE / "requirements.txt").read_text().split()
    assert {"PublisherId", "DisplayName"} <= said["tool"]["comfy"].keys()

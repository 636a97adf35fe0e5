"""Sizes of the network in training configs."""

import pytest

from facemend.errors import ConfigError
from facemend.networks.codeformer.config import changed, preset
from facemend.training.config import load_config

TEXT = """
stage = "stage2"
network = "tiny"
out = "runs/x"
stage1 = "a.safetensors"
[data]
folders = [{ path = "faces" }]
[[phases]]
steps = 10
batch = 2
degradation = "mixed"
[sizes]
attention = "split"
layers = 3
autoencoder = { scales = [4, 8, 16] }
"""


def test_a_config_changes_sizes(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(TEXT)
    config = load_config(path)
    wanted = {"attention": "split", "layers": 3, "autoencoder": {"scales": [4, 8, 16]}}
    assert config.network_sizes == changed(preset("tiny"), wanted)
    assert load_config(path, ["sizes.layers=5"]).network_sizes.layers == 5
    again = type(config).model_validate_json(config.model_dump_json())
    assert again.network_sizes == config.network_sizes
    path.write_text(TEXT.partition("[sizes]")[0])
    assert load_config(path).network_sizes == preset("tiny")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sizes.depth=3", "has no 'depth'"),
        ("sizes.autoencoder.depth=3", "has no 'depth'"),
        ("sizes.attention=near", "attention is one of"),
        ("sizes.autoencoder.scales=[3, 8]", "must go from coarse to fine"),
        ("sizes.layers=0", "layers = 0"),
        ("sizes.heads=3", "multiple of heads"),
    ],
)
def test_sizes_that_cannot_be(tmp_path, change, message):
    path = tmp_path / "run.toml"
    path.write_text(TEXT)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path, [change])
    assert "run.toml: " in str(caught.value)
    assert "\n" not in str(caught.value)

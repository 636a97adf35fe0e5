"""Every config file that ships can be loaded."""

from pathlib import Path

import pytest

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.toml"))


def test_there_are_configs():
    assert CONFIGS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_config_loads(path):
    from facemend.training.config import load_config

    assert load_config(path) is not None

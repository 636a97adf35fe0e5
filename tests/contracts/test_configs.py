"""Every config file that ships can be loaded."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs").rglob("*.toml"))
ABLATIONS = [path for path in FILES if "[[arm]]" in path.read_text()]
CONFIGS = [path for path in FILES if path not in ABLATIONS and path.parent.name != "bases"]


def test_there_are_configs():
    assert CONFIGS
    assert ABLATIONS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_config_loads(path):
    from facemend.training.config import load_config

    assert load_config(path) is not None


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.name)
def test_every_arm_of_an_ablation_loads(path, monkeypatch):
    from facemend.training.config import load_config

    spec = importlib.util.spec_from_file_location("ablate", ROOT / "scripts/ablate.py")
    ablate = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "ablate", ablate)
    spec.loader.exec_module(ablate)
    monkeypatch.chdir(ROOT)
    arms = ablate.read_arms(path.stem)
    assert len({arm.folder for arm in arms}) == len(arms) > 1
    for arm in arms:
        for config, changes in arm.trainings:
            assert arm.folder in load_config(config, changes).out.parents

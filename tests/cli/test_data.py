"""`facemend data prepare` as it is typed."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from facemend.cli.app import app

PORTRAIT = Path(__file__).parents[1] / "data" / "portrait.jpg"


def facemend(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(PORTRAIT, folder / "portrait.jpg")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    return folder


def test_from_photos_to_a_summary(photos, tmp_path):
    out = tmp_path / "out"
    done = facemend("data", "prepare", photos, "-o", out, "--size", "128", "--source", "web")
    assert done.exit_code == 1  # broken.png
    assert "2 photos, 1 face found, 1 kept" in done.stdout
    assert "1 unreadable" in done.stdout
    assert "broken.png" in done.stderr
    assert len(list((out / "faces").glob("*.webp"))) == 1
    assert "web" in (out / "manifest.csv").read_text()


def test_photos_that_are_gone_are_told(photos, tmp_path):
    words = ("data", "prepare", photos, "-o", tmp_path / "out", "--size", "128")
    assert "earlier runs" not in facemend(*words).stderr
    (photos / "portrait.jpg").unlink()
    told = facemend(*words).stderr
    assert "faces of 1 photo of earlier runs stay, which these folders do not have: portrait.jpg" in told


def test_gates_are_options(photos, tmp_path):
    done = facemend("data", "prepare", photos, "-o", tmp_path / "out", "--min-native", "5000")
    assert "0 kept" in done.stdout
    assert "1 small" in done.stdout


def test_a_folder_that_is_not_there(tmp_path):
    done = facemend("data", "prepare", tmp_path / "nowhere", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "no such folder" in done.stderr

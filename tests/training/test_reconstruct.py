"""`facemend train reconstruct`: what stage I's codes hold, as pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.imaging import read_rgb
from facemend.training.reconstruct import load_autoencoder


def run(*arguments):
    return CliRunner().invoke(app, ["train", "reconstruct", *map(str, arguments)])


def test_pictures_are_the_networks_and_codes_are_counted(stage1, faces, tmp_path):
    result = run(stage1.path, faces, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    net = load_autoencoder(stage1.path)
    codes = set()
    for number in range(6):
        hq = torch.from_numpy(np.asarray(Image.open(faces / f"{number}.png")).astype(np.float32) / 127.5 - 1)
        with torch.no_grad():
            made = net(hq.permute(2, 0, 1)[None])
        codes |= set(made.quantized.codes.flatten().tolist())
        want = ((made.image[0].permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy() * 255
        got = np.asarray(Image.open(tmp_path / f"out/{number}.png")).astype(np.float32)
        assert np.abs(got - want).max() <= 0.51
    assert f"{len(codes) / 32:.1%} of 32 codes used" in result.output
    assert "6 faces" in result.output


def test_colours_are_those_of_the_profile(stage1, tmp_path):
    (tmp_path / "in").mkdir()
    with Image.open(Path(__file__).parents[1] / "data/cases/adobergb.jpg") as opened:
        face = opened.crop((0, 0, 64, 64))
        face.save(tmp_path / "in/a.png", icc_profile=opened.info["icc_profile"])
    Image.fromarray(read_rgb(tmp_path / "in/a.png")).save(tmp_path / "in/b.png")
    assert run(stage1.path, tmp_path / "in", "-o", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out/a.png").read_bytes() == (tmp_path / "out/b.png").read_bytes()


def test_nothing_is_replaced_unasked(stage1, faces, tmp_path):
    (tmp_path / "0.png").write_bytes(b"mine")
    result = run(stage1.path, faces, "-o", tmp_path)
    assert result.exit_code == 1
    assert "0.png: exists already" in result.output
    assert (tmp_path / "0.png").read_bytes() == b"mine"


def test_other_stages_and_shapes_are_refused(stage1, stage2, faces, tmp_path):
    result = run(stage2.path, faces, "-o", tmp_path)
    assert result.exit_code == 1
    assert "is of stage2; give a stage I checkpoint" in result.output
    wide = tmp_path / "wide.png"
    Image.new("RGB", (64, 32)).save(wide)
    result = run(stage1.path, wide, "-o", tmp_path / "out")
    assert "wide.png: 64x32 is not square" in result.output


@pytest.mark.parametrize("name", ["none", "empty"])
def test_no_pictures(stage1, tmp_path, name):
    (tmp_path / "empty").mkdir()
    result = run(stage1.path, tmp_path / name, "-o", tmp_path / "out")
    assert result.exit_code == 1

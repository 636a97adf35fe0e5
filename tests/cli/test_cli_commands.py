"""The other commands."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import facemend
from facemend.cli.app import COMMANDS, app
from facemend.cli.demo import PORTRAIT
from facemend.degradations import Plan
from facemend.errors import EXTRAS, ConfigError, Extra, install_line
from facemend.imaging import read_picture, write_picture
from facemend.weights.catalog import assets_folder


def run(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


def test_version():
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.strip() == f"facemend {facemend.__version__}"


def test_help_lists_every_command():
    assert all(name in run("--help").stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "completion" not in result.stdout
    assert f"facemend {command}" in " ".join(result.stdout.split()) or f"{command} [OPTIONS]" in result.stdout


def test_the_shell_completes_commands_and_options():
    code = "from facemend.cli.app import main; main()"
    for words, wanted in (("facemend re", "restore"), ("facemend restore --str", "--strength")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ
            | {
                "_FACEMEND_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": str(words.count(" ")),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert wanted in done.stdout.split()


def test_unknown_commands_are_wrong_usage():
    result = run("restor")
    assert result.exit_code == 2
    assert "restor" in result.stderr


def test_an_empty_word_is_not_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (("restore", ""), ("watch", "", "-o", "x"), ("restore", "a.jpg", "-o", "")):
        result = run(*words)
        assert result.exit_code == 2
        assert "is a variable not set?" in " ".join(result.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_help_loads_no_library_but_typer():
    """A clock would measure the machine; what is loaded is why it is quick or slow."""
    code = """
import sys
from facemend.cli.app import app
try:
    app()
finally:
    sys.stderr.write(" ".join({name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], check=True, capture_output=True, encoding="utf-8"
    )
    loaded = set(done.stderr.split())
    assert "typer" in loaded
    heavy = "cv2 numpy onnx onnxruntime PIL pydantic safetensors scipy tensorboard torch"
    assert not loaded & set(heavy.split())


@pytest.fixture
def pictures(tmp_path, portrait):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    write_picture(folder / "a.jpg", portrait)
    write_picture(folder / "sub/b.png", portrait)
    return folder


def test_degrade_draws_the_kth_picture_with_seed_plus_k_and_its_plan_replays(pictures, tmp_path):
    assert run("degrade", pictures, "-o", tmp_path / "all", "--seed", 5, "--save-plan").exit_code == 0
    plan = tmp_path / "all/sub/b.plan.json"
    Plan.from_json(plan.read_text())
    for name, how in (("alone", ("--seed", 6)), ("again", ("--plan", plan))):
        done = run("degrade", pictures / "sub/b.png", "-o", tmp_path / f"{name}.png", *how)
        assert done.exit_code == 0, done.output
    expected, _ = facemend.degrade(read_picture(pictures / "sub/b.png").pixels, "heavy", seed=6)
    for name in ("all/sub/b.png", "alone.png", "again.png"):
        assert np.array_equal(read_picture(tmp_path / name).pixels, expected)


def test_degrade_says_which_plan_a_picture_is_not_of(pictures, tmp_path, portrait):
    out = tmp_path / "out.png"
    assert run("degrade", pictures / "a.jpg", "-o", out, "--save-plan").stderr == ""
    older = run("degrade", pictures / "a.jpg", "-o", out, "--seed", 1, "--overwrite")
    assert older.exit_code == 0
    assert "out.plan.json: is not of the picture beside it" in older.stderr
    write_picture(pictures / "half.png", portrait.with_pixels(portrait.as_float()[::2, ::2]))
    replay = ("--plan", tmp_path / "out.plan.json", "--overwrite")
    assert run("degrade", pictures / "a.jpg", "-o", out, *replay).stderr == ""
    half = run("degrade", pictures / "half.png", "-o", tmp_path / "half.png", *replay)
    side = min(portrait.width, portrait.height)
    assert f"half.png: its lengths are of a plan for {side} px, here {-(-side // 2)}" in half.stderr


def test_degrade_with_a_plan_draws_nothing(pictures, tmp_path):
    for words in (["--preset", "light"], ["--seed", 3]):
        refused = run("degrade", pictures, "-o", tmp_path / "o", "--plan", tmp_path / "p.json", *words)
        assert refused.exit_code == 2
        assert "would change nothing beside it" in " ".join(refused.stderr.replace("│", " ").split())


def test_degrade_goes_on_after_a_failure(pictures, tmp_path):
    (pictures / "bad.png").write_text("x")
    result = run("degrade", pictures, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "2 pictures degraded, 1 failed" in result.stdout
    assert "bad.png" in result.stderr
    assert run("degrade", pictures, "-o", tmp_path / "out").exit_code == 1  # all exist already


def test_degrade_wrong_usage(pictures, tmp_path):
    assert run("degrade", pictures, "-o", tmp_path / "out", "--preset", "worse").exit_code == 2
    assert run("degrade", pictures, "-o", tmp_path / "out.png").exit_code == 2
    (tmp_path / "plan.json").write_text('{"size": 1, "surprise": 2}')
    for plan in ("plan.json", "missing.json"):
        result = run("degrade", pictures, "-o", tmp_path / "out", "--plan", tmp_path / plan)
        assert result.exit_code == 1
        assert result.stderr.startswith("facemend: ")
        assert plan in result.stderr
        assert result.stderr.count("\n") == 1
    with pytest.raises(ConfigError, match="seed"):
        facemend.degrade(np.zeros((4, 4, 3), np.uint8), "heavy", seed=-1)


def test_degrade_names_what_it_leaves_out(pictures, tmp_path, monkeypatch):
    (pictures / "notes.txt").write_text("x")
    (pictures / "shut").mkdir()
    scandir = os.scandir

    def shut(folder):
        if str(folder).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", shut)
    result = run("degrade", pictures, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "shut: cannot be listed" in result.stderr
    assert "no pictures: " in result.stderr
    assert "notes.txt" in result.stderr


def test_demo_needs_no_input_and_writes_its_pictures(tmp_path):
    result = run("demo", "-o", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    original = read_picture(assets_folder() / PORTRAIT)
    degraded, restored = (read_picture(tmp_path / "demo" / name) for name in ("degraded.png", "restored.png"))
    assert degraded.pixels.shape == restored.pixels.shape == original.pixels.shape
    assert not np.array_equal(degraded.pixels, restored.pixels)
    for name in ("before_after.png", "w_dial.png"):
        assert name in result.stdout
        assert read_picture(tmp_path / "demo" / name).width > 1000
    again = run("demo", "-o", tmp_path / "demo")
    assert again.exit_code == 1
    assert "exists already" in again.stderr


def test_doctor_finds_this_installation_well():
    result = run("doctor")
    assert result.exit_code == 0, result.output
    for word in (
        "onnxruntime",
        "photos read here: .apng .avif",
        "checksums right",
        "speed: one face in",
        "all well",
    ):
        assert word in result.stdout


def test_doctor_tells_the_same_as_json():
    result = run("doctor", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["facemend"] == facemend.__version__
    assert found["devices"]["cpu"] == "works"
    assert found["problems"] == []
    assert found["weights"]["models"] >= 1
    assert 0 < found["speed"]["seconds_a_face"] < 60
    assert set(found["extras"]) == set(EXTRAS)


def test_doctor_knows_every_extra():
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]
    wanted = {
        name: {re.split(r"[^\w-]", line)[0].replace("-", "_") for line in lines}
        for name, lines in project["optional-dependencies"].items()
    }
    wanted.pop("all")  # the others together
    assert list(EXTRAS) == list(wanted)
    for name, packages in wanted.items():
        assert packages <= set(EXTRAS[name].modules), name


def test_doctor_says_what_extras_are_for_and_which_do_not_work(monkeypatch, tmp_path):
    (tmp_path / "half_there.py").write_text("raise OSError('libx.so:\\ncannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    extras = {
        "heif": EXTRAS["heif"],
        "good": Extra("films", ("json",)),
        "bad": Extra("sounds", ("half_there",)),
        "part": Extra("smells", ("json", "nowhere_to_be_found")),
        "none": Extra("tastes", ("nowhere_to_be_found",)),
    }
    monkeypatch.setattr("facemend.cli.doctor.EXTRAS", extras)
    monkeypatch.setattr("facemend.errors.EXTRAS", extras)
    monkeypatch.setattr("facemend.cli.doctor._verify", lambda: ({}, []))
    result = run("doctor")
    assert result.exit_code == 1
    for line in (
        "extra good, for films: works",
        "extra bad, for sounds: does not work",
        f"extra part, for smells: lacks nowhere_to_be_found ({install_line('part')})",
        f"extra none, for tastes: not installed ({install_line('none')})",
        "problems: 1",
    ):
        assert line in result.stdout.splitlines()
    assert "extra bad: half_there cannot be imported (libx.so: cannot open)" in result.stderr


def test_doctor_names_a_missing_default_model(monkeypatch):
    monkeypatch.setattr("facemend.weights.models.assets_folder", lambda: assets_folder() / "demo")
    result = run("doctor")
    assert result.exit_code == 1
    assert "is missing" in result.stderr
    assert "problems: 1" in result.stdout

"""Every example runs as its first line says."""

import json
import re
import subprocess
import sys
from itertools import pairwise

import pytest
from pages import ROOT

from facemend.imaging import read_picture
from facemend.photo.options import DEFAULT_MODEL
from facemend.weights.models import find_model

EXAMPLES = ROOT / "examples"


def run(name, *words):
    """What it prints; it must end well."""
    command = [sys.executable, EXAMPLES / name, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_photo(yard):
    assert "new.jpg: 2 faces" in run("restore_photo.py", "family.jpg", "new.jpg", "0.7")
    assert read_picture(yard / "new.jpg").width >= 512


def test_w_as_a_strip(yard):
    run("w_sweep.py", "old.jpg", "strip.png")
    strip = read_picture(yard / "strip.png").pixels
    side = find_model(DEFAULT_MODEL).image_size
    assert strip.shape == (side, 6 * side, 3)
    cells = [strip[:, side * i : side * (i + 1)] for i in range(6)]
    assert all((one != other).any() for one, other in pairwise(cells))


def test_a_folder(yard):
    (yard / "album/b.jpg").write_bytes(b"no picture")
    command = [sys.executable, EXAMPLES / "restore_folder.py", "album", "restored"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "b.jpg" in done.stderr
    assert [path.name for path in (yard / "restored").iterdir()] == ["a.jpg"]


def test_a_server(yard):
    command = [sys.executable, "-m", "facemend", "serve", "--port", "0", "--store", yard / "store"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            address = re.search(r"http://\S+", server.stdout.readline())[0].rstrip("/")
            assert "new.jpg: 1 faces" in run("call_server.py", address, "old.jpg", "new.jpg")
            assert read_picture(yard / "new.jpg").width >= 256
            refused = [sys.executable, EXAMPLES / "call_server.py", address, "old.jpg", "new.jpg", "7"]
            done = subprocess.run(refused, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr[:3]) == (1, "w: ")
        finally:
            server.terminate()


@pytest.mark.slow
def test_a_tiny_training(yard, monkeypatch):
    monkeypatch.delenv("FACEMEND_CACHE")  # the networks of the losses are fetched once
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said = run("train_tiny.py", "TRAINING", "runs", "0.05").splitlines()[-1]
    assert '--model "runs/my-model"' in said
    for name in ("stage1/model.safetensors", "stage3/model.safetensors", "my-model/model.json"):
        assert (yard / "runs" / name).stat().st_size


def test_the_notebook_runs_and_has_no_outputs(yard, monkeypatch):
    book = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    names = {}
    for number, cell in enumerate(code):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    assert len(names["result"].faces) == 1
    assert 0 < names["changed"].mean() < 0.9


def test_every_example_is_run_here_and_shown_on_its_page():
    page = (ROOT / "docs/examples.md").read_text(encoding="utf-8")
    here = (ROOT / "tests/docs/test_examples.py").read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        assert f"examples/{path.name}" in page
        assert f'"{path.name}"' in here

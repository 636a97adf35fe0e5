"""The scripts that measure growth and a GPU: their arithmetic, and whole runs at the smallest sizes."""

import importlib
import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from facemend.imaging import read_picture
from facemend.photo.bench import PORTRAIT
from facemend.photo.options import RestoreOptions
from facemend.weights.catalog import assets_folder

SCRIPTS = Path(__file__).parents[2] / "scripts"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module
    sys.path.remove(str(SCRIPTS))


@pytest.mark.parametrize(
    ("seconds", "exponent", "last", "linear"),
    [
        (lambda n: 3 * n, 1, 1, True),
        (lambda n: 0.5 * n**1.4, 1.4, 1.4, False),
        (lambda n: 2.0, 0, 0, True),
        (lambda n: 100 + n * n / 100, None, None, False),  # a fixed part hides it, but for the last two
    ],
)
def test_the_exponent_is_the_slope_and_its_end_counts_too(script, seconds, exponent, last, linear):
    growth = script("bench_growth").Growth("faces", "faces", {n: seconds(n) for n in (1, 10, 100, 1000)})
    if exponent is not None:
        assert growth.exponent() == pytest.approx(exponent)
        assert growth.exponent(2) == pytest.approx(last)
    assert growth.is_linear is linear


def test_the_plot_has_each_curve_and_its_figures(script):
    growth = script("bench_growth")
    rows = [growth.Growth(f"<{name}>", "x", {1: 1.0, 4: 2.0, 16: 64.0}) for name in "ab"]
    svg = ET.fromstring(growth.plot(rows))
    assert len(svg.findall(f".//{SVG}circle")) == 6
    texts = [element.text for element in svg.iter(f"{SVG}text")]
    assert "<a>, 1 to 16 x: exponent 1.50" in texts
    assert {"1", "2", "10", "50"} <= set(texts)
    for circle in svg.iter(f"{SVG}circle"):
        assert 0 < float(circle.get("cx")) < 640
        assert 0 < float(circle.get("cy")) < 420


def test_a_photo_has_as_many_faces_as_asked_for(script):
    growth = script("bench_growth")
    portrait = read_picture(assets_folder() / PORTRAIT)
    pixels = read_picture(growth.with_faces(portrait, (400, 320), 11)).pixels.astype(float)
    places = pixels.reshape(8, 40, 10, 40, 3).std(axis=(1, 3)).max(-1)
    assert (places > 10).sum() == 11
    assert np.all(places.ravel()[:11] > 10)


@pytest.mark.slow
@pytest.mark.parametrize("linear", [True, False])
def test_growth_from_end_to_end(script, tiny_model, tmp_path, monkeypatch, linear):
    growth = script("bench_growth")
    monkeypatch.setattr(growth, "OPTIONS", RestoreOptions(model=str(tiny_model), upscale=1))
    sizes = growth.Sizes((400, 320), (1, 2), (0.05, 0.1), (96, 120), 2, (1, 2), 1)
    monkeypatch.setattr(growth, "QUICK", sizes)
    monkeypatch.setattr(growth.Growth, "is_linear", linear)  # so small, it would be a matter of luck
    assert growth.main(["--quick", "-o", str(tmp_path / "out")]) == (0 if linear else 1)
    told = json.loads((tmp_path / "out/growth.json").read_text())["growth"]
    assert [len(row["seconds"]) for row in told.values()] == [2] * 4
    assert all(s > 0 for row in told.values() for s in row["seconds"].values())
    ET.parse(tmp_path / "out/growth.svg")


@pytest.mark.slow
def test_gpu_figures_on_a_cpu(script, tmp_path, capsys):
    file = tmp_path / "gpu.json"
    words = ["--quick", "--device", "cpu", "--minutes", "0.1", "-o", str(file)]
    assert script("bench_gpu").main(words) == 0
    figures = {row["what"]: row for row in json.loads(file.read_text())["figures"]}
    assert len(capsys.readouterr().out.splitlines()) == len(figures) == 3 * 2 + 1 + 1 + 3
    without = [row["note"] for row in figures.values() if not row["rate"]]
    assert without == []


def test_what_cannot_be_measured_says_why(script):
    gpu = script("bench_gpu")
    (figure,) = gpu.onnx_faces("codeformer-512", "cpu", [1], 0.1)
    assert figure.rate is None
    assert "no model codeformer-512 is there" in str(figure)


def test_what_cannot_be_measured_does_not_stop_the_rest(script, tmp_path, monkeypatch):
    gpu = script("bench_gpu")
    monkeypatch.setattr(gpu, "onnx_faces", lambda *_: iter(()))
    monkeypatch.setattr(gpu, "film_frames", lambda *_: iter(()))
    file = tmp_path / "new/gpu.json"
    words = ["--quick", "--device", "meta-nothing", "--network", "codeformer-512", "-o", str(file)]
    assert gpu.main(words) == 0
    rows = json.loads(file.read_text())["figures"]
    assert len(rows) == 3 * 2 + 3
    assert all(row["rate"] is None and row["note"] for row in rows)

"""`facemend bench`: a table for people, JSON for programs."""

import json

import pytest
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.photo import bench


def run(*arguments):
    return CliRunner().invoke(app, ["bench", *(str(word) for word in arguments)])


@pytest.fixture
def quick(monkeypatch):
    """Whole commands are left to tests/photo: each would start Python several times."""
    commands = [{"command": "facemend restore", "s": 1.5, "ratio": 1.0}]
    monkeypatch.setattr(bench, "measure_commands", lambda *_: commands)
    monkeypatch.setattr(bench, "where_time_goes", lambda *_: {"python": 0.5, "start": 1.0, "detect": 0.5})


def test_table_and_json_say_the_same(quick, tiny_model, photo, tmp_path):
    file = tmp_path / "bench.json"
    result = run(photo, "--model", tiny_model, "--batch", 1, "--threads", 1, "--repeats", 1, "--json", file)
    assert result.exit_code == 0, result.output
    data = json.loads(file.read_text())
    assert data["machine"]["cores"] >= 1
    assert "onnxruntime" in data["machine"]["versions"]
    (network,), (whole,) = data["network"], data["photos"]
    lines = result.stdout.splitlines()
    (line,) = [line for line in lines if "onnx cpu fp32, 1 threads" in line]
    shown = [float(cell) for cell in line.split()[7:]]
    figures = (network["faces_per_s"], network["w0_share"], network["redo_share"], network["peak_mb"])
    assert shown == [*network["ms"].values(), *figures]
    (line,) = [line for line in lines if "320x400" in line]
    assert line.split()[-3:] == [
        str(v) for v in (whole["ms"]["whole"], whole["outside_share"], whole["peak_mb"])
    ]
    assert any(line.split() == ["facemend", "restore", "1.5", "1.0"] for line in lines)
    assert [line.split() for line in lines[-3:]] == [
        ["python", "0.500", "25%", "█" * 15],
        ["start", "1.000", "50%", "█" * 30],
        ["detect", "0.500", "25%", "█" * 15],
    ]
    assert [line.index("█") - lines[-3].index("█") for line in lines[-3:]] == [
        0,
        15,
        45,
    ]  # one after the other
    assert result.stderr.count("measuring: ") == 4
    again = run(photo, "--model", tiny_model, "--json", file)
    assert again.exit_code == 1
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "other {input}"), "{output}"),
        (("--backend", "tf"), "onnx or torch"),
        (("--precision", "bf16"), "torch"),
        (("--device", "toaster"), "toaster"),
    ],
)
def test_wrong_usage(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())

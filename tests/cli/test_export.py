"""`facemend export`: what it says when it cannot; a whole run of it is in tests/export."""

import sys

import pytest
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.errors import install_line
from facemend.networks.codeformer.checkpoint import save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import preset


def run(*arguments):
    return CliRunner().invoke(app, ["export", *(str(word) for word in arguments)])


@pytest.mark.parametrize("package", ["torch", "onnx", "onnxscript", "safetensors"])
def test_missing_extra(monkeypatch, tmp_path, package):
    monkeypatch.setitem(sys.modules, package, None)
    result = run(tmp_path / "model.safetensors", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert install_line("export") in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_wrong_stage(tmp_path):
    sizes = preset("tiny")
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, CodeFormer(sizes).state_dict(), sizes, {"stage": "stage2"})
    result = run(path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.strip().endswith("is of stage2, export needs stage3")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("model.safetensors", "--out", "."), 1, "use --overwrite"),
        (("none.safetensors", "-o", "out"), 1, "no such checkpoint"),
        (("model.safetensors", "-o", "out", "--precision", "int4"), 1, "fp32 or fp16"),
        (("model.safetensors",), 2, "--out"),
    ],
)
def test_what_cannot_be_exported(tmp_path, monkeypatch, words, status, message):
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == status
    assert message in result.stderr

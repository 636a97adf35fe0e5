from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from facemend.errors import ModelNotFoundError, WeightsError
from facemend.weights.models import find_model, models, read_model


def description(folder: Path, **changes: Any) -> dict[str, Any]:
    data = {
        "name": "toy",
        "image_size": 64,
        "template": "ffhq",
        "licence": "Apache-2.0",
        "description": "a toy",
        "default_w": 0.6,
        "codebook_size": 1024,
        "files": {},
    }
    for graph in ("encode", "decode"):
        content = graph.encode()
        (folder / f"{graph}.onnx").write_bytes(content)
        data["files"][graph] = {"file": f"{graph}.onnx", "sha256": hashlib.sha256(content).hexdigest()}  # type: ignore[index]
    data.update(changes)
    return data


def save(folder: Path, data: object) -> Path:
    (folder / "model.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def test_a_folder_is_a_model(tmp_path: Path) -> None:
    info = find_model(save(tmp_path, description(tmp_path)))
    assert (info.name, info.image_size, info.template, info.default_w) == ("toy", 64, "ffhq", 0.6)
    assert info.encode == tmp_path / "encode.onnx"
    assert info.card == tmp_path / "MODEL_CARD.md"
    assert dict(info.details) == {"codebook_size": 1024}
    assert find_model(str(tmp_path)) == info


def test_models_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        folder = tmp_path / name
        folder.mkdir()
        save(folder, description(folder, name=name))
    assert [info.name for info in models(tmp_path)] == ["a", "b"]
    assert models(tmp_path / "nowhere") == []


def test_shipped_models_are_whole() -> None:
    for info in models():
        assert find_model(info.name) == info
        assert info.card.is_file()


@pytest.mark.parametrize("name", ["no-such-model", "../../etc", "a\0b", ""])
def test_unknown_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match="there are"):
        find_model(name)


def test_damaged_and_missing_graphs(tmp_path: Path) -> None:
    save(tmp_path, description(tmp_path))
    (tmp_path / "decode.onnx").write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"decode\.onnx: damaged"):
        find_model(tmp_path)
    (tmp_path / "decode.onnx").unlink()
    with pytest.raises(WeightsError, match=r"decode\.onnx: missing"):
        find_model(tmp_path)


@pytest.mark.parametrize("file", ["../encode.onnx", "/etc/passwd", "a/../../x", "x\0y", 7, None])
def test_files_stay_inside_the_folder(tmp_path: Path, file: object) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    data = description(folder)
    data["files"]["encode"]["file"] = file
    with pytest.raises(WeightsError, match="encode"):
        read_model(save(folder, data))


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    data = description(folder)
    (folder / "encode.onnx").rename(tmp_path / "outside.onnx")
    (folder / "encode.onnx").symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(WeightsError, match="outside"):
        read_model(save(folder, data))


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": "256"},
        {"image_size": True},
        {"image_size": 10**9},
        {"image_size": None},
        {"name": ""},
        {"template": 3},
        {"licence": None},
        {"default_w": 7},
        {"default_w": "half"},
        {"files": []},
        {"files": {"encode": "x"}},
        {"files": {"encode": {"file": "encode.onnx", "sha256": "zz"}}},
    ],
)
def test_wrong_descriptions(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match=r"model\.json"):
        read_model(save(tmp_path, description(tmp_path, **change)))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '"' + "x" * (1 << 20) + '"', "\xff\xfe"])
def test_hostile_descriptions(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match=r"model\.json"):
        read_model(tmp_path)

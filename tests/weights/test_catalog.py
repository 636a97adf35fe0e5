from __future__ import annotations

import dataclasses

import pytest

from facemend.errors import ModelNotFoundError, WeightsError
from facemend.weights import catalog
from facemend.weights.catalog import ASSETS, asset_path, assets_folder, file_sha256, find_asset, verify


def test_every_shipped_helper_has_a_row_with_the_right_hash_and_licence() -> None:
    root = assets_folder()
    # Restoration models describe themselves in model.json; the rest of the folder is no model.
    elsewhere = {"models", "licenses", "demo", "__pycache__"}
    shipped = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root).parts[0] not in elsewhere and path.name != "__init__.py"
    }
    assert shipped == {asset.file for asset in ASSETS.values()}
    for name, asset in ASSETS.items():
        verify(name)
        assert asset_path(name).stat().st_size == asset.bytes
        assert len((root / asset.licence_file).read_text(encoding="utf-8")) > 500
        for field in dataclasses.fields(asset):
            assert getattr(asset, field.name), (name, field.name)


def test_notice_names_every_shipped_helper(request: pytest.FixtureRequest) -> None:
    notice = (request.config.rootpath / "NOTICE").read_text(encoding="utf-8")
    for asset in ASSETS.values():
        assert asset.file in notice
        assert f"{asset.package.split()[1]} {asset.version}" in notice


def test_unknown_asset() -> None:
    with pytest.raises(ModelNotFoundError, match="pnet"):
        find_asset("yolo")


def test_damaged_and_missing_files(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(catalog, "assets_folder", lambda: tmp_path)
    with pytest.raises(WeightsError, match=r"pnet\.onnx: missing"):
        verify("pnet")
    target = tmp_path / find_asset("pnet").file
    target.parent.mkdir()
    target.write_bytes(b"not a graph")
    with pytest.raises(WeightsError, match="damaged"):
        verify("pnet")


def test_hash(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "x").write_bytes(b"abc")
    assert file_sha256(tmp_path / "x").startswith("ba7816bf8f01cfea")

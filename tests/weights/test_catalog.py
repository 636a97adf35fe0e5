"""The catalogue, licences, mirrors, and the folder of downloads."""

import dataclasses
import hashlib
import re

import pytest

from facemend.errors import ModelNotFoundError, OutputError, WeightsError
from facemend.weights import catalog
from facemend.weights import published as module
from facemend.weights.catalog import (
    ASSETS,
    PACKAGES,
    PUBLISHED,
    asset_path,
    assets_folder,
    find_asset,
    find_published,
    published_as,
    verify,
)
from facemend.weights.models import NAME, TASKS, models
from facemend.weights.published import (
    accept_licence,
    fetch_weights,
    forget_download,
    licence_accepted,
    mirrored,
)

CONTENT = b"weights" * 100
SHA = hashlib.sha256(CONTENT).hexdigest()
URL = "http://127.0.0.1:1/net.pth"


def test_every_shipped_helper_has_a_row_with_the_right_hash_and_licence(request):
    root, notice = assets_folder(), (request.config.rootpath / "NOTICE").read_text(encoding="utf-8")
    # Restoration models describe themselves in model.json; the rest of the folder is no model.
    elsewhere = {"models", "licenses", "demo", "__pycache__"}
    shipped = {
        path.relative_to(root) for path in root.rglob("*") if path.is_file() and path.name != "__init__.py"
    }
    assert {p.as_posix() for p in shipped if p.parts[0] not in elsewhere} == {a.file for a in ASSETS.values()}
    for name, asset in ASSETS.items():
        verify(name)
        assert asset.name == name
        assert asset_path(name).stat().st_size == asset.bytes
        assert len((root / asset.licence_file).read_text(encoding="utf-8")) > 500
        assert asset.file in notice
        assert f"{asset.package.split()[1]} {asset.version}" in notice


def test_damaged_and_missing_files(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "assets_folder", lambda: tmp_path)
    with pytest.raises(WeightsError, match=r"pnet\.onnx: missing"):
        verify("pnet")
    target = tmp_path / find_asset("pnet").file
    target.parent.mkdir()
    target.write_bytes(b"not a graph")
    with pytest.raises(WeightsError, match="damaged"):
        verify("pnet")


def test_unknown_names_say_what_there_is():
    with pytest.raises(ModelNotFoundError, match="pnet"):
        find_asset("yolo")
    with pytest.raises(
        ModelNotFoundError, match=r"gfpgan: not in the catalogue, which has codeformer.*--url"
    ):
        find_published("gfpgan")


def test_published_rows_are_plausible():
    shipped = {model.name for model in models()}
    for name, item in PUBLISHED.items():
        assert item.name == name
        assert NAME.fullmatch(name)
        assert name not in shipped
        assert item.url.startswith("https://")
        assert item.licence_url.startswith("https://")
        assert item.task in TASKS
        assert published_as(item.sha256) is item
    assert published_as("0" * 64) is None
    assert "non-commercial" in find_published("codeformer").licence
    assert find_published("codeformer").bytes == 376_637_898


def test_files_of_packages_share_one_folder():
    wanted = {"lpips", "identity", "dists", "niqe", "efficientnet-lite0", "realesrgan", "onnxruntime-web"}
    assert set(PACKAGES) == wanted
    for archives in PACKAGES.values():
        members = [member for archive in archives for member in archive.members]
        assert len({member.filename for member in members}) == len(members)


def test_a_mirror_replaces_all_but_the_file_name(monkeypatch):
    item = find_published("codeformer")
    assert mirrored(item) == item.url
    for mirror in ("https://mirror.example/weights", "http://10.0.0.1:8080/a/b/"):
        monkeypatch.setenv("FACEMEND_MIRROR", mirror)
        assert mirrored(item) == f"{mirror.rstrip('/')}/codeformer.pth"
    for mirror in ("file:///weights", "mirror.example", "http://[::1"):
        monkeypatch.setenv("FACEMEND_MIRROR", mirror)
        with pytest.raises(WeightsError, match="FACEMEND_MIRROR: not usable"):
            mirrored(item)


def test_a_licence_is_accepted_once_for_its_model(cache):
    item = find_published("codeformer")
    other = dataclasses.replace(item, name="other")
    assert not licence_accepted(item)
    accept_licence(item)
    accept_licence(item)
    assert licence_accepted(item)
    assert not licence_accepted(other)
    accept_licence(other)
    assert licence_accepted(item)
    assert licence_accepted(other)
    # Another text is another licence.
    assert not licence_accepted(dataclasses.replace(item, licence_url="https://example.org/2.0"))
    assert [path.name for path in cache.iterdir()] == ["accepted_licences.json"]


@pytest.mark.parametrize("text", ["", "{", "{}", "7", "[1, [2]]"])
def test_a_broken_record_is_no_consent(cache, text):
    cache.mkdir()
    (cache / "accepted_licences.json").write_text(text)
    item = find_published("codeformer")
    assert not licence_accepted(item)
    accept_licence(item)
    assert licence_accepted(item)


def test_a_cache_that_cannot_be_written(cache):
    cache.write_text("a file where the folder should be")
    for work in (lambda: accept_licence(find_published("codeformer")), lambda: fetch_weights(URL, SHA)):
        with pytest.raises(OutputError, match="set FACEMEND_CACHE"):
            work()


@pytest.mark.parametrize("allow", [True, False])
def test_what_is_there_needs_no_network(cache, allow):
    path = cache / "downloads" / SHA / "net.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert fetch_weights(URL, SHA.upper(), allow_download=allow) == path
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="this is offline"):
        fetch_weights(URL, SHA, allow_download=False)
    forget_download(path)
    assert not path.parent.exists()
    forget_download(path)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_offline_says_what_to_do(how, monkeypatch, cache):
    if how == "variable":
        monkeypatch.setenv("FACEMEND_OFFLINE", "yes")
    with pytest.raises(WeightsError, match=r"net\.pth: not in the cache.*facemend models import FILE"):
        fetch_weights(URL, SHA, allow_download=how == "variable")
    assert not list(cache.rglob("*"))


@pytest.mark.parametrize("last", ["..", "a%2f..%2fb", "net.pth;x", "", "\u4eba.pth", ".hidden"])
def test_no_address_names_a_file_outside_the_folder(last, monkeypatch, cache):
    def save(url, sha256, path, **more):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)

    monkeypatch.setattr(module, "download", save)
    path = fetch_weights(f"http://host/{last}", SHA)
    assert path.parent == cache / "downloads" / SHA
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", path.name)

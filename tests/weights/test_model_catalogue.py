"""The catalogue of models that can be fetched, licences, mirrors, and the folder of downloads."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

import pytest

from facemend.errors import ModelNotFoundError, OutputError, WeightsError
from facemend.weights import published as module
from facemend.weights.catalog import PUBLISHED, find_published, published_as
from facemend.weights.models import NAME, TASKS, models
from facemend.weights.packages import cache_dir
from facemend.weights.published import (
    accept_licence,
    fetch_weights,
    forget_download,
    licence_accepted,
    mirrored,
)

CONTENT = b"weights" * 100
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FACEMEND_MIRROR", raising=False)
    monkeypatch.delenv("FACEMEND_OFFLINE", raising=False)
    return tmp_path / "cache"


def test_rows_are_complete_and_plausible() -> None:
    shipped = {model.name for model in models()}
    for name, item in PUBLISHED.items():
        for field in dataclasses.fields(item):
            assert getattr(item, field.name), (name, field.name)
        assert NAME.fullmatch(name)
        assert name not in shipped
        assert re.fullmatch(r"[0-9a-f]{64}", item.sha256)
        assert item.url.startswith("https://")
        assert item.licence_url.startswith("https://")
        assert item.task in TASKS
        assert published_as(item.sha256) is item
    assert published_as("0" * 64) is None


def test_the_published_network_is_marked_as_non_commercial() -> None:
    item = find_published("codeformer")
    assert "non-commercial" in item.licence
    assert item.bytes == 376_637_898


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(
        ModelNotFoundError, match=r"gfpgan: not in the catalogue, which has codeformer.*--url"
    ):
        find_published("gfpgan")


@pytest.mark.parametrize("mirror", ["https://mirror.example/weights", "http://10.0.0.1:8080/a/b/"])
def test_a_mirror_replaces_all_but_the_file_name(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    item = find_published("codeformer")
    assert mirrored(item) == item.url
    monkeypatch.setenv("FACEMEND_MIRROR", mirror)
    assert mirrored(item) == f"{mirror.rstrip('/')}/codeformer.pth"


@pytest.mark.parametrize("mirror", ["file:///weights", "mirror.example", "http://[::1"])
def test_a_mirror_is_a_web_address(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEMEND_MIRROR", mirror)
    with pytest.raises(WeightsError, match="FACEMEND_MIRROR: not usable"):
        mirrored(find_published("codeformer"))


def test_a_licence_is_accepted_once_for_its_model(cache: Path) -> None:
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
def test_a_broken_record_is_no_consent(cache: Path, text: str) -> None:
    cache.mkdir()
    (cache / "accepted_licences.json").write_text(text)
    item = find_published("codeformer")
    assert not licence_accepted(item)
    accept_licence(item)
    assert licence_accepted(item)


def test_a_cache_that_cannot_be_written(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="set FACEMEND_CACHE"):
        accept_licence(find_published("codeformer"))
    with pytest.raises(OutputError, match="set FACEMEND_CACHE"):
        fetch_weights("http://127.0.0.1:1/x", SHA)


def held(url: str = "http://127.0.0.1:1/net.pth") -> Path:
    """A file that was downloaded before."""
    folder = cache_dir() / "downloads" / SHA
    folder.mkdir(parents=True)
    path = folder / url.rsplit("/", 1)[-1]
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("allow", [True, False])
def test_what_is_there_needs_no_network(allow: bool) -> None:
    path = held()
    assert fetch_weights("http://127.0.0.1:1/net.pth", SHA.upper(), allow_download=allow) == path
    forget_download(path)
    assert not path.parent.exists()
    forget_download(path)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_offline_says_what_to_do(how: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    if how == "variable":
        monkeypatch.setenv("FACEMEND_OFFLINE", "yes")
    with pytest.raises(WeightsError, match=r"net\.pth: not in the cache.*facemend models import FILE"):
        fetch_weights("http://127.0.0.1:1/net.pth", SHA, allow_download=how == "variable")
    assert not list(cache.rglob("*"))


def test_a_damaged_download_is_not_used() -> None:
    held().write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="this is offline"):
        fetch_weights("http://127.0.0.1:1/net.pth", SHA, allow_download=False)


@pytest.mark.parametrize("last", ["..", "a%2f..%2fb", "net.pth;x", "", "\u4eba.pth", ".hidden"])
def test_no_address_names_a_file_outside_the_folder(last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(url: str, sha256: str, path: Path, **more: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)

    monkeypatch.setattr(module, "download", save)
    path = fetch_weights(f"http://host/{last}", SHA)
    assert path.parent == cache_dir() / "downloads" / SHA
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", path.name)

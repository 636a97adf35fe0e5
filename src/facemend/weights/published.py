"""Models that others publish: where they are, under which licence, and whether the user has accepted it."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from facemend.errors import ModelNotFoundError, OutputError, WeightsError
from facemend.weights.catalog import file_sha256
from facemend.weights.downloads import Progress, check_request, offline, shown_url
from facemend.weights.packages import cache_dir
from facemend.weights.resume import resume_download
from facemend.weights.weight_files import MAX_WEIGHT_BYTES


@dataclass(frozen=True)
class Published:
    """A row of the catalogue `models.toml`, whose head says what each field is."""

    name: str
    url: str
    bytes: int
    sha256: str
    licence: str
    licence_url: str
    task: str
    notes: str


@cache
def published() -> MappingProxyType[str, Published]:
    """The whole catalogue, by name."""
    text = resources.files("facemend.weights").joinpath("models.toml").read_text(encoding="utf-8")
    names = {field.name for field in fields(Published)}
    rows: dict[str, Published] = {}
    for row in tomllib.loads(text)["model"]:
        if set(row) != names or row["name"] in rows:
            raise WeightsError(f"models.toml: row {row.get('name')!r} is incomplete or stands there twice")
        rows[row["name"]] = Published(**row)
    return MappingProxyType(rows)


def find_published(name: str) -> Published:
    """The catalogue row of `name`.

    Raises:
        ModelNotFoundError: there is none.
    """
    try:
        return published()[name]
    except KeyError:
        raise ModelNotFoundError(
            f"{name}: not in the catalogue, which has {', '.join(published())}; "
            "for anything else give --url, --sha256 and --licence"
        ) from None


def published_as(sha256: str) -> Published | None:
    """The catalogue row of the file with that checksum, if there is one."""
    return next((item for item in published().values() if item.sha256 == sha256), None)


def published_for(task: str) -> Published | None:
    """The first catalogue row of a model for that task, if there is one."""
    return next((item for item in published().values() if item.task == task), None)


def mirrored(item: Published) -> str:
    """Where to get it: its own address, or the same file name under FACEMEND_MIRROR.

    Raises:
        WeightsError: FACEMEND_MIRROR is no http or https address.
    """
    mirror = os.environ.get("FACEMEND_MIRROR", "").strip()
    if not mirror:
        return item.url
    try:
        shown_url(mirror)
    except WeightsError as error:
        raise WeightsError(f"FACEMEND_MIRROR: not usable ({error})") from error
    return f"{mirror.rstrip('/')}/{urlsplit(item.url).path.rsplit('/', 1)[-1]}"


def fetch_weights(
    url: str,
    sha256: str,
    *,
    max_bytes: int = MAX_WEIGHT_BYTES,
    allow_download: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Bring a weight file into the cache's folder of downloads; a download that was cut off goes on.

    Args:
        url: http or https; its last part becomes the name of the file.
        sha256: of the file.
        max_bytes: refuse anything longer.
        allow_download: off: only what is there already.
        progress: told after each block.

    Returns:
        Path of the file, which has that checksum.

    Raises:
        WeightsError: the download is not allowed or fails, or brings another file.
        OutputError: the cache cannot be written.
    """
    check_request(url, sha256)
    folder = cache_dir() / "downloads" / sha256.lower()
    name = re.sub(r"[^A-Za-z0-9._-]", "_", urlsplit(url).path.rsplit("/", 1)[-1]).lstrip(".") or "weights"
    path = folder / name
    try:
        if path.is_file() and file_sha256(path) == sha256.lower():
            return path
        if not allow_download or offline():
            raise WeightsError(
                f"{shown_url(url)}: not in the cache, and this is offline; leave out --offline, or bring the "
                "file and use `facemend models import FILE`"
            )
        try:
            resume_download(url, sha256, path, max_bytes=max_bytes, progress=progress)
        finally:
            _remove_if_empty(folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be used ({error}); set FACEMEND_CACHE to another folder"
        ) from error
    return path


def forget_download(path: Path) -> None:
    """Remove a file that `fetch_weights` brought, once it is imported or of no use."""
    path.unlink(missing_ok=True)
    _remove_if_empty(path.parent)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def licence_accepted(item: Published) -> bool:
    """Whether the user has accepted the licence of this model before."""
    return [item.name, item.licence_url] in _accepted()


def accept_licence(item: Published) -> None:
    """Remember that the user has accepted the licence of this model.

    Raises:
        OutputError: the cache cannot be written.
    """
    accepted = _accepted()
    if licence_accepted(item):
        return
    path = _licences_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".licences-")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump([*accepted, [item.name, item.licence_url]], out, indent=1)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); set FACEMEND_CACHE to another folder"
        ) from error


def _licences_file() -> Path:
    return cache_dir() / "accepted_licences.json"


def _accepted() -> list[object]:
    try:
        rows = json.loads(_licences_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return rows if isinstance(rows, list) else []

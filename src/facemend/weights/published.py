"""Models that others publish: bring one, and remember that the user has accepted its licence."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from facemend.errors import WeightsError
from facemend.files import file_sha256, place, unwritable
from facemend.weights.cache import CACHE_FIX, cache_dir, unusable
from facemend.weights.catalog import Published
from facemend.weights.downloads import Progress, check_request, download, offline, shown_url
from facemend.weights.weight_files import MAX_WEIGHT_BYTES


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
            download(url, sha256, path, max_bytes=max_bytes, progress=progress)
        finally:
            _remove_if_empty(folder)
    except OSError as error:
        raise unusable(folder, error) from error
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
    if licence_accepted(item):
        return
    path, accepted = _licences_file(), [*_accepted(), [item.name, item.licence_url]]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place(path, json.dumps(accepted, indent=1).encode(), overwrite=True)
    except OSError as error:
        raise unwritable(path, error, CACHE_FIX) from error


def _licences_file() -> Path:
    return cache_dir() / "accepted_licences.json"


def _accepted() -> list[object]:
    try:
        rows = json.loads(_licences_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return rows if isinstance(rows, list) else []

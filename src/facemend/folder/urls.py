"""Folders by their URLs, for photos and results that no disk of this machine holds: by fsspec."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facemend.errors import ConfigError, InputError, require_extra
from facemend.folder.records import FolderStore, Stamp, checked_length

_FOLDED = re.compile(r"([a-z][a-z0-9+.-]+):/+")


def as_url(path: Path) -> str:
    """A URL as it was before `Path` folded its slashes; a path of this machine as it is."""
    text = path.as_posix()
    match = _FOLDED.match(text)
    if match is None:
        return text
    return f"{match[1]}://{'/' if match[1] == 'file' else ''}{text[match.end() :]}"


class UrlStore:
    """A folder anywhere that fsspec reaches: a path, or a URL such as s3://bucket/folder. See `FileStore`.

    Attributes:
        folder: where it is if it is a folder of this machine, or None.

    Raises:
        MissingExtraError: fsspec is not installed.
        ConfigError: fsspec cannot reach such a URL, or lacks a package for it.
    """

    def __init__(self, url: str) -> None:
        require_extra("--engine ray", "ray")
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        try:
            self._files, self._root = url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigError(f"{url}: cannot be reached ({error})") from error
        self._url = url.rstrip("/")
        self.folder = Path(self._root) if isinstance(self._files, LocalFileSystem) else None

    def holds(self, other: UrlStore) -> bool:
        """Whether the other is this folder or lies in it."""
        mine, its = (store._files.unstrip_protocol(store._root).rstrip("/") + "/" for store in (self, other))
        return bool(its.startswith(mine))

    def full_url(self, path: str) -> str:
        """Of a file in it."""
        return f"{self._url}/{path}"

    def identity(self, path: str) -> str:
        """The same for a file in it, whatever the folder was called."""
        return str(self._files.unstrip_protocol(self._full(path)))

    def names(self) -> list[str]:
        """All files below, sorted.

        Raises:
            InputError: no such folder, or it cannot be listed.
        """
        try:
            found = self._files.find(self._root)
        except OSError as error:
            raise InputError(f"{self._url}: cannot be listed ({error.strerror or error})") from error
        if not self._files.isdir(self._root):
            fix = "is a file: give its folder" if found else "no such folder"
            raise InputError(f"{self._url}: {fix}")
        return sorted(posixpath.relpath(path, self._root) for path in found)

    def stamp(self, path: str) -> Stamp | None:
        """See `FileStore`."""
        try:
            return _stamp(self._files.info(self._full(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, path: str, limit: int) -> bytes:
        """See `FileStore`."""
        with self._files.open(self._full(path), "rb") as file:
            return checked_length(file.read(limit + 1), limit)

    def write(self, path: str, data: bytes) -> None:
        """See `FileStore`. An object store shows an object when all of it is there; a disk needs our care."""
        if self.folder is not None:
            FolderStore(self.folder).write(path, data)
        else:
            self._files.pipe_file(self._full(path), data)

    def _full(self, path: str) -> str:
        return posixpath.join(self._root, path)


def _stamp(facts: Mapping[str, Any]) -> Stamp:
    names = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
    known = (facts.get(name) for name in names)
    return Stamp(int(facts.get("size") or 0), str(next((value for value in known if value is not None), "")))

"""A download that goes on where it was cut off."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from facemend.errors import WeightsError
from facemend.weights.downloads import (
    HttpError,
    Progress,
    TooLongError,
    check_request,
    open_url,
    receive,
    shown_url,
)

logger = logging.getLogger(__name__)

_BLOCK = 1 << 20
_PARTIAL, _RANGE_REFUSED = 206, 416


def resume_download(
    url: str, sha256: str, path: Path, *, max_bytes: int, progress: Progress | None = None
) -> None:
    """Download a file; if an earlier try was cut off, only the rest of it.

    What is there of it lies beside `path` as NAME.part until its checksum is right. The server is told which
    version the part is of (its ETag); where it sends the whole file instead, or the pieces turn out not to
    fit, the download starts over.

    Args:
        url: http or https.
        sha256: of the whole file, 64 hexadecimal digits.
        path: where it is put, whole and checked; its folder is made if needed.
        max_bytes: refuse anything longer.
        progress: told after each block.

    Raises:
        WeightsError: the address or the checksum is malformed, the server fails, or sends another file. Of a
            download that was cut off the part stays, of a wrong one nothing.
        OSError: the file cannot be written.
    """
    check_request(url, sha256)
    shown = shown_url(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(path, url)
    if part.size > max_bytes:
        part.discard()
    while part.digest().hexdigest() != sha256.lower():
        held = part.size
        digest = _fetch(url, shown, part, max_bytes, progress)
        if digest == sha256.lower():
            break
        part.discard()
        if not held:
            raise WeightsError(f"{shown}: the file has sha256 {digest}, not {sha256.lower()}; it is not used")
        logger.info("%s: the rest does not fit what was there already; starting over", shown)
    part.finish()


class _Part:
    """What is there of a file, and which version of it."""

    def __init__(self, target: Path, url: str) -> None:
        self._target = target
        self._url = hashlib.sha256(url.encode()).hexdigest()  # an address can hold secrets
        self.path = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")

    @property
    def size(self) -> int:
        """How many bytes are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def digest(self) -> Any:
        """Checksum object over what is there."""
        digest = hashlib.sha256()
        if self.path.is_file():
            with self.path.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
        return digest

    @property
    def etag(self) -> str:
        """The server's name of the version that the part is of; empty where it gave none."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            return str(note["etag"]) if note["url"] == self._url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def remember(self, etag: str) -> None:
        """Note of which version the bytes are that follow."""
        self._note.write_text(json.dumps({"url": self._url, "etag": etag}), encoding="utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """The part is the whole."""
        os.replace(self.path, self._target)
        self._note.unlink(missing_ok=True)


def _fetch(url: str, shown: str, part: _Part, max_bytes: int, progress: Progress | None) -> str:
    """Append the rest to the part, or get everything anew; sha256 of the whole."""
    answer = _ask_for_rest(url, shown, part)
    if answer is None:
        part.discard()
        answer = open_url(url, shown)
    with answer:
        part.remember(answer.headers.get("ETag", ""))
        digest, held = part.digest(), part.size
        logger.info("downloading %s from byte %d", shown, held)
        try:
            with part.path.open("ab") as out:
                receive(answer, out, digest, shown, max_bytes=max_bytes, held=held, progress=progress)
        except WeightsError as error:
            if isinstance(error, TooLongError) or not part.size:
                part.discard()
            raise
    return str(digest.hexdigest())


def _ask_for_rest(url: str, shown: str, part: _Part) -> Any:
    """The server's answer if it sends the rest of the same version, otherwise None."""
    size = part.size
    if not size:
        return None
    etag = part.etag
    headers = {"Range": f"bytes={size}-"}
    if etag and not etag.startswith("W/"):  # a weak one does not promise equal bytes
        headers["If-Range"] = etag
    try:
        answer = open_url(url, shown, headers)
    except HttpError as error:
        if error.code != _RANGE_REFUSED:
            raise
        return None
    span = answer.headers.get("Content-Range", "")
    same = not etag or answer.headers.get("ETag", etag) == etag
    if answer.status == _PARTIAL and span.startswith(f"bytes {size}-") and same:
        return answer
    answer.close()
    return None

"""Bring one file from a web address, checked by sha256; a download that was cut off goes on."""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from facemend.errors import WeightsError, one_line
from facemend.files import file_sha256

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Told how many bytes are there, and of how many (None: the server does not say)."""

_BLOCK = 1 << 20
_TIMEOUT_S = 1800
"""The longest that one download may take as a whole."""
_SILENCE_S = 60
"""The longest that a server may say nothing."""
_PARTIAL, _RANGE_REFUSED = 206, 416


class _TooLongError(WeightsError):
    """The server sends more than the wanted file can have."""


def offline() -> bool:
    """Whether the environment variable FACEMEND_OFFLINE forbids every download."""
    return os.environ.get("FACEMEND_OFFLINE", "").strip().lower() not in ("", "0", "no", "false")


def require_online(what: str) -> None:
    """Stop before a download that is forbidden.

    Raises:
        WeightsError: FACEMEND_OFFLINE is set.
    """
    if offline():
        raise WeightsError(f"{what}: not in the cache, and FACEMEND_OFFLINE is set; unset it to download")


def check_request(url: str, sha256: str) -> None:
    """Refuse what `download` could never fetch.

    Raises:
        WeightsError: if the address or the checksum is malformed.
    """
    shown_url(url)
    if not re.fullmatch("[0-9a-f]{64}", sha256.lower()):
        raise WeightsError(f"{sha256!r}: not a sha256; give its 64 hexadecimal digits")


def shown_url(url: str) -> str:
    """An address as messages may print it: without password and query, which can hold secrets.

    Raises:
        WeightsError: if it is not an http or https address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise WeightsError(f"--url: not an address ({error}); give one such as https://host/file") from error
    if parts.scheme not in ("http", "https") or not host:
        raise WeightsError(
            f"{url.split('?')[0].rsplit('@', 1)[-1]}: only http and https addresses can be downloaded; "
            "a file on this computer is given with --file or to `facemend models import`"
        )
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"


def download(url: str, sha256: str, path: Path, *, max_bytes: int, progress: Progress | None = None) -> None:
    """Download a file; if an earlier try was cut off, only the rest of it.

    What is there of it lies beside `path` as NAME.part until its checksum is right. The server is told which
    version the part is of (its ETag); where it sends the whole file instead, or the pieces turn out not to
    fit, the download starts over.

    Args:
        url: http or https; redirects to these are followed, proxy settings honoured.
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
    shown, wanted = shown_url(url), sha256.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(path, url)
    if part.size > max_bytes:
        part.discard()
    while part.sha256 != wanted:
        held = part.size
        _fetch(url, shown, part, max_bytes, progress)
        found = part.sha256
        if found == wanted:
            break
        part.discard()
        if not held:
            raise WeightsError(f"{shown}: the file has sha256 {found}, not {wanted}; it is not used")
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

    @property
    def sha256(self) -> str:
        """Of what is there."""
        return file_sha256(self.path) if self.path.is_file() else ""

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


def _fetch(url: str, shown: str, part: _Part, max_bytes: int, progress: Progress | None) -> None:
    """Append the rest to the part, or get everything anew."""
    answer = _ask_for_rest(url, shown, part)
    if answer is None:
        part.discard()
        answer = _open(url, shown)
    with answer:
        part.remember(answer.headers.get("ETag", ""))
        logger.info("downloading %s from byte %d", shown, part.size)
        try:
            with part.path.open("ab") as out:
                _receive(answer, out, shown, max_bytes, progress)
        except WeightsError as error:
            if isinstance(error, _TooLongError) or not part.size:
                part.discard()
            raise


def _ask_for_rest(url: str, shown: str, part: _Part) -> Any:
    """The server's answer if it sends the rest of the same version, otherwise None."""
    size, etag = part.size, part.etag
    if not size:
        return None
    headers = {"Range": f"bytes={size}-"}
    if etag and not etag.startswith("W/"):  # a weak one does not promise equal bytes
        headers["If-Range"] = etag
    answer = _open(url, shown, headers)
    if answer is None:
        return None
    span = answer.headers.get("Content-Range", "")
    same = not etag or answer.headers.get("ETag", etag) == etag
    if answer.status == _PARTIAL and span.startswith(f"bytes {size}-") and same:
        return answer
    answer.close()
    return None


def _open(url: str, shown: str, headers: Mapping[str, str] | None = None) -> Any:
    """Ask for a web address: a context manager with `status`, `headers` and `read1`; None: no such range.

    Raises:
        WeightsError: it cannot be reached, it answers with an error, or FACEMEND_OFFLINE is set.
    """
    require_online(shown)
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "facemend", **(headers or {})})
        return _opener().open(request, timeout=_SILENCE_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _RANGE_REFUSED and headers:
            return None
        raise WeightsError(f"{shown}: the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WeightsError(
            f"{shown}: cannot be reached ({one_line(getattr(error, 'reason', error))})"
        ) from error


def _receive(answer: Any, out: IO[bytes], shown: str, max_bytes: int, progress: Progress | None) -> None:
    """Append a body to a file until it ends.

    Raises:
        _TooLongError: the file, or what is announced of it, is longer than `max_bytes`.
        WeightsError: it is too slow, or ends before its announced length.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    announced = answer.headers.get("Content-Length", "")
    size = out.tell()
    total = size + int(announced) if re.fullmatch("[0-9]+", announced) else None
    while size != total:
        if max(size, total or 0) > max_bytes:
            raise _TooLongError(
                f"{shown}: longer than {max_bytes} bytes, so it is not one of the wanted files"
            )
        try:  # what is there, and no more: a server that drips must not hold up the look at the clock
            block = answer.read1(_BLOCK if total is None else min(_BLOCK, total - size))
        except (OSError, http.client.HTTPException) as error:
            raise WeightsError(f"{shown}: cut off after {size} bytes ({one_line(error)})") from error
        if not block:
            break
        out.write(block)
        size += len(block)
        if progress is not None:
            progress(size, total)
        if time.monotonic() > deadline:
            raise WeightsError(
                f"{shown}: took longer than {_TIMEOUT_S} seconds; try again, or get the file by hand"
            )
    if total is not None and size != total:
        raise WeightsError(f"{shown}: cut off after {size} of {total} bytes; try again")


def _opener() -> urllib.request.OpenerDirector:
    """Speaks http and https only, also where a redirect leads elsewhere; honours the proxy settings."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener

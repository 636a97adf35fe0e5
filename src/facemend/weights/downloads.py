"""Bring one file from a web address, checked by sha256; a download that was cut off goes on."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import logging
import os
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
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
    from filelock import FileLock  # few runs download anything

    check_request(url, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".part.lock")
    with FileLock(lock):  # two at once would write to one part
        try:  # who has waited may find the file
            if not path.is_file() or file_sha256(path) != sha256.lower():
                _download(url, sha256.lower(), path, max_bytes, progress)
        finally:
            with suppress(OSError):  # Windows keeps a file that is held
                lock.unlink()


def _download(url: str, wanted: str, path: Path, max_bytes: int, progress: Progress | None) -> None:
    shown = shown_url(url)
    part, clock = _Part(path, url), _Clock(shown)
    if part.size > max_bytes:
        part.discard()
    while part.sha256 != wanted:
        held = part.size
        _fetch(url, clock, part, max_bytes, progress)
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


class _Clock:
    """The time of one download.

    Attributes:
        shown: what messages call the download.
    """

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self._end = time.monotonic() + _TIMEOUT_S

    def wait(self) -> float:
        """The longest to wait for the next bytes, seconds.

        Raises:
            WeightsError: the time is over.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise WeightsError(
                f"{self.shown}: took longer than {_TIMEOUT_S} seconds; try again, or get the file by hand"
            )
        return min(left, _SILENCE_S)


class _Incoming(io.RawIOBase):
    """What comes from a server; the clock is looked at before each wait.

    Lines of a header and lengths of chunks are read until they end: each byte of a server that drips would
    begin the wait anew.
    """

    def __init__(self, connection: socket.socket, clock: _Clock) -> None:
        self._connection, self._clock = connection, clock
        self._bytes = connection.makefile("rb", buffering=0)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `http.client` asks a connection for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(self._clock.wait())
        try:
            return self._bytes.readinto(buffer)
        except TimeoutError:
            self._clock.wait()  # says so where it is the time of the whole that is over
            raise

    def close(self) -> None:
        self._bytes.close()
        super().close()


class _Web(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """http and https by the clock, proxies and every hop of a redirect included."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock

    def do_open(self, http_class: Any, req: urllib.request.Request, **more: Any) -> Any:
        """See `urllib.request.AbstractHTTPHandler`."""

        def answer(connection: socket.socket, *rest: Any, **named: Any) -> http.client.HTTPResponse:
            incoming: Any = _Incoming(connection, self._clock)
            return http.client.HTTPResponse(incoming, *rest, **named)

        def connection(host: str, **how: Any) -> Any:
            made = http_class(host, **how)
            made.response_class = answer
            return made

        return super().do_open(connection, req, **more)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects, whose bodies are not read: nobody needs them, and they may be endless."""

    def http_error_302(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
    ) -> Any:
        """See `urllib.request.HTTPRedirectHandler`."""
        fp.close()
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _fetch(url: str, clock: _Clock, part: _Part, max_bytes: int, progress: Progress | None) -> None:
    """Append the rest to the part, or get everything anew."""
    shown = clock.shown
    answer = _ask_for_rest(url, clock, part)
    if answer is None:
        part.discard()
        answer = _open(url, clock)
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


def _ask_for_rest(url: str, clock: _Clock, part: _Part) -> Any:
    """The server's answer if it sends the rest of the same version, otherwise None."""
    size, etag = part.size, part.etag
    if not size:
        return None
    headers = {"Range": f"bytes={size}-"}
    if etag and not etag.startswith("W/"):  # a weak one does not promise equal bytes
        headers["If-Range"] = etag
    answer = _open(url, clock, headers)
    if answer is None:
        return None
    span = answer.headers.get("Content-Range", "")
    same = not etag or answer.headers.get("ETag", etag) == etag
    if answer.status == _PARTIAL and span.startswith(f"bytes {size}-") and same:
        return answer
    answer.close()
    return None


def _open(url: str, clock: _Clock, headers: Mapping[str, str] | None = None) -> Any:
    """Ask for a web address: a context manager with `status`, `headers` and `read1`; None: no such range.

    Raises:
        WeightsError: it cannot be reached, answers with an error or too late, or FACEMEND_OFFLINE is set.
    """
    shown = clock.shown
    require_online(shown)
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "facemend", **(headers or {})})
        return _opener(clock).open(request, timeout=clock.wait())
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
    announced = answer.headers.get("Content-Length", "")
    size = out.tell()
    total = size + int(announced) if re.fullmatch("[0-9]+", announced) else None
    while size != total:
        if max(size, total or 0) > max_bytes:
            raise _TooLongError(
                f"{shown}: longer than {max_bytes} bytes, so it is not one of the wanted files"
            )
        try:  # what is there, and no more: `progress` is to hear of it
            block = answer.read1(_BLOCK if total is None else min(_BLOCK, total - size))
        except (OSError, http.client.HTTPException) as error:
            raise WeightsError(f"{shown}: cut off after {size} bytes ({one_line(error)})") from error
        if not block:
            break
        out.write(block)
        size += len(block)
        if progress is not None:
            progress(size, total)
    if total is not None and size != total:
        raise WeightsError(f"{shown}: cut off after {size} of {total} bytes; try again")


def _opener(clock: _Clock) -> urllib.request.OpenerDirector:
    """Speaks http and https only, also where a redirect leads elsewhere; honours the proxy settings."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _Web(clock),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener

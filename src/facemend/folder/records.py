"""What became of each photo of a folder, kept beside the outputs: what a run that continues another goes by.

There is one small file a photo, in OUT/.facemend. Workers on many machines write them without asking each
other, and an object store, which cannot append to a file, holds them as well as a disk does. A photo's record
is written before its outputs: so an output without a record is never ours, and a record without its outputs
means that the work was cut off between the two and is done again. Where outputs are replaced it is written
after them: what is there may have the size of what is to come, and would count as done.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from facemend.errors import OutputError
from facemend.files import file_sha256, file_stamp, place
from facemend.photo.options import RestoreOptions
from facemend.weights.models import ModelInfo

logger = logging.getLogger(__name__)

RECORDS = ".facemend"
"""Folder of the records, below the outputs."""
_PIXELS = (
    "w",
    "likeness",
    "strength",
    "upscale",
    "background",
    "grain",
    "faces",
    "aligned",
    "precision",
    "min_face",
    "max_faces",
    "size",
    "strip_metadata",
    "quality",
)
_LARGEST = 2**22
_PART = re.compile(r"\..*\.[0-9a-f]{12}\.part")  # as `place` names them


@dataclass(frozen=True)
class Stamp:
    """What tells cheaply whether a file is as it was.

    Attributes:
        size: bytes.
        changed: what the file system says of its age or content, as text; only ever compared.
    """

    size: int
    changed: str

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """Of a file; None if there is none."""
        found = file_stamp(path)
        return None if found is None else cls(found[0], str(found[1]))


class FileStore(Protocol):
    """Files below one folder, here or elsewhere. Paths are relative, with slashes."""

    def stamp(self, path: str) -> Stamp | None:
        """Of a file; None if there is none."""

    def read(self, path: str, limit: int) -> bytes:
        """The content.

        Raises:
            FileNotFoundError: there is none.
            OSError: it cannot be read, or has more than `limit` bytes.
        """

    def write(self, path: str, data: bytes) -> None:
        """Write a file whole or not at all; folders are made, what has that name is replaced.

        Raises:
            OSError: it cannot be written.
        """


StoreT = TypeVar("StoreT", bound=FileStore)


class FolderStore:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def below(self, path: Path) -> str:
        """A path as records name it: relative to the folder; absolute where another drive holds it."""
        try:
            name = os.path.relpath(path, self.root)
            if name.startswith(os.pardir):  # where a link leads elsewhere, the way up is another
                there = Path(os.path.realpath(path.parent), path.name)
                name = os.path.relpath(there, os.path.realpath(self.root))
        except ValueError:  # of Windows' drives
            name = os.path.abspath(path)
        return Path(name).as_posix()

    def stamp(self, path: str) -> Stamp | None:
        """See `FileStore`."""
        return Stamp.of(self.root / path)

    def read(self, path: str, limit: int) -> bytes:
        """See `FileStore`."""
        with (self.root / path).open("rb") as file:
            data = file.read(limit + 1)
        return checked_length(data, limit)

    def write(self, path: str, data: bytes) -> None:
        """See `FileStore`."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        place(target, data, overwrite=True)


def checked_length(data: bytes, limit: int) -> bytes:
    """The data, unless there is too much of it.

    Raises:
        OSError: there is.
    """
    if len(data) > limit:
        raise OSError(27, f"more than {limit / 1e6:.0f} MB")
    return data


@dataclass(frozen=True)
class Output:
    """A file that was made of a photo: path relative to the folder of outputs, bytes, SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """A photo that was worked on with success.

    Attributes:
        source: its path below the folder of photos.
        stamp: of the photo as it was read.
        sha256: of its content.
        options: what decides the pixels, see `pixel_options`.
        outputs: all files that were made of it, the main one first.
        faces: box and score of each restored face.
        skipped: the same of those left alone, with the reason.
        notes: what the user should know.
        seconds: time per part.
        factor: how many times as large the photo became.
    """

    source: str
    stamp: Stamp
    sha256: str
    options: Mapping[str, Any]
    outputs: tuple[Output, ...]
    faces: tuple[Mapping[str, Any], ...] = ()
    skipped: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    factor: int = 1

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), ensure_ascii=False).encode(errors="surrogatepass")

    @classmethod
    def from_bytes(cls, data: bytes) -> Record | None:
        """Of JSON; None if it is no record."""
        try:
            values = json.loads(data.decode(errors="surrogatepass"))
            values["stamp"] = Stamp(**values["stamp"])
            values["outputs"] = tuple(Output(**item) for item in values["outputs"])
            for name in ("faces", "skipped", "notes"):
                values[name] = tuple(values[name])
            record = cls(**values)
            told = [(item.path, item.sha256) for item in record.outputs]
            if not told or not all(isinstance(text, str) for texts in told for text in texts):
                return None
            if not isinstance(record.options, dict):
                return None
            return record if all(type(item.size) is int for item in record.outputs) else None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None


class Records(Generic[StoreT]):
    """The records of one folder of outputs, for one run. Threads and processes may share it.

    Args:
        store: the folder of outputs.
        options: of this run, see `pixel_options`.
    """

    def __init__(self, store: StoreT, options: Mapping[str, Any]) -> None:
        self.store, self.options = store, options

    def find(self, output: str, stamp: Stamp | None, sha256: Callable[[], str]) -> Record | None:
        """The record of a photo that was done with the content of now; its options may be others.

        Args:
            output: its main output.
            stamp: of the photo.
            sha256: gives the checksum of the photo; called only where the stamp differs.

        Raises:
            FacemendError, OSError: the photo cannot be read.
        """
        try:
            record = Record.from_bytes(self.store.read(_name(output), _LARGEST))
        except OSError:
            return None
        if record is None:
            return None
        return record if record.stamp == stamp or record.sha256 == sha256() else None

    def other_options(self, record: Record) -> str:
        """What differs between the options of a record and those of now, in words; "" where nothing does."""
        return other_options(record.options, self.options)

    def is_whole(self, outputs: Iterable[Output]) -> bool:
        """Whether all of these are there, by their sizes."""
        stamps = ((item, self.store.stamp(item.path)) for item in outputs)
        return all(stamp is not None and stamp.size == item.size for item, stamp in stamps)

    def holds(self, item: Output) -> bool:
        """Whether an output is there as it was written, by its content."""
        try:
            return digest(self.store.read(item.path, item.size)) == item.sha256
        except OSError:
            return False

    @contextmanager
    def noted(self, record: Record, *, replaces: bool) -> Iterator[None]:
        """Write a record before its outputs, which the block writes, or after them where they replace.

        Raises:
            OutputError: see `put`.
        """
        if not replaces:
            self.put(record)
        yield
        if replaces:
            self.put(record)

    def put(self, record: Record) -> None:
        """Write a record.

        Raises:
            OutputError: it cannot be written.
        """
        name = _name(record.outputs[0].path)
        try:
            self.store.write(name, record.to_bytes())
        except OSError as error:
            raise OutputError(f"{name}: cannot be written ({error.strerror or error})") from error


def _name(output: str) -> str:
    """Where the record of an output is: hashed, as a name must be no path and may not be too long."""
    key = digest(output.encode(errors="surrogatepass"))
    return f"{RECORDS}/{key[:2]}/{key[2:32]}.json"


def digest(data: bytes) -> str:
    """SHA-256 as hexadecimal text."""
    return hashlib.sha256(data).hexdigest()


def pixel_options(options: RestoreOptions, model: ModelInfo | None) -> dict[str, Any]:
    """All that decides the pixels, as JSON can hold it: options, and a digest of the model's graphs.

    Device, backend, threads and the version of facemend are left out: they change the last bits at most, and
    half a million photos must not be done again because a program was updated in the middle.

    Args:
        options: how photos are restored.
        model: the one that they name; None: a checkpoint file.
    """
    graphs = dict(model.sha256) if model else file_sha256(Path(options.model))
    what: dict[str, Any] = {name: getattr(options, name) for name in _PIXELS}
    return what | {"model": digest(json.dumps(graphs, sort_keys=True).encode())}


def other_options(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two sets of `pixel_options`, such as "w 0.5, now 0.7"; "" where nothing does."""
    # What an older version did not know was done as is the default now.
    old = {name: was.get(name, getattr(RestoreOptions, name, None)) for name in sorted({*now, *was})}
    return ", ".join(
        "another model" if name == "model" else f"{name} {value}, now {now.get(name)}"
        for name, value in old.items()
        if value != now.get(name)
    )


@contextmanager
def sole_run(root: Path, *more: Path) -> Iterator[None]:
    """Keep other runs out of a folder of outputs, and remove what a killed one left half written.

    A file system that knows no locks is used without one; then nothing is removed.

    Args:
        root: the folder; is made.
        more: further folders that outputs go to.

    Raises:
        OutputError: another run writes there, or the folder cannot be written to.
    """
    from filelock import FileLock, Timeout  # a run of one file needs none

    folder = root / RECORDS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made a folder ({error.strerror or error})") from error
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
        _remove_parts((root, *more))
    except Timeout:
        raise OutputError(
            f"{root}: another run of facemend writes there; wait for its end or use another folder"
        ) from None
    except (OSError, NotImplementedError):  # some network disks know no locks, and are used anyway
        logger.debug("no lock on %s", folder, exc_info=True)
    try:
        yield
    finally:
        lock.release()


def _remove_parts(folders: Iterable[Path]) -> None:
    for folder in folders:
        for here, _, names in os.walk(folder):
            for name in names:
                if _PART.fullmatch(name):
                    (Path(here) / name).unlink(missing_ok=True)

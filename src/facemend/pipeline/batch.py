"""Which files a run reads and writes: inputs walked, outputs named, nothing overwritten by accident."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import IO, TypeVar

from facemend.errors import ConfigError, InputError, OutputError
from facemend.imaging import SUFFIXES, WRITABLE, Picture, encode_for, place
from facemend.pipeline.records import RECORDS

_AnyPath = TypeVar("_AnyPath", bound=PurePath)
REPORT = "facemend.jsonl"
"""What the report of a folder run is called, beside the outputs."""


@dataclass(frozen=True)
class Job:
    """One picture of a run.

    Attributes:
        source: the file to read.
        output: the file to write.
        relative: its place in the tree of the input, for further outputs in folders of their own.
        mask: the file that says what is to be filled in; None where nothing is.
    """

    source: Path
    output: Path
    relative: Path
    mask: Path | None = None


@dataclass(frozen=True)
class Batch:
    """All pictures of a run.

    Attributes:
        jobs: in the order of the inputs; those of a folder sorted by name.
        ignored: files in the given folders that are no pictures by their names.
        root: the folder that the pictures of folders go to; None where there are no folders, where they have
            one each, or where it is the input.
    """

    jobs: tuple[Job, ...]
    ignored: tuple[Path, ...]
    root: Path | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that are read."""
        masks = {job.mask: None for job in self.jobs if job.mask is not None}  # one may be for all
        return (*(job.source for job in self.jobs), *masks)


def plan_batch(
    inputs: Sequence[Path],
    output: Path | None,
    *,
    marker: str = "_restored",
    extension: str | None = None,
    masks: Path | None = None,
) -> Batch:
    """Find the pictures of a run and name their outputs. Reads folders, writes nothing.

    A named file is always a job, whatever it is; files in folders are jobs if their suffix is one of
    `SUFFIXES`. Folders are walked with all below them, and keep their tree.

    Args:
        inputs: files and folders.
        output: a file (one picture in, and a name with a picture's suffix), or a folder. Without it, outputs
            lie beside the inputs: NAME_restored.EXT, or a folder NAME_restored for a folder.
        marker: what is added to names where there is no `output`.
        extension: suffix of all outputs, with the dot; by default that of the input, or .png where that
            cannot be written.
        masks: one mask for all pictures; or a folder, where each has its own at the same place and with the
            same name, but for the suffix.

    Raises:
        InputError: a folder cannot be listed.
        ConfigError: the output is a file, but there are several inputs or a folder; or it should be a folder
            and is a file.
    """
    single = len(inputs) == 1 and not inputs[0].is_dir()
    to_file = output is not None and not output.is_dir() and output.suffix.lower() in SUFFIXES
    if output is not None and to_file and not single:
        raise ConfigError(f"{output}: several inputs need a folder to write to, not a file")
    if output is not None and not to_file and output.is_file():
        raise ConfigError(f"{output}: is a file, but a folder is needed")

    jobs: list[Job] = []
    ignored: list[Path] = []
    roots: set[Path] = set()
    for path in inputs:
        if not path.is_dir():
            name = output_name(Path(path.name), extension)
            if output is None:
                target = path.parent / f"{name.stem}{marker}{name.suffix}"
            else:
                target = output if to_file else output / name
            jobs.append(Job(path, target, Path(path.name)))
            continue
        root = output or path.resolve().with_name(f"{path.resolve().name}{marker}")
        if root.resolve() != path.resolve():
            roots.add(root)
        for file in _walk(path, leave_out=[root] if masks is None else [root, masks]):
            relative = file.relative_to(path)
            if file.suffix.lower() not in SUFFIXES:
                ignored.append(file)
                continue
            jobs.append(Job(file, root / output_name(relative, extension), relative))
    if masks is not None:
        jobs = [replace(job, mask=_mask(masks, job.relative)) for job in jobs]
    return Batch(tuple(jobs), tuple(ignored), roots.pop() if len(roots) == 1 else None)


def _mask(masks: Path, relative: Path) -> Path:
    """The mask of a picture; where there is none, the path that was looked for first."""
    if not masks.is_dir():
        return masks
    usual = masks / relative.with_suffix(".png")
    others = (masks / relative.with_suffix(suffix) for suffix in (relative.suffix, *sorted(SUFFIXES)))
    return next((path for path in (usual, *others) if path.is_file()), usual)


def output_name(path: _AnyPath, extension: str | None = None) -> _AnyPath:
    """The name of what is made of a picture: its own, or .png where its kind cannot be written."""
    kept = path.suffix if path.suffix.lower() in WRITABLE else ".png"
    return path.with_suffix(extension or kept)


def _stop(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be listed ({error.strerror})")


def _walk(folder: Path, *, leave_out: Sequence[Path]) -> Iterator[Path]:
    """All files below a folder, sorted; folders inside it for outputs or masks are not read as input.

    Nor are the records and the report of a run whose outputs are the input of this one.
    """
    skip = [path.resolve() for path in leave_out]
    for here, folders, files in os.walk(folder, onerror=_stop):
        if RECORDS in folders:
            folders.remove(RECORDS)
            files = [name for name in files if name != REPORT]
        folders[:] = sorted(name for name in folders if (Path(here) / name).resolve() not in skip)
        yield from (Path(here) / name for name in sorted(files))


class Outputs:
    """The files that a run writes. Says before the work whether one may be written. Threads may share it.

    Args:
        inputs: files that are never written to.
        overwrite: whether files that were there before the run may be replaced.
    """

    def __init__(self, inputs: Iterable[Path], *, overwrite: bool) -> None:
        self._overwrite = overwrite
        self._inputs = {path.resolve() for path in inputs}
        self._claimed: set[Path] = set()
        self._lock = threading.Lock()

    def is_input(self, path: Path) -> bool:
        """Whether it is one of the files that are never written to."""
        return path.resolve() in self._inputs

    def claim(self, path: Path, *, done: bool = False) -> None:
        """Take a path for one output of this run.

        Args:
            path: where it is to be.
            done: an earlier run, which this one continues, has put it there.

        Raises:
            OutputError: it is an input, another output has it, or it exists and may not be replaced.
        """
        real = path.resolve()
        if self.is_input(path):
            raise OutputError(f"{path}: is an input and would be overwritten; choose another output")
        with self._lock:
            if real in self._claimed:
                raise OutputError(
                    f"{path}: another picture of this run has the same output; use another folder"
                )
            if not done and not self._overwrite and os.path.lexists(path):
                raise exists_already(path)
            self._claimed.add(real)

    def save(self, path: Path, picture: Picture) -> None:
        """Write a picture to a claimed path, whole or not at all; its folder is made.

        Raises:
            OutputError: it cannot be written.
        """
        self.save_content(path, encode_for(path, picture))

    def save_text(self, path: Path, text: str) -> None:
        """Write a UTF-8 text to a claimed path, whole or not at all; its folder is made.

        Raises:
            OutputError: it cannot be written.
        """
        self.save_content(path, text.encode())

    def save_content(self, path: Path, data: bytes) -> None:
        """Write what a file is to hold to a claimed path, whole or not at all; its folder is made.

        Raises:
            OutputError: it cannot be written.
        """
        _make_folder(path.parent)
        try:
            place(path, data, self._overwrite)
        except FileExistsError:
            raise exists_already(path) from None
        except OSError as error:
            raise unwritable(path, error) from error

    @contextmanager
    def lines(self, path: Path, *, append: bool = False) -> Iterator[Callable[[str], None]]:
        """Write a UTF-8 text to a claimed path line by line, each at once; its folder is made.

        Args:
            path: the file.
            append: go on after what is there; a last line that was cut off is ended first.

        Yields:
            Function that takes a line without its end.

        Raises:
            OutputError: it cannot be written.
        """
        _make_folder(path.parent)
        try:
            file = path.open(f"{'a' if append else 'w' if self._overwrite else 'x'}+b", buffering=0)
        except FileExistsError:
            raise exists_already(path) from None
        except OSError as error:
            raise unwritable(path, error) from error
        with file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            yield lambda line: _write_line(file, path, line)


def _write_line(file: IO[bytes], path: Path, line: str) -> None:
    data = line.encode(errors="replace") + b"\n"
    try:
        if file.write(data) != len(data):
            raise OSError(28, "no space left on device")
    except OSError as error:
        raise unwritable(path, error) from error


def exists_already(path: Path | str) -> OutputError:
    """The error for an output that may not be replaced."""
    return OutputError(f"{path}: exists already; use --overwrite to replace it")


def unwritable(path: Path | str, error: OSError) -> OutputError:
    """The error for an output that could not be written."""
    return OutputError(f"{path}: cannot be written ({error.strerror or error})")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made a folder ({error.strerror})") from error

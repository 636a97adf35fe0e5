"""Which files a run reads and writes: inputs walked, outputs named, nothing overwritten by accident."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os.path import isdir, isfile, realpath  # none of these raises, as those of pathlib do
from pathlib import Path, PurePath
from typing import TypeVar

from facemend.errors import ConfigError, InputError
from facemend.files import as_address, is_of_system
from facemend.folder.records import RECORDS
from facemend.imaging import SUFFIXES, WRITABLE

_AnyPath = TypeVar("_AnyPath", bound=PurePath)
REPORT = "facemend.jsonl"
"""What the report of a folder run is called, beside the outputs."""


@dataclass(frozen=True)
class FileKind:
    """What a run works on.

    Attributes:
        noun: what users call them.
        read: suffixes of the files in folders that are taken, lower case, with the dot.
        written: suffixes that can be written.
        otherwise: the suffix of what is made of the others.
    """

    noun: str
    read: frozenset[str]
    written: tuple[str, ...]
    otherwise: str


PHOTOS = FileKind("photos", frozenset(SUFFIXES), tuple(WRITABLE), ".png")


@dataclass(frozen=True)
class PhotoJob:
    """One picture (or film) of a run.

    Attributes:
        source: the file to read.
        output: the file to write.
        relative: its place in the tree of the input, for further outputs in folders of their own.
        mask: the file that says what is to be filled in; None where nothing is.
        label: what further outputs are named after: the name without its suffix, or with it (`IMG_1_png`)
            where pictures of one folder differ in nothing else.
        home: the input folder that it is of, or that a named file lies in.
        aside: a folder that keeps its further outputs apart from those of other inputs; empty where these
            have no such names.
    """

    source: Path
    output: Path
    relative: Path
    mask: Path | None = None
    label: str = ""
    home: Path = Path()
    aside: Path = Path()


@dataclass(frozen=True)
class Batch:
    """All pictures of a run.

    Attributes:
        jobs: in the order of the inputs; those of a folder sorted by name.
        ignored: files in the given folders that are no pictures by their names.
        root: the folder that the pictures of folders go to; None where there are no folders, where they have
            one each, or where it is the input.
        unlisted: folders in the given ones that cannot be listed.
        earlier: folders in the given ones that hold results of an earlier run, which are no input.
        places: the folders that results go to; those of folders keep their tree there.
    """

    jobs: tuple[PhotoJob, ...]
    ignored: tuple[Path, ...]
    root: Path | None = None
    unlisted: tuple[Path, ...] = ()
    places: tuple[Path, ...] = ()
    earlier: tuple[Path, ...] = ()

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
    ending: str = "",
    masks: Path | None = None,
    kind: FileKind = PHOTOS,
    leave_out: Path | None = None,
) -> Batch:
    """Find the pictures of a run and name their outputs. Reads folders, writes nothing.

    A named file is always a job, whatever it is; files in folders are jobs if they are of the kind by their
    suffix. Folders are walked with all below them, linked ones too but each once, and keep their tree.
    What systems put beside photos (`._NAME`, `@eaDir`, `Thumbs.db`) is no picture. No two pictures get one
    name: the one whose suffix had to change gets it as a part of its name (`scan.gif` -> `scan_gif.png`).

    Args:
        inputs: files and folders.
        output: a file (one picture in, and a name with a picture's suffix), or a folder. Without it, outputs
            lie beside the inputs: NAME_restored.EXT, or a folder NAME_restored for a folder.
        marker: what is added to names where there is no `output`.
        extension: suffix of all outputs, with the dot; by default that of the input, or .png where that
            cannot be written.
        ending: is added to the name of every output but one that `output` names; it takes the marker's place.
        masks: one mask for all pictures; or a folder, where each has its own at the same place and with the
            same name, but for the suffix.
        kind: what is looked for.
        leave_out: another folder of outputs: where it lies in an input, nothing is read of it.

    Raises:
        InputError: a given folder cannot be listed, or an input is an address.
        ConfigError: the output is a file, but there are several inputs or a folder; it should be a folder and
            is a file; it has a suffix that nothing can write; it is an address; or none is named beside the
            root of a drive.
    """
    _check_names(inputs, output, kind)
    single = len(inputs) == 1 and not isdir(inputs[0])
    to_file = output is not None and not isdir(output) and output.suffix.lower() in kind.read
    if output is not None and to_file and not single:
        raise ConfigError(f"{output}: several inputs need a folder to write to, not a file")
    if output is not None and not to_file and isfile(output):
        raise ConfigError(f"{output}: is a file, but a folder is needed")

    jobs: list[PhotoJob] = []
    ignored: list[Path] = []
    unlisted: list[Path] = []
    earlier: list[Path] = []
    roots: set[Path] = set()
    places: dict[Path, None] = {}
    for path in inputs:
        if not isdir(path):
            name = output_name(Path(path.name), extension, kind, ending)
            if output is None:
                target = path.parent / (name if ending else f"{name.stem}{marker}{name.suffix}")
            else:
                target = output if to_file else output / name
            jobs.append(PhotoJob(path, target, Path(path.name), home=path.parent))
            places[target.parent] = None
            continue
        real = Path(realpath(path))
        if output is None and not real.name:
            raise ConfigError(f"{path}: has no folder beside it: name one for the results (-o FOLDER)")
        root = output or real.with_name(f"{real.name}{marker}")
        places[root] = None
        if realpath(root) != str(real):
            roots.add(root)
        others = [each for each in (root, masks, leave_out) if each is not None]
        for file in _walk(path, others, unlisted, earlier):
            relative = file.relative_to(path)
            if file.suffix.lower() not in kind.read:
                ignored.append(file)
                continue
            made = root / output_name(relative, extension, kind, ending)
            jobs.append(PhotoJob(file, made, relative, home=path))
    if masks is not None:
        jobs = [replace(job, mask=_mask(masks, job.relative)) for job in jobs]
    root_of_all = roots.pop() if len(roots) == 1 else None
    told = (tuple(ignored), root_of_all, tuple(unlisted), tuple(places), tuple(earlier))
    return Batch(tuple(_set_aside(_apart(jobs))), *told)


def _check_names(inputs: Sequence[Path], output: Path | None, kind: FileKind) -> None:
    for path in inputs:
        if address := as_address(path):
            raise InputError(f"{address}: addresses are not fetched: download the file first")
    if output is not None and (address := as_address(output)):
        raise ConfigError(f"{address}: is no folder of this computer (--engine ray writes to addresses)")
    suffix = output.suffix.lower() if output is not None else ""
    if output is None or not suffix or isdir(output) or suffix in kind.written or any(map(isdir, inputs)):
        return
    raise ConfigError(
        f"{output}: {suffix} is nothing that {kind.noun} can be written as "
        f"(use one of {' '.join(kind.written)}); "
        "a folder of that name has to be made first"
    )


def _apart(jobs: Sequence[PhotoJob]) -> list[PhotoJob]:
    """The jobs with labels, and with names that differ where only the suffixes of their pictures do."""

    def place(path: Path) -> tuple[Path, str]:
        return path.parent, path.stem.casefold()

    alike = Counter(place(job.output) for job in jobs)
    taken = Counter(job.output for job in jobs)
    made = []
    for job in jobs:
        kind = job.source.suffix[1:].lower()
        label = job.output.stem if alike[place(job.output)] == 1 or not kind else f"{job.output.stem}_{kind}"
        output = job.output
        if taken[output] > 1 and output.suffix != job.source.suffix:
            output = output.with_name(f"{output.stem}_{kind}{output.suffix}")
            if taken[output]:  # there is such a picture, too: the run will say so
                output = job.output
        made.append(replace(job, label=label, output=output))
    return made


def _set_aside(jobs: Sequence[PhotoJob]) -> Sequence[PhotoJob]:
    """The same; where jobs of several inputs have one name, those of each in a folder named after it."""
    homes = list(dict.fromkeys(job.home for job in jobs))
    if len(homes) < 2 or len({(job.relative.parent, job.label.casefold()) for job in jobs}) == len(jobs):
        return jobs
    asides: dict[Path, Path] = {}
    taken = Counter[str]()
    for home in homes:
        name = Path(realpath(home)).name or "root"
        taken[name.casefold()] += 1
        number = taken[name.casefold()]
        asides[home] = Path(name if number == 1 else f"{name}_{number}")
    return [replace(job, aside=asides[job.home]) for job in jobs]


def _mask(masks: Path, relative: Path) -> Path:
    """The mask of a picture; where there is none, the path that was looked for first."""
    if not isdir(masks):
        return masks
    usual = masks / relative.with_suffix(".png")
    others = (masks / relative.with_suffix(suffix) for suffix in (relative.suffix, *sorted(SUFFIXES)))
    return next((path for path in (usual, *others) if isfile(path)), usual)


def output_name(
    path: _AnyPath, extension: str | None = None, kind: FileKind = PHOTOS, ending: str = ""
) -> _AnyPath:
    """The name of what is made of a file: its own, with another suffix where its own cannot be written."""
    kept = path.suffix if path.suffix.lower() in kind.written else kind.otherwise
    return path.with_name(f"{path.stem}{ending}{extension or kept}")


def _walk(
    folder: Path, leave_out: Sequence[Path], unlisted: list[Path], earlier: list[Path]
) -> Iterator[Path]:
    """All files below a folder, sorted; folders inside it for outputs or masks are not read as input.

    Nor are the records and the report of a run whose outputs are the input of this one, nor what systems put
    beside files. Folders that cannot be listed are added to `unlisted`, those that have records of a run, and
    so its results, to `earlier`.
    """
    seen = {realpath(path) for path in (*leave_out, folder)}

    def failed(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error
        unlisted.append(Path(error.filename))

    for here, folders, files in os.walk(folder, onerror=failed, followlinks=True):
        if RECORDS in folders:
            folders.remove(RECORDS)
            files = [name for name in files if name != REPORT]
        kept = []
        for name in sorted(folders):
            real = realpath(Path(here) / name)
            if is_of_system(name) or real in seen:
                continue
            seen.add(real)
            if isdir(os.path.join(real, RECORDS)):
                earlier.append(Path(here) / name)
            else:
                kept.append(name)
        folders[:] = kept
        yield from (Path(here) / name for name in sorted(files) if not is_of_system(name))

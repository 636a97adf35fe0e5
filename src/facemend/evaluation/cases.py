"""The pictures of a run: what lies in the folders, and one case after the other as pixels."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemend.degradations import degrade, preset
from facemend.errors import InputError
from facemend.evaluation.options import MIN_SIZE, EvaluationOptions
from facemend.files import faces_in, file_sha256, read_table
from facemend.folder.plan import plan_batch
from facemend.imaging import from_float, in_srgb, read_picture, read_size, resize

logger = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

TURNED = 0.4
"""Faces whose |yaw| (landmark asymmetry, about -1 to 1) is above this count as turned."""


@dataclass(frozen=True)
class Entry:
    """A case that was not read yet.

    Attributes:
        name: path within the folder, forward slashes.
        face: the original; the damaged picture where there is no original.
        lq: the damaged picture, where it is given.
        seed: of its degradation, where this run makes it.
        labels: what the table says of it, for the slices.
    """

    name: str
    face: Path
    lq: Path | None
    seed: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Case:
    """A case as pixels.

    Attributes:
        hq: (S, S, 3) uint8 RGB original, or None.
        lq: (S, S, 3) uint8 RGB damaged picture.
        plan: how it was damaged, in words, or None.
    """

    hq: Pixels | None
    lq: Pixels
    plan: str | None

    @property
    def digest(self) -> str:
        """sha256 of size and pixels of the damaged picture as it was used."""
        return hashlib.sha256(repr(self.lq.shape).encode() + self.lq.tobytes()).hexdigest()


def find_entries(options: EvaluationOptions) -> list[Entry]:
    """The cases of a run, in the order of `facemend degrade`: by name, sub-folders last.

    Raises:
        InputError: there are no pictures, a partner is missing or not certain, or the table cannot be read.
    """
    faces = pictures(options.faces)
    if not faces:
        raise InputError(f"{options.faces}: no pictures found")
    labels = _labels(options)
    if options.lq is not None or options.restored:
        by_stem(options.faces)  # refuses two faces with one and the same partner
    partners: dict[str, Path] = {}
    if options.lq is not None:
        partners = by_stem(options.lq)
        missing = [name for name in faces if stem(name) not in partners]
        if missing and (not options.incomplete or len(missing) == len(faces)):
            raise InputError(f"{options.lq}: no picture for {few(missing)}")
    entries = [
        Entry(name, path, partners.get(stem(name)), options.seed + number, labels.get(path.name, {}))
        for number, (name, path) in enumerate(faces.items())
        if not partners or stem(name) in partners
    ]
    return entries[:: options.every]


def usable(entries: Sequence[Entry], options: EvaluationOptions) -> list[Entry]:
    """The cases that can be measured; all are read, as hours of work may lie before the last one.

    Raises:
        InputError: of some a file cannot be read, is not square or is too small, and `options.incomplete` is
            off; or of all.
    """
    good, wrong = [], []
    for entry in entries:
        try:
            side = len(read_face(entry.face, options.size))
            if entry.lq is not None:
                read_face(entry.lq, side)
        except InputError as error:
            wrong.append(str(error))
        else:
            good.append(entry)
    if wrong and not (good and options.incomplete):
        raise InputError("; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""))
    for problem in wrong:
        logger.warning("left out: %s", problem)
    return good


def common_size(entries: Sequence[Entry], options: EvaluationOptions) -> int | None:
    """The side that all faces are brought to: as asked for, else the smallest, so that figures compare.

    None without originals: real damaged faces stay as they are. Only the headers of the files are read.

    Raises:
        InputError: a file is no picture.
    """
    if options.size is not None or not options.reference:
        return options.size
    return min(min(read_size(entry.face)) for entry in entries)


def load_case(entry: Entry, options: EvaluationOptions) -> Case:
    """Read one case, and damage it if that is asked for.

    Raises:
        InputError: a file cannot be read or is not square.
    """
    face = read_face(entry.face, options.size)
    if not options.reference:
        return Case(None, face, None)
    if entry.lq is not None:
        return Case(face, read_face(entry.lq, len(face)), None)
    lq, plan = degrade(face, preset(options.preset), entry.seed)
    return Case(face, lq, str(plan))


def read_face(path: Path, size: int | None) -> Pixels:
    """An aligned face as (S, S, 3) uint8 RGB; at another size than its own if `size` says so.

    Raises:
        InputError: the file cannot be read, is not square or is too small to be measured.
    """
    image = in_srgb(read_picture(path)).as_float()
    if image.shape[0] != image.shape[1]:
        raise InputError(f"{path}: {image.shape[1]}x{image.shape[0]} is not square, so not an aligned face")
    if size is not None:
        image = resize(image, (size, size), "bicubic")
    if len(image) < MIN_SIZE:
        raise InputError(
            f"{path}: {len(image)} pixels are too few to measure; the least is {MIN_SIZE} (or give --size)"
        )
    return from_float(image).astype(np.uint8, copy=False)


def by_stem(folder: Path) -> dict[str, Path]:
    """Pictures of a folder and its sub-folders by their path without suffix: other programs change suffixes.

    Raises:
        InputError: the folder is missing, or two files differ in nothing but the suffix.
    """
    found: dict[str, Path] = {}
    for name, path in pictures(folder).items():
        if stem(name) in found:
            raise InputError(f"{path}: there is {found[stem(name)].name} too; which of them is meant?")
        found[stem(name)] = path
    return found


def describe(entry: Entry, options: EvaluationOptions) -> dict[str, object]:
    """The row of a case in the results: hashes of its files, the seed of its degradation, its labels."""
    digest = file_sha256(entry.face)
    return {
        "name": entry.name,
        "hq": digest if options.reference else None,
        "lq": file_sha256(entry.lq) if entry.lq else (None if options.reference else digest),
        "seed": entry.seed if options.degrades else None,
        "labels": dict(entry.labels),
    }


def pictures(folder: Path) -> dict[str, Path]:
    """Those of a folder and its sub-folders by their paths within it, without what systems put there.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    # The order decides the seeds: it must be that of `facemend degrade`.
    return {job.relative.as_posix(): job.source for job in plan_batch([faces_in(folder)], None).jobs}


def stem(name: str) -> str:
    """A name without its suffix."""
    return name.rpartition(".")[0]


def few(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _labels(options: EvaluationOptions) -> dict[str, dict[str, str]]:
    """File name -> labels, from the table beside the folder or the one that the user names."""
    beside = options.faces.resolve().with_name(options.faces.resolve().name + ".csv")
    path = options.table or beside
    if options.table is None and not beside.is_file():
        return {}
    return {row["file"]: _row_labels(row, path) for row in read_table(path, ["file"])}


def _row_labels(row: Mapping[str, str], path: Path) -> dict[str, str]:
    labels = {key: row[key] for key in ("source", "kind", "wears") if row.get(key)}
    if row.get("yaw"):
        try:
            yaw = float(row["yaw"])
        except ValueError:
            yaw = math.nan
        if not math.isfinite(yaw):
            raise InputError(f"{path}: yaw of {row['file']} is {row['yaw']!r}, not a number")
        labels["pose"] = "turned" if abs(yaw) > TURNED else "frontal"
    return labels

"""What travels to a machine for training and back: pictures as one file, weights in parts.

Pictures go as they are, with their tables, into one uncompressed zip, whose checksums tell damage. Weights
come back as float16 in parts of a few MiB, beside a small JSON that says how to join and check them; whoever
copies the folder at any moment finds one whole set of parts.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from facemend.data.faces import pictures_in
from facemend.errors import ConfigError, ExistsError, FacemendError, InputError
from facemend.files import whole_file
from facemend.networks.codeformer.checkpoint import load_checkpoint, save_checkpoint

MIB = 2**20
UNPACKED, MILESTONE = "unpacked.json", "milestone.json"
MOST_PARTS = 8


def drawn(folders: Iterable[Any]) -> set[Path]:
    """Pictures that the folders of a config (`path`, `without`) are drawn from."""
    return {file for folder in folders for file in pictures_in(folder.path, folder.without)}


def pack(
    file: Path, root: Path, faces: Iterable[Path], others: Iterable[Path], limit: int | None = None
) -> int | None:
    """Write training pictures, and other files, into one zip.

    Args:
        file: to write.
        root: folder that all lie in; names in the zip are relative to it. train.csv in it knows sources.
        faces: training pictures.
        others: files that are taken whatever the size: tables, test faces.
        limit: bytes that the zip may have; above it only the first K faces of each source of each folder are
            taken, by name, with the largest K that fits.

    Returns:
        K; None if all were taken.
    """
    groups, others = _by_source(root, faces), list(others)

    def members(most: int | None) -> dict[str, Path]:
        chosen = sorted({*others, *(path for group in groups for path in group[:most])})
        return {path.relative_to(root).as_posix(): path for path in chosen}

    def size(most: int | None) -> int:
        return 22 + sum(76 + 2 * len(k.encode()) + path.stat().st_size for k, path in members(most).items())

    most: int | None = None
    if limit is not None and size(None) > limit:
        most = bisect_right(range(1, 1 + max(map(len, groups))), limit, key=size)
        if not most:
            raise ConfigError(f"{file}: one face of each source needs --pack-mib {size(1) / MIB + 0.1:.1f}")
    with whole_file(file) as part, ZipFile(part, "w", strict_timestamps=False) as archive:
        for name, path in members(most).items():
            archive.write(path, name)
    return most


def _by_source(root: Path, faces: Iterable[Path]) -> list[list[Path]]:
    """Pictures of each source of each folder, by name."""
    table = root / "train.csv"
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines())) if table.is_file() else []
    # A face at 512 px has the name of its copy at 256 px, and only that one is in the table.
    sources = {row["file"]: row.get("source", "") for row in rows}
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(faces):
        if not path.is_relative_to(root):
            raise ConfigError(f"{path.parent}: lies outside {root}, so it cannot be packed; move it there")
        groups.setdefault((path.parent, sources.get(path.name, "")), []).append(path)
    if not groups:
        raise InputError(f"{root}: no training pictures; name their folder with --data")
    return list(groups.values())


def unpack(file: Path, folder: Path) -> Path:
    """Unpack and check a zip that `pack` wrote; done already, it only returns the folder."""
    aside, done = folder.with_name(folder.name + ".aside"), folder / UNPACKED
    try:
        with ZipFile(file) as archive:
            held = json.dumps([(member.filename, member.CRC) for member in archive.infolist()])
            if done.is_file() and done.read_text() == held:
                return folder
            shutil.rmtree(aside, ignore_errors=True)
            archive.extractall(aside)
        (aside / UNPACKED).write_text(held)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except (OSError, BadZipFile) as error:
        raise InputError(f"{file}: not a whole file of --pack ({error}); make or copy it again") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def count_parts(size: int, part_mib: float) -> int:
    """How many parts so many bytes need; too many are an error."""
    count = -(-size // int(part_mib * MIB))
    if count > MOST_PARTS:
        least = -(-size // (MOST_PARTS * MIB))
        raise ConfigError(f"weights would need {count} parts, {MOST_PARTS} are allowed: --part-mib {least}")
    return count


def put_parts(weights: bytes, folder: Path, part_mib: float, facts: Mapping[str, Any]) -> None:
    """Replace the milestone in a folder by a file of weights, cut into parts.

    The JSON is renamed into place when its parts are there, and older parts go last: it always speaks of
    whole parts. Only where old and new ones together would be more than `MOST_PARTS` the old ones go first.
    """
    sha, size = hashlib.sha256(weights).hexdigest(), int(part_mib * MIB)
    names = [f"weights-{sha[:12]}.{number}" for number in range(count_parts(len(weights), part_mib))]
    milestone = folder / MILESTONE
    old = set(json.loads(milestone.read_text())["parts"]) if milestone.is_file() else set()
    _keep_only(old, folder)  # not what a stop in the middle has left
    if len(old.union(names)) > MOST_PARTS:
        milestone.unlink()
        _keep_only(set(), folder)
    for number, name in enumerate(names):
        with whole_file(folder / name) as part:
            part.write_bytes(weights[number * size :][:size])
    how = "scripts/train_default.py --join FOLDER -o FILE (the parts, one behind the other)"
    record = {"join": how, "bytes": len(weights), "sha256": sha, "parts": names, **facts}
    with whole_file(milestone) as part:
        part.write_text(json.dumps(record, indent=1))
    _keep_only(set(names), folder)


def _keep_only(names: Set[str], folder: Path) -> None:
    for path in folder.glob("weights-*"):
        if path.name not in names:
            path.unlink()


class Milestones:
    """Writes the newest weights of a run into a folder, again and again.

    Args:
        product: the run's checkpoint, rewritten now and then.
        folder: for the parts; None writes nothing.
        part_mib: size of a part at most.
        note: told of each milestone, and of trouble, which does not stop the training.
    """

    def __init__(
        self, product: Path, folder: Path | None, part_mib: float, note: Callable[..., None]
    ) -> None:
        self._product, self._folder, self._part_mib, self._note = product, folder, part_mib, note
        self._seen, self._clock = 0.0, time.monotonic()

    def write(self, after: float) -> None:
        """Write one if the weights are newer than those of the last and so many seconds have gone by."""
        if self._folder is None or not self._product.is_file() or time.monotonic() - self._clock < after:
            return
        if (changed := self._product.stat().st_mtime) == self._seen:
            return
        half = self._product.with_name("half.safetensors")
        try:
            found = load_checkpoint(self._product)
            state = {
                k: value.half() if value.is_floating_point() else value for k, value in found.state.items()
            }
            save_checkpoint(half, state, found.config, {**found.info, "precision": "fp16"})
            facts = {"stage": found.info.get("stage"), "step": found.info.get("step")}
            put_parts(half.read_bytes(), self._folder, self._part_mib, facts)
            self._note("milestone", **facts)
        except (FacemendError, OSError) as error:
            self._note("no milestone", reason=str(error))
        finally:
            half.unlink(missing_ok=True)
        self._seen, self._clock = changed, time.monotonic()


def join_parts(folder: Path, out: Path) -> None:
    """Put the weights of a milestone together and check them."""
    if out.exists():
        raise ExistsError(out)
    try:
        milestone = json.loads((folder / MILESTONE).read_text())
        joined = b"".join((folder / name).read_bytes() for name in milestone["parts"])
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: no whole milestone ({error}); copy all of its files again") from None
    if hashlib.sha256(joined).hexdigest() != milestone["sha256"]:
        raise InputError(f"{folder}: its parts are damaged; copy all of its files again")
    with whole_file(out) as part:
        part.write_bytes(joined)

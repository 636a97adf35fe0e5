"""What travels to a machine for training and back: pictures as one file, weights in parts.

Pictures go as they are, with their tables and a manifest, into one uncompressed tar. Weights come back as
float16 in parts of a few MiB, beside a small JSON that says how to join and check them; whoever copies the
folder at any moment finds one whole set of parts.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from facemend.errors import ConfigError, ExistsError, FacemendError, InputError, OutputError
from facemend.files import whole_file

MIB = 2**20
MANIFEST, MILESTONE = "manifest.json", "milestone.json"
MOST_PARTS = 8


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Pictures: one tar.


def drawn(folders: Iterable[Any]) -> set[Path]:
    """Pictures that the folders of a config (`path`, perhaps `without`) are drawn from."""
    from facemend.imaging import SUFFIXES

    faces: set[Path] = set()
    for folder in folders:
        without = getattr(folder, "without", None)  # names that this folder leaves to another
        taken = {path.name for path in without.glob("*")} if without else set()
        found = (path for path in folder.path.glob("*") if path.suffix.lower() in SUFFIXES)
        faces |= {path for path in found if path.name not in taken}
    return faces


def pack(
    file: Path, root: Path, faces: Iterable[Path], others: Iterable[Path], limit: int | None = None
) -> dict[str, Any]:
    """Write training pictures, and other files, into one tar with a manifest.

    Args:
        file: to write.
        root: folder that all lie in; names in the tar are relative to it. train.csv in it knows sources.
        faces: training pictures.
        others: files that are taken whatever the size: tables, test faces.
        limit: bytes that the tar may have; above it only the first K faces of each source of each folder are
            taken, by name, with the largest K that fits.

    Returns:
        The manifest: "each_source" (K, None = all) and "files" (name: SHA-256).
    """
    groups = _by_source(root, faces)
    others = list(others)

    def members(most: int | None) -> list[Path]:
        return sorted({*others, *(path for group in groups for path in group[:most])})

    most: int | None = None
    if limit is not None and _tar_size(root, members(None)) > limit:
        fits, above = 0, max(len(group) for group in groups)
        while above - fits > 1:
            middle = (fits + above) // 2
            fits, above = (middle, above) if _tar_size(root, members(middle)) <= limit else (fits, middle)
        if not fits:
            least = _tar_size(root, members(1))
            raise ConfigError(f"{file}: one face of each source needs --pack-mib {least / MIB + 0.1:.1f}")
        most = fits
    chosen = members(most)
    files = {path.relative_to(root).as_posix(): digest(path) for path in chosen}
    manifest = {"each_source": most, "files": files}
    with whole_file(file) as part:
        _write_tar(part, root, chosen, json.dumps(manifest).encode())
    return manifest


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


def _tar_size(root: Path, paths: Sequence[Path]) -> int:
    """Upper bound of the bytes of a tar, manifest and end included; long names take two blocks more."""
    names = [path.relative_to(root).as_posix() for path in paths]
    blocks = sum(1 if len(name.encode()) <= 100 else 3 for name in names)
    blocks += sum(-(-path.stat().st_size // 512) for path in paths)
    manifest = sum(len(json.dumps(name)) + 80 for name in names) + 100
    return 512 * blocks + manifest + 3 * 512 + tarfile.RECORDSIZE


def _write_tar(part: Path, root: Path, paths: Sequence[Path], manifest: bytes) -> None:
    with tarfile.open(part, "w") as tar:
        head = tarfile.TarInfo(MANIFEST)
        head.size = len(manifest)
        tar.addfile(head, io.BytesIO(manifest))
        for path in paths:
            member = tarfile.TarInfo(path.relative_to(root).as_posix())
            member.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(member, file)


def unpack(file: Path, folder: Path) -> Path:
    """Unpack a tar that `pack` wrote, check it by its manifest; done already, it only returns the folder."""
    aside = folder.with_name(folder.name + ".aside")
    try:
        with tarfile.open(file) as tar:
            head = tar.extractfile(MANIFEST)
            text = head.read() if head else b""
            if (folder / MANIFEST).is_file() and (folder / MANIFEST).read_bytes() == text:
                return folder
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            tar.extractall(aside, filter="data")
        files: dict[str, str] = json.loads(text)["files"]
        bad = [name for name, sha in files.items() if digest(aside / name) != sha]
        if bad:
            raise InputError(f"{file}: {bad[0]} is damaged; copy the file again")
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise InputError(f"{file}: not a whole file of --pack ({error}); make or copy it again") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


# Weights: parts.


def halve(checkpoint: Path, out: Path) -> dict[str, Any]:
    """Copy a checkpoint with its weights as float16; returns its record."""
    from facemend.networks.codeformer.checkpoint import load_checkpoint, save_checkpoint

    found = load_checkpoint(checkpoint)
    state = {name: v.half() if v.is_floating_point() else v for name, v in found.state.items()}
    save_checkpoint(out, state, found.config, {**found.info, "precision": "fp16"})
    return found.info


def count_parts(size: int, part_mib: float) -> int:
    """How many parts so many bytes need; too many are an error."""
    count = -(-size // int(part_mib * MIB))
    if count > MOST_PARTS:
        least = -(-size // (MOST_PARTS * MIB))
        raise ConfigError(f"weights would need {count} parts, {MOST_PARTS} are allowed: --part-mib {least}")
    return count


def put_parts(weights: Path, folder: Path, part_mib: float, facts: Mapping[str, Any]) -> None:
    """Replace the milestone in a folder by a file of weights, cut into parts.

    All parts are written aside, beside the weights, before any is moved. The JSON is renamed into place when
    its parts are there, and older parts go last: it always speaks of whole parts. Only where the old and the
    new ones together would be more than `MOST_PARTS` the old ones go first.
    """
    count = count_parts(weights.stat().st_size, part_mib)
    sha = digest(weights)
    aside = weights.with_name("parts.aside")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows = _cut(weights, aside, f"weights-{sha[:12]}", int(part_mib * MIB))
        new, milestone = {row["file"] for row in rows}, folder / MILESTONE
        old = _named(milestone)
        _remove(folder, keep=old)  # what a stop in the middle has left
        if len(old | new) > MOST_PARTS:
            milestone.unlink()
            _remove(folder, keep=set())
        for name in sorted(new):
            _move(aside / name, folder / name)
    except OSError as error:
        raise OutputError(f"{folder}: no milestone written ({error.strerror}); make room there") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    text = json.dumps(
        {
            "join": "scripts/train_default.py --join FOLDER -o FILE (the parts, one behind the other)",
            "bytes": weights.stat().st_size,
            "sha256": sha,
            "parts": rows,
            **facts,
        },
        indent=1,
    )
    assert count == len(rows)
    with whole_file(milestone) as part:
        part.write_text(text)
    _remove(folder, keep=new)


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
            info = halve(self._product, half)
            facts = {"stage": info.get("stage"), "step": info.get("step")}
            put_parts(half, self._folder, self._part_mib, facts)
            self._note("milestone", **facts)
        except FacemendError as error:
            self._note("no milestone", reason=str(error))
        finally:
            half.unlink(missing_ok=True)
        self._seen, self._clock = changed, time.monotonic()


def _cut(weights: Path, aside: Path, stem: str, size: int) -> list[dict[str, Any]]:
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    rows: list[dict[str, Any]] = []
    with weights.open("rb") as file:
        while piece := file.read(size):
            name = f"{stem}.{len(rows)}"
            (aside / name).write_bytes(piece)
            rows.append({"file": name, "bytes": len(piece), "sha256": hashlib.sha256(piece).hexdigest()})
    return rows


def _named(milestone: Path) -> set[str]:
    """Parts that a milestone speaks of."""
    if not milestone.is_file():
        return set()
    return {row["file"] for row in json.loads(milestone.read_text())["parts"]}


def _remove(folder: Path, keep: set[str]) -> None:
    for path in folder.glob("weights-*"):
        if path.name not in keep:
            path.unlink()


def _move(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with whole_file(target) as part:  # another disk
            shutil.copyfile(source, part)


def join_parts(folder: Path, out: Path) -> None:
    """Put the weights of a milestone together and check them."""
    if out.exists():
        raise ExistsError(out)
    try:
        milestone = json.loads((folder / MILESTONE).read_text())
        pieces = [(folder / row["file"]).read_bytes() for row in milestone["parts"]]
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: no whole milestone ({error}); copy all of its files again") from None
    for row, piece in zip(milestone["parts"], pieces, strict=True):
        if hashlib.sha256(piece).hexdigest() != row["sha256"]:
            raise InputError(f"{folder / row['file']}: is damaged; copy it again")
    joined = b"".join(pieces)
    if hashlib.sha256(joined).hexdigest() != milestone["sha256"]:
        raise InputError(f"{folder}: its parts do not make the weights; copy all of its files again")
    with whole_file(out) as part:
        part.write_bytes(joined)

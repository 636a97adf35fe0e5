"""Test protocols by name: what a set must look like, and how papers measured on it.

The data is `protocols.toml`. Nothing here needs torch, and of the pictures only the headers are read.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import permutations
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from facemend.errors import ConfigError, FacemendError, InputError
from facemend.evaluation.cases import few, pictures, stem
from facemend.files import read_table
from facemend.imaging import read_size

Kind = Literal["full-reference", "no-reference"]

NAMED = 10
"""How many files one problem names; the rest is counted."""


@dataclass(frozen=True)
class Protocol:
    """A way to measure that has a name.

    Attributes:
        name: what `--protocol` takes.
        title: heading for a reader.
        kind: "full-reference" when a clean picture of every face exists, "no-reference" when not.
        layout: what the folder must hold, in words.
        papers: how publications computed their figures, one sentence each.
        notes: what a user has to know, one sentence each.
        count: number of faces in the set; None for a folder of any length.
        size: side of the faces in pixels; None for any. Where `degradation` is given, the clean faces may be
            larger.
        degradation: preset that makes the degraded inputs; None when they come with the set.
        seed: seed of that preset, or None.
    """

    name: str
    title: str
    kind: Kind
    layout: str
    papers: tuple[str, ...]
    notes: tuple[str, ...]
    count: int | None = None
    size: int | None = None
    degradation: str | None = None
    seed: int | None = None

    @property
    def paired(self) -> bool:
        """Whether the set brings its degraded inputs along with the clean faces."""
        return self.kind == "full-reference" and self.degradation is None


@cache
def protocols() -> Mapping[str, Protocol]:
    """All protocols by name, in the order of the documentation."""
    text = resources.files("facemend.evaluation").joinpath("protocols.toml").read_text(encoding="utf-8")
    found = {}
    for block in tomllib.loads(text)["protocol"]:
        found[block["name"]] = Protocol(**block | {key: tuple(block[key]) for key in ("papers", "notes")})
    return MappingProxyType(found)


def protocol(name: str) -> Protocol:
    """The protocol of that name; upper and lower case do not matter.

    Raises:
        ConfigError: there is none.
    """
    for known, found in protocols().items():
        if known.casefold() == name.casefold():
            return found
    raise ConfigError(f"no protocol {name!r}; there are: {', '.join(protocols())}")


def check_layout(protocol: Protocol, folder: Path) -> list[str]:
    """Compare a folder with what a protocol expects.

    Args:
        protocol: what to expect.
        folder: the folder that the user gave.

    Returns:
        What does not fit and what to do about it, one line each. Sub-folders belong to a folder, as they do
        for `facemend evaluate`; files that are no pictures are passed over.
    """
    if not folder.is_dir():
        return [f"{folder}: no such folder; {protocol.name} needs {protocol.layout}"]
    if protocol.paired:
        return _check_pairs(protocol, folder)
    if protocol.kind == "no-reference":
        return _check_folder(protocol, damaged_of(folder))[1]
    files, problems = _check_folder(protocol, folder)
    return problems + _check_table(folder, files.values())


def damaged_of(folder: Path) -> Path:
    """Where the faces of a set without originals lie: in the folder, or in `lq` of it."""
    return folder / "lq" if (folder / "lq").is_dir() else folder


def _check_pairs(protocol: Protocol, folder: Path) -> list[str]:
    sides: dict[str, dict[str, str]] = {}  # for each: name without suffix -> name
    problems = []
    for side in ("hq", "lq"):
        if not (folder / side).is_dir():
            problems.append(f"{folder / side}: no such folder; {protocol.name} needs {protocol.layout}")
            continue
        files, found = _check_folder(protocol, folder / side)
        problems += found
        sides[side] = {stem(name): name for name in files}
        kept = set(sides[side].values())
        if twice := few([name for name in files if name not in kept], NAMED):
            problems.append(
                f"{folder / side}: {twice}: another picture has the same name with another ending; "
                "keep one of each"
            )
    for side, other in permutations(sides, 2):
        if alone := [name for known, name in sides[side].items() if known not in sides[other]]:
            problems.append(
                f"{folder / other}: no partner for {len(alone)} of the pictures in {side}: "
                f"{few(alone, NAMED)}; both pictures of a pair must have the same name"
            )
    return problems


def _check_folder(protocol: Protocol, folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Pictures of a folder by their path within it, and what is wrong with their number and headers."""
    files = pictures(folder)
    if not files:
        return {}, [f"{folder}: no pictures in it; {protocol.name} needs {protocol.layout}"]
    problems = []
    if protocol.count is not None and len(files) != protocol.count:
        what = "get the missing ones" if len(files) < protocol.count else "take out those of other sets"
        problems.append(f"{folder}: {len(files)} pictures, but {protocol.name} has {protocol.count}; {what}")
    sizes = {name: _size(path) for name, path in files.items()}
    if damaged := [name for name, size in sizes.items() if size is None]:
        problems.append(
            f"{folder}: {len(damaged)} cannot be read: {few(damaged, NAMED)}; replace or remove them"
        )
    fits, wish = _size_rule(protocol)
    wrong = [f"{name} ({size[0]} x {size[1]})" for name, size in sizes.items() if size and not fits(*size)]
    if wrong:
        problems.append(f"{folder}: {len(wrong)} of the pictures are not {wish}: {few(wrong, NAMED)}")
    return files, problems


def _size_rule(protocol: Protocol) -> tuple[Callable[[int, int], bool], str]:
    """Whether (width, height) fits, and what would, in words."""
    side = protocol.size
    if side is None:
        return (lambda width, height: True), "of any size"
    if protocol.degradation is None:
        wish = f"{side} x {side} px, as {protocol.name} has them; take the original files"
        return (lambda width, height: width == height == side), wish
    # We make these inputs ourselves, and shrink larger faces first.
    wish = f"square and at least {side} px; align the faces, or take out what is too small"
    return (lambda width, height: width == height >= side), wish


def _check_table(folder: Path, files: Iterable[Path]) -> list[str]:
    """Problems of the table beside a folder; a missing table is none."""
    folder = folder.absolute()
    path = folder.parent / f"{folder.name}.csv"
    if not path.exists():
        return []
    try:
        named = [row["file"] for row in read_table(path, ["file"])]
    except InputError as error:
        return [f"{error}, or move the table away"]
    present = {file.name for file in files}
    gone = [name for name in named if name not in present]
    if gone:
        return [
            f"{folder}: {len(gone)} of the pictures that {path.name} lists are missing: {few(gone, NAMED)}"
        ]
    return []


def _size(path: Path) -> tuple[int, int] | None:
    """(width, height) from the header; None for what is no picture."""
    try:
        return read_size(path)
    except FacemendError:
        return None

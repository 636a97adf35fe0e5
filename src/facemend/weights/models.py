"""The models that ship with the package, those in the user's cache, and model folders elsewhere.

A model is a folder with `model.json` and its ONNX graphs: the pair encode and decode, or one graph that does
both and that somebody else made (`io` says how it wants to be fed). `facemend.weights.store` fills the cache.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from os.path import isfile
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as validated

from facemend.errors import ModelNotFoundError, WeightsError
from facemend.files import file_sha256
from facemend.weights.cache import cache_dir
from facemend.weights.catalog import PUBLISHED, Sha256, Text, assets_folder, find_published, published_for
from facemend.weights.weight_files import check_onnx

DESCRIPTION_FILE = "model.json"
CARD_FILE = "MODEL_CARD.md"
WEIGHTS_FILE = "model.safetensors"
"""The checkpoint that a model was made of, where it lies beside the graphs."""
GRAPHS = ("encode", "decode")
WHOLE = "whole"
"""Key in "files" of the one graph of a single-graph model."""
MAX_DESCRIPTION_BYTES = 1 << 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a model in the cache may be called: its folder has the same name."""
COMMANDS = {"restoration": "restore", "colorization": "colorize", "inpainting": "inpaint"}
"""What a model can be for, and the `facemend` command that uses it."""
TASKS = tuple(COMMANDS)
DEFAULT_W = {"restoration": 0.5, "colorization": 0.0, "inpainting": 1.0}
"""The published colourisation network was trained for w = 0 only, the inpainting one is run at w = 1."""


Said = Annotated[str, Field(pattern=r"\S")]


def uses_adain(task: str) -> bool:
    """Whether codes get the statistics of the LQ features; a hole would spoil these."""
    return task != "inpainting"


@validated(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class GraphIO:
    """How one graph wants to be fed that does the whole work: picture (and w) in, picture out.

    Pictures are RGB, (N, 3, S, S), [-1, 1]; such graphs are run one face at a time.

    Attributes:
        image: name of the picture's input.
        output: name of the output that is the restored picture.
        dtype: of the picture.
        w: name of the fidelity weight's input; None where w is frozen in the graph.
        w_dtype: of that input.
        w_rank: 0 for a scalar, 1 for a vector of one number.
    """

    image: Text
    output: Text
    dtype: Annotated[str, Field(pattern="^float(32|16)$")] = "float32"
    w: Text | None = None
    w_dtype: Annotated[str, Field(pattern="^float(16|32|64)$")] = "float32"
    w_rank: Annotated[int, Field(ge=0, le=1)] = 0


@dataclass(frozen=True)
class GraphFile:
    """A graph on disk, and the checksum that it must have."""

    path: Path
    sha256: str

    def verify(self) -> None:
        """Check it before a runtime opens it: its checksum, and what `check_onnx` refuses in any file.

        Raises:
            WeightsError: it is missing, damaged or not acceptable.
        """
        if not self.path.is_file():
            raise WeightsError(f"{self.path}: missing; restore the model folder")
        if file_sha256(self.path) != self.sha256:
            raise WeightsError(
                f"{self.path}: damaged (checksum differs from {DESCRIPTION_FILE}); restore the file"
            )
        check_onnx(self.path)


@dataclass(frozen=True)
class ModelInfo:
    """A model on disk.

    Attributes:
        name: short name, as `--model` takes it.
        image_size: side of its square crops, pixels.
        folder: where its files are.
        encode: path of the encode graph; of a single-graph model, its one graph.
        decode: path of the decode graph; of a single-graph model, its one graph.
        sha256: graph name ("encode", "decode") -> expected checksum.
        licence: SPDX name of the weights' licence.
        description: one line.
        default_w: the fidelity weight to use where none is asked for, in [0, 1].
        details: everything else that model.json says (config, source, parity ...).
        task: what it is for: restoration, colorization or inpainting.
        w: "live", or "fixed" where the graph gives the same result for every w.
        io: how to feed the graph of a single-graph model; None for a pair.
    """

    name: str
    image_size: int
    folder: Path
    encode: Path
    decode: Path
    sha256: MappingProxyType[str, str]
    licence: str
    description: str
    default_w: float
    details: MappingProxyType[str, Any] = field(repr=False)
    task: str = "restoration"
    w: str = "live"
    io: GraphIO | None = None

    @property
    def card(self) -> Path:
        """Path of the model card (Markdown)."""
        return self.folder / CARD_FILE

    @property
    def graphs(self) -> dict[str, Path]:
        """The graph files by name: encode and decode, or the one that is both."""
        return {"encode": self.encode} | ({} if self.io else {"decode": self.decode})

    @property
    def origin(self) -> str:
        """Where its weights come from, for people: the imported file, else its folder; the licence."""
        source = self.details.get("source")
        told = isinstance(source, dict) and {"file", "sha256"} <= source.keys()
        where = f"{source['file']}, sha256 {source['sha256']}" if told and source else str(self.folder)
        return f"{where}; licence: {self.licence}"

    @property
    def files(self) -> dict[str, GraphFile]:
        """The same with what the files must hold."""
        return {graph: GraphFile(path, self.sha256[graph]) for graph, path in self.graphs.items()}

    def verify(self) -> None:
        """Check the graphs before a runtime opens them, see `GraphFile.verify`.

        Raises:
            WeightsError: a file is missing, damaged or not acceptable.
        """
        for file in self.files.values():
            file.verify()


class _File(BaseModel, strict=True):
    file: Annotated[str, Field(pattern=r"^[^\x00]+$")]
    sha256: Sha256


class _Description(BaseModel, strict=True, extra="allow"):
    """What model.json says. What it says besides is kept as `details`."""

    name: Said
    image_size: Annotated[int, Field(ge=32, le=2048)]
    template: Literal["ffhq"]
    licence: Said
    description: Said
    default_w: Annotated[float, Field(ge=0, le=1)] = 0.5
    task: Literal["restoration", "colorization", "inpainting"] = "restoration"
    w: Literal["live", "fixed"] = "live"
    io: GraphIO | None = None
    files: dict[str, _File]


def read_model(folder: Path) -> ModelInfo:
    """Read and check `model.json` of a folder; the graphs are not opened.

    Raises:
        WeightsError: the description is missing or wrong.
    """
    path = folder / DESCRIPTION_FILE
    said = _load(path)
    graphs = {graph: said.files.get(WHOLE if said.io else graph) for graph in GRAPHS}
    found = {graph: _inside(folder, path, graph, row) for graph, row in graphs.items()}
    return ModelInfo(
        folder=folder,
        encode=found["encode"],
        decode=found["decode"],
        sha256=MappingProxyType({graph: row.sha256 for graph, row in graphs.items() if row}),
        details=MappingProxyType(said.model_extra or {}),
        **{name: getattr(said, name) for name in _Description.model_fields.keys() - {"files", "template"}},
    )


def _load(path: Path) -> _Description:
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_DESCRIPTION_BYTES + 1)
        if len(raw) > MAX_DESCRIPTION_BYTES:
            raise WeightsError(f"{path}: larger than 1 MiB; not a model description")
        return _Description.model_validate_json(raw)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise WeightsError(f"{path}: not valid JSON; restore the model folder") from None
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise WeightsError(f'{path}: "{where}" is not usable ({first["msg"]}); correct it') from None


def _inside(folder: Path, description: Path, graph: str, row: _File | None) -> Path:
    """The path of a graph, which lies in the model's folder."""
    if row is None:
        raise WeightsError(f'{description}: "files" must name the "{graph}" graph')
    file = (folder / row.file).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise WeightsError(f'{description}: "files.{graph}.file" points outside the folder')
    return file


def models(folder: Path | None = None) -> list[ModelInfo]:
    """The models in `folder` (default: those that ship with the package), by name.

    Raises:
        WeightsError: one of their descriptions is wrong.
    """
    root = assets_folder() / "models" if folder is None else folder
    found = [read_model(path.parent) for path in root.glob(f"*/{DESCRIPTION_FILE}")]
    return sorted(found, key=lambda model: model.name)


def models_dir() -> Path:
    """Folder in the user's cache with one folder for each imported model."""
    return cache_dir() / "models"


def cached_models() -> tuple[list[ModelInfo], list[WeightsError]]:
    """The models in the user's cache by name, and what is wrong with those that cannot be read."""
    found, broken = [], []
    for path in sorted(models_dir().glob(f"*/{DESCRIPTION_FILE}")):
        if not NAME.fullmatch(path.parent.name):
            continue  # one that is being put together
        try:
            found.append(read_model(path.parent))
        except WeightsError as error:
            broken.append(error)
    return found, broken


def imported_as(sha256: str, **wanted: object) -> ModelInfo | None:
    """The model in the cache that was made from the weight file with that checksum, if there is one.

    Args:
        sha256: of the weight file.
        wanted: what model.json must say besides, such as `precision="fp16"`; None: anything.
    """
    for model in cached_models()[0]:
        source = model.details.get("source")
        same = isinstance(source, dict) and source.get("sha256") == sha256
        said = {**model.details, "task": model.task}
        if same and all(value is None or said.get(key, value) == value for key, value in wanted.items()):
            return model
    return None


def imported_from(file: Path, **wanted: object) -> ModelInfo | None:
    """The same for a weight file at hand.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        digest = file_sha256(file)
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror})") from error
    return imported_as(digest, **wanted)


def is_named(name: str) -> bool:
    """Whether a model that ships, or one in the cache, has that name."""
    return _named(name) is not None


def find_model(name_or_path: str | Path, task: str = "restoration", *, check_files: bool = True) -> ModelInfo:
    """The model of that name (shipped, or in the cache), in that folder or made of that weight file.

    Args:
        name_or_path: a name, a folder with `model.json`, or a weight file that was imported already.
        task: what the model must be for.
        check_files: whether the graphs are checked, see `ModelInfo.verify`.

    Raises:
        ModelNotFoundError: there is none, or it is for another task.
        WeightsError: its description is wrong, or a file is missing or damaged.
    """
    info = _named(str(name_or_path)) or _at(Path(name_or_path), str(name_or_path), task)
    if info.task != task:
        raise ModelNotFoundError(
            f"{name_or_path}: is for {info.task}, and a model for {task} is needed; use it with "
            f"`facemend {COMMANDS[info.task]}`, or {_other_model(task)}"
        )
    if check_files:
        info.verify()
    return info


def sole_model(task: str) -> str:
    """Name of the one model that is there for a task, where none is asked for.

    Raises:
        ModelNotFoundError: there is none, or there are several.
    """
    names = _names(task)
    if len(names) != 1:
        state = "several models are" if names else "no model is"
        raise ModelNotFoundError(f"{state} there for {task}: {_other_model(task)}")
    return names[0]


def _names(task: str) -> list[str]:
    """Names of all models that are there for a task."""
    return [model.name for model in (*models(), *cached_models()[0]) if model.task == task]


def _other_model(task: str) -> str:
    """How to come by a model for a task."""
    names = _names(task)
    if names:
        return f"choose with --model: {', '.join(names)}"
    item = published_for(task)
    if item is not None:
        return f"fetch one with `facemend models get {item.name}`"
    release = find_published("codeformer")  # beside it lie those for the other tasks, under the same licence
    file = f"codeformer_{task}.pth"
    return (
        f"bring the published file ({release.url.rpartition('/')[0]}/{file}, {release.licence}) and use "
        f"`facemend models import {file}` (another file: --task {task})"
    )


def _named(name: str) -> ModelInfo | None:
    shipped = {model.name: model for model in models()}
    if name in shipped:
        return shipped[name]
    folder = models_dir() / name
    is_cached = NAME.fullmatch(name) is not None and (folder / DESCRIPTION_FILE).is_file()
    return read_model(folder) if is_cached else None


def _at(path: Path, given: str, task: str) -> ModelInfo:
    if isfile(path / DESCRIPTION_FILE):  # as that of pathlib, but does not raise
        return read_model(path)
    if isfile(path):
        found = imported_from(path, task=task) or imported_from(path)
        if found is None:
            raise ModelNotFoundError(f"{path}: not imported yet; do it with `facemend models import {path}`")
        return found
    if given in PUBLISHED:
        raise ModelNotFoundError(f"{given}: not here yet; fetch it with `facemend models get {given}`")
    names = ", ".join(model.name for model in (*models(), *cached_models()[0])) or "none"
    raise ModelNotFoundError(
        f"no model {given!r}; there are: {names} (or give a folder with {DESCRIPTION_FILE}, or a weight file)"
    )

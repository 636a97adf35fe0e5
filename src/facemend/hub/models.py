"""The restoration models that ship with the package, and model folders of the user's own.

A model is a folder with `model.json`, its ONNX graphs and `MODEL_CARD.md`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from facemend.errors import ModelNotFoundError, WeightsError
from facemend.hub.catalog import assets_folder, file_sha256

DESCRIPTION_FILE = "model.json"
CARD_FILE = "MODEL_CARD.md"
GRAPHS = ("encode", "decode")
MAX_DESCRIPTION_BYTES = 1 << 20


@dataclass(frozen=True)
class ModelInfo:
    """A restoration model on disk.

    Attributes:
        name: short name, as `--model` takes it.
        image_size: side of its square crops, pixels.
        template: name of the alignment template (see `facemend.faces.template`).
        folder: where its files are.
        encode: path of the encode graph.
        decode: path of the decode graph.
        sha256: graph name ("encode", "decode") -> expected checksum.
        licence: SPDX name of the weights' licence.
        description: one line.
        default_w: the fidelity weight to use where none is asked for, in [0, 1].
        details: everything else that model.json says (codebook_size, params ...).
    """

    name: str
    image_size: int
    template: str
    folder: Path
    encode: Path
    decode: Path
    sha256: MappingProxyType[str, str]
    licence: str
    description: str
    default_w: float
    details: MappingProxyType[str, Any] = field(repr=False)

    @property
    def card(self) -> Path:
        """Path of the model card (Markdown)."""
        return self.folder / CARD_FILE

    def verify(self) -> None:
        """Check both graphs against their checksums.

        Raises:
            WeightsError: a file is missing or damaged.
        """
        for graph, path in (("encode", self.encode), ("decode", self.decode)):
            if not path.is_file():
                raise WeightsError(f"{path}: missing; restore the model folder")
            if file_sha256(path) != self.sha256[graph]:
                raise WeightsError(
                    f"{path}: damaged (checksum differs from {DESCRIPTION_FILE}); restore the file"
                )


def _check(ok: bool, path: Path, message: str) -> None:
    if not ok:
        raise WeightsError(f"{path}: {message}")


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_DESCRIPTION_BYTES + 1)
        _check(len(raw) <= MAX_DESCRIPTION_BYTES, path, "larger than 1 MiB; not a model description")
        data = json.loads(raw)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not valid JSON") from error
    _check(isinstance(data, dict), path, "must hold one JSON object")
    return dict(data)


def _text(data: dict[str, Any], key: str, path: Path) -> str:
    value = data.get(key)
    _check(isinstance(value, str) and bool(value.strip()), path, f'"{key}" must be a text')
    return str(value)


def _graph(data: dict[str, Any], graph: str, path: Path) -> tuple[Path, str]:
    """The path (inside the model's folder) and the checksum of one graph."""
    files = data.get("files")
    row = files.get(graph) if isinstance(files, dict) else None
    _check(isinstance(row, dict), path, f'"files" must name the "{graph}" graph')
    assert isinstance(row, dict)
    name, digest = row.get("file"), row.get("sha256")
    _check(isinstance(name, str) and "\0" not in name, path, f'"files.{graph}.file" must be a text')
    good = isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest) is not None
    _check(good, path, f'"files.{graph}.sha256" must be 64 hexadecimal digits')
    file = (path.parent / str(name)).resolve()
    _check(
        file.is_relative_to(path.parent.resolve()), path, f'"files.{graph}.file" points outside the folder'
    )
    return file, str(digest)


def read_model(folder: Path) -> ModelInfo:
    """Read and check `model.json` of a folder; the graphs are not opened.

    Raises:
        WeightsError: the description is missing or wrong.
    """
    path = folder / DESCRIPTION_FILE
    data = _load(path)
    size, w = data.get("image_size"), data.get("default_w", 0.5)
    whole = isinstance(size, int) and not isinstance(size, bool)
    _check(
        whole and 32 <= int(size or 0) <= 2048, path, '"image_size" must be a whole number from 32 to 2048'
    )
    number = isinstance(w, int | float) and not isinstance(w, bool)
    _check(number and 0.0 <= float(w) <= 1.0, path, '"default_w" must be a number from 0 to 1')
    graphs = {graph: _graph(data, graph, path) for graph in GRAPHS}
    known = {"name", "image_size", "template", "files", "licence", "description", "default_w"}
    return ModelInfo(
        name=_text(data, "name", path),
        image_size=int(size or 0),
        template=_text(data, "template", path),
        folder=folder,
        encode=graphs["encode"][0],
        decode=graphs["decode"][0],
        sha256=MappingProxyType({graph: digest for graph, (_, digest) in graphs.items()}),
        licence=_text(data, "licence", path),
        description=_text(data, "description", path),
        default_w=float(w),
        details=MappingProxyType({k: v for k, v in data.items() if k not in known}),
    )


def models(folder: Path | None = None) -> list[ModelInfo]:
    """The models in `folder` (default: those that ship with the package), by name.

    Raises:
        WeightsError: one of their descriptions is wrong.
    """
    root = assets_folder() / "models" if folder is None else folder
    found = [read_model(path.parent) for path in root.glob(f"*/{DESCRIPTION_FILE}")]
    return sorted(found, key=lambda model: model.name)


def find_model(name_or_folder: str | Path) -> ModelInfo:
    """The shipped model of that name, or the model in that folder; its files are checked.

    Raises:
        ModelNotFoundError: there is neither.
        WeightsError: its description is wrong, or a file is missing or damaged.
    """
    shipped = {model.name: model for model in models()}
    info = shipped.get(str(name_or_folder))
    if info is None:
        folder = Path(name_or_folder)
        if "\0" in str(folder) or not (folder / DESCRIPTION_FILE).is_file():
            names = ", ".join(shipped) or "none"
            raise ModelNotFoundError(
                f"no model {str(name_or_folder)!r}; there are: {names}"
                f" (or give a folder with {DESCRIPTION_FILE})"
            )
        info = read_model(folder)
    info.verify()
    return info

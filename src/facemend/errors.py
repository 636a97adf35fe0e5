"""Every error that facemend raises on purpose.

The message names the file or setting and the fix, in one line, so that a caller can show it as it is.

    FacemendError
    ├── InputError        a picture cannot be read or is not usable
    │   └── TooLargeError     it has more pixels than are allowed
    ├── OutputError       a result cannot be written (the disk is full ...)
    │   └── ExistsError       it is there already, and may not be replaced
    ├── ModelNotFoundError    no model of that name
    ├── WeightsError      a weight file is damaged, of another shape or not what it claims
    ├── BackendError      the runtime cannot run a graph
    ├── MissingExtraError a feature needs an extra that is not installed
    └── ConfigError       a training or export setting is wrong
"""

from __future__ import annotations

import copyreg
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True)
class Extra:
    """Packages that the base install leaves out.

    Attributes:
        purpose: what they are for, a few words for users.
        modules: their names, as Python imports them.
    """

    purpose: str
    modules: tuple[str, ...]


EXTRAS = {
    "train": Extra("facemend train", ("torch", "safetensors", "tensorboard", "jinja2")),
    "eval": Extra("facemend evaluate", ("torch", "safetensors", "jinja2", "onnx")),
    "heif": Extra("HEIC photos", ("pillow_heif",)),
    "serve": Extra("facemend serve", ("fastapi", "uvicorn", "python_multipart")),
    "export": Extra(
        "facemend export, weights in .pth and .safetensors files, --backend torch",
        ("torch", "safetensors", "onnx", "onnxscript"),
    ),
    "litert": Extra(
        "facemend export --for litert", ("torch", "safetensors", "onnx", "onnxscript", "litert_torch")
    ),
    "coreml": Extra(
        "facemend export --for coreml", ("torch", "safetensors", "onnx", "onnxscript", "coremltools")
    ),
    "quantize": Extra("facemend quantize, facemend web", ("onnx",)),
    "video": Extra("films", ("av",)),
    "watch": Extra("facemend watch", ("watchfiles",)),
    "ray": Extra("--engine ray", ("ray", "fsspec")),
}
"""The extras of the install by name."""


class FacemendError(Exception):
    """Base class: catch this to catch everything that facemend raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process as it is: what an error is made from is not always what it says."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class InputError(FacemendError):
    """A picture cannot be read, or is outside the limits."""


class TooLargeError(InputError):
    """A picture, or what it would become, has more pixels than are allowed."""


class OutputError(FacemendError):
    """A result cannot be written where it was asked for."""


class ExistsError(OutputError):
    """What is to be written exists already, and may not be replaced."""

    def __init__(self, path: object) -> None:
        super().__init__(
            f"{path}: exists already; use --overwrite (in Python: overwrite=True) to replace it, "
            "or choose another name"
        )


class ModelNotFoundError(FacemendError):
    """No model of the given name is known."""


class WeightsError(FacemendError):
    """A weight file is damaged, has other shapes, or is not what it claims to be."""


class BackendError(FacemendError):
    """The runtime cannot load or run a graph."""


class MissingExtraError(FacemendError):
    """A feature needs packages that the base install leaves out."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs extra packages: {install_line(extra)}")
        self.extra = extra


class ConfigError(FacemendError):
    """A training, degradation or export setting is wrong."""


def missing(extra: str) -> list[str]:
    """Packages of an extra that are not installed."""
    return [name for name in EXTRAS[extra].modules if find_spec(name) is None]


def require_extra(feature: str, extra: str) -> None:
    """Say what to install where a feature lacks its packages.

    Raises:
        MissingExtraError: it does.
    """
    if missing(extra):
        raise MissingExtraError(feature, extra)


def install_line(extra: str) -> str:
    """The command that adds an extra to facemend, from where this facemend was installed (PEP 610)."""
    import json  # here: every start of facemend imports this module
    from importlib import metadata

    try:
        package = metadata.distribution("facemend")
        origin = package.read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        origin = None
    if origin is None:
        return f'pip install "facemend[{extra}]"'
    ending = f"extra == '{extra}'"
    needed = [line for line in package.requires or [] if line.replace('"', "'").endswith(ending)]
    return _install_from(json.loads(origin), extra, [line.split(";")[0].strip() for line in needed])


def _install_from(origin: dict[str, Any], extra: str, needed: list[str]) -> str:
    """That command for what direct_url.json says; `needed` are the packages of the extra."""
    from pathlib import Path
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    url, vcs = origin["url"], origin.get("vcs_info")
    if vcs or not url.startswith("file:"):
        where = f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else url
        folder = f"#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else ""
        return f'pip install "facemend[{extra}] @ {where}{folder}"'
    path = url2pathname(urlsplit(url).path)
    if not Path(path).exists():  # a wheel that was deleted, a folder that was moved
        return " ".join(["pip install", *(f'"{package}"' for package in needed)])
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f'pip install {editable}"{path}[{extra}]"'


def one_line(said: object, limit: int | None = 200) -> str:
    """What an error of a library says, in one line of at most `limit` characters."""
    text = getattr(said, "strerror", None) or str(said)
    return " ".join(str(text).split())[:limit] or type(said).__name__

"""Graphs as onnxruntime optimises them, made once and kept in the user's cache: they open in half the time.

A kept form is good for one file (its checksum, place and time of change), one onnxruntime and one kind of
processor, as weights are laid out for its vector units. It is read only from folders that nobody else can
write to, and only if it is whole; in every other case the file itself is opened, as if there were no cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import numpy as np

from facemend.errors import FacemendError
from facemend.weights.cache import cache_dir
from facemend.weights.models import GraphFile
from facemend.weights.weight_files import branches

logger = logging.getLogger(__name__)

LEAST_BYTES = 1 << 20
"""Smaller files open at once."""
MOST_BYTES = 1 << 30
"""Of all that is kept; what was not used for longest goes first."""
_GRAPH, _WEIGHTS, _SEAL = "graph.onnx", "weights.bin", "seal.json"
_UNFIT = b"{}"
_INLINE_BYTES = 1024
"""Weights of more bytes lie in a file of their own, which is mapped into memory, not copied."""
_ADDED = re.compile(rb"(?<=\x07)reorder|reorder(?=_token_\d)")
"""In the names that onnxruntime gives to what it adds: "reorder" (after its length), "reorder_token_3"."""
_ABANDONED_S = 3600
"""Age from which what a process began to make is taken for left behind."""


def kept_form(file: GraphFile) -> Path | None:
    """The optimised form of a graph, for `optimised_session`; None where there is none that is whole."""
    try:
        folder = _root() / _name(file)
        if _is_private(folder.parent) and _is_private(folder) and _is_whole(folder):
            os.utime(folder)
            return folder / _GRAPH
    except (FacemendError, OSError, ValueError, KeyError, TypeError) as error:
        logger.debug("%s: no optimised form (%s)", file.path, error)
    return None


def can_keep(file: GraphFile) -> bool:
    """Whether it is worth while to make the form of a graph that has none."""
    try:
        fits = LEAST_BYTES <= file.path.stat().st_size <= MOST_BYTES / 2  # there are two of a model
        return fits and not _is_unfit(_root() / _name(file))
    except (FacemendError, OSError):
        return False


def keep_form(file: GraphFile, options: Any) -> None:
    """Make the optimised form of a graph, which was checked; where that fails there is none, and no error.

    Args:
        file: the graph.
        options: onnxruntime's SessionOptions with which it is opened; they are changed.
    """
    import onnxruntime as ort

    try:
        folder = _root() / _name(file)
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_private(folder.parent):
            return
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".", ignore_cleanup_errors=True) as parts:
            made = Path(parts) / folder.name
            made.mkdir(mode=0o700)
            options.optimized_model_filepath = str(made / _GRAPH)
            for key, value in (("file_name", _WEIGHTS), ("min_size_in_bytes", str(_INLINE_BYTES))):
                options.add_session_config_entry(
                    f"session.optimized_model_external_initializers_{key}", value
                )
            providers = ["CPUExecutionProvider"]
            ort.InferenceSession(str(file.path), sess_options=options, providers=providers)
            _part_names(made / _GRAPH)
            if _opens(made / _GRAPH):
                (made / _SEAL).write_text(json.dumps(_sums(made)), encoding="utf-8")
            else:  # this onnxruntime cannot read what it writes: remembered, and not tried each time
                shutil.rmtree(made)
                made.mkdir(mode=0o700)
                (made / _SEAL).write_bytes(_UNFIT)
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one
            made.rename(folder)  # fails where another process was first
        _tidy(folder)
    except Exception as error:  # a full disk, or whatever onnxruntime minds
        logger.debug("%s: its optimised form is not kept (%s)", file.path, error)


def optimised_session(path: Path, options: Any) -> Any:
    """An onnxruntime session of a kept form.

    Args:
        path: from `kept_form`.
        options: SessionOptions; they are changed.

    Raises:
        Exception: onnxruntime cannot load it.
    """
    import onnxruntime as ort

    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # all is done
    return ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])


def _root() -> Path:
    return cache_dir() / "optimised"


def _name(file: GraphFile) -> str:
    """Of the folder: first for the place of the file, then for all that the form depends on."""
    import onnxruntime as ort

    path = file.path.resolve()
    found = path.stat()
    vectors = np.show_config(mode="dicts").get("SIMD Extensions", {})
    machine = (platform.machine(), vectors.get("found"), vectors.get("baseline"))
    told = (1, str(path), file.sha256, found.st_size, found.st_mtime_ns, ort.__version__, machine)
    return "-".join(hashlib.sha256(repr(part).encode()).hexdigest()[:24] for part in (told[1], told))


def _is_private(folder: Path) -> bool:
    """Whether it is a folder of this user that nobody else may write to."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return False
    return sys.platform == "win32" or (found.st_uid == os.getuid() and not found.st_mode & 0o022)


def _sums(folder: Path) -> dict[str, list[int]]:
    """Size and checksum of each file: against accidents only, for which CRC-32 will do."""
    sums = {}
    for name in (
        _GRAPH,
        *([_WEIGHTS] if (folder / _WEIGHTS).exists() else []),
    ):  # a small graph needs no other
        with (folder / name).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            sums[name] = [len(data), zlib.crc32(data)]
    return sums


def _is_whole(folder: Path) -> bool:
    seal = json.loads((folder / _SEAL).read_bytes())
    return bool(seal) and seal == _sums(folder)


def _is_unfit(folder: Path) -> bool:
    return (folder / _SEAL).is_file() and (folder / _SEAL).read_bytes() == _UNFIT


def _opens(path: Path) -> bool:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        optimised_session(path, options)
    except Exception as error:
        logger.debug("%s: cannot be opened (%s)", path, error)
        return False
    return True


def _part_names(path: Path) -> None:
    """Give the tensors that onnxruntime adds in the branches of an If names of their own.

    It counts them anew in each branch, and refuses to read a name that is given twice. Names keep their
    length, so that nothing else in the file moves.
    """
    data = bytearray(path.read_bytes())
    for number, (start, end) in enumerate(branches(data)):
        data[start:end] = _ADDED.sub(b"r%06d" % number, bytes(data[start:end]))
    path.write_bytes(data)


def _tidy(newest: Path) -> None:
    """Remove the other forms of the same file, and the oldest if all are too large."""
    left = MOST_BYTES
    for folder in sorted(_forms(newest.parent), key=lambda each: each.stat().st_mtime, reverse=True):
        is_old = folder != newest and folder.name.partition("-")[0] == newest.name.partition("-")[0]
        left -= sum(file.stat().st_size for file in folder.iterdir())
        if is_old or left < 0:
            shutil.rmtree(folder, ignore_errors=True)


def _forms(root: Path) -> Iterator[Path]:
    """The folders of forms; what was left behind half made is removed."""
    for folder in root.iterdir():
        if not folder.name.startswith("."):
            yield folder
        elif time() - folder.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(folder, ignore_errors=True)

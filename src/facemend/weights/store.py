"""The folder of models in the user's cache: put one in, take one out."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facemend.errors import ModelNotFoundError, OutputError
from facemend.files import tidy
from facemend.weights.models import DESCRIPTION_FILE, NAME, models, models_dir

_ASIDE = "."
"""First sign of the name of a folder that is no model (yet, or any longer)."""


def model_name(wanted: str | None, file: Path, sha256: str) -> str:
    """The name that an imported model gets.

    Args:
        wanted: by the user; None: after the file, with a piece of its checksum where that name is taken.
        file: the weight file.
        sha256: its checksum.

    Raises:
        OutputError: the wanted name is not usable, or belongs to a model already.
    """
    shipped = {model.name for model in models()}
    if wanted is None:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._")[:50] or "model"
        taken = stem in shipped or (models_dir() / stem).exists()
        wanted = f"{stem}-{sha256[:8]}" if taken else stem
    if not NAME.fullmatch(wanted):
        raise OutputError(f"{wanted!r}: not usable as a name; use letters, digits, . _ - (at most 64)")
    if wanted in shipped:
        raise OutputError(
            f"{wanted}: a model that ships with facemend has that name; choose another (--name)"
        )
    if (models_dir() / wanted).exists():
        raise OutputError(
            f"{wanted}: there is a model of that name already; choose another (--name), "
            f"or remove it with `facemend models remove {wanted}`"
        )
    return wanted


@contextmanager
def new_model(name: str) -> Iterator[Path]:
    """A folder to put a model together in; it becomes the model of that name if the block ends well.

    Yields:
        An empty folder; what it holds is gone again if the block raises.

    Raises:
        OutputError: the cache cannot be written, or meanwhile there is a model of that name.
    """
    root = models_dir()
    try:
        root.mkdir(parents=True, exist_ok=True)
        tidy(root, f"{_ASIDE}import-")
        with tempfile.TemporaryDirectory(dir=root, prefix=f"{_ASIDE}import-") as temporary:
            folder = Path(temporary) / name
            folder.mkdir()
            yield folder
            folder.rename(root / name)
    except OSError as error:
        raise OutputError(
            f"{root / name}: cannot be written ({error}); set FACEMEND_CACHE to another folder"
        ) from error


def source_of(file: Path, sha256: str) -> dict[str, object]:
    """What model.json says of the file that a model was made of; a name of odd bytes is made readable."""
    name = os.fsencode(file.name).decode(errors="replace")
    return {"file": name, "sha256": sha256, "bytes": file.stat().st_size}


def require_removable(name: str) -> None:
    """Refuse the name of what is no model in the user's cache; errors are those of `remove_model`."""
    if NAME.fullmatch(name) is None or not (models_dir() / name / DESCRIPTION_FILE).is_file():
        if name in {model.name for model in models()}:
            raise OutputError(f"{name}: ships with facemend and is not removed; only models in the cache are")
        raise ModelNotFoundError(f"{name}: no model in the cache has that name; see `facemend models`")


def remove_model(name: str) -> None:
    """Remove a model from the user's cache.

    Raises:
        ModelNotFoundError: no model in the cache has that name.
        OutputError: it ships with facemend, or cannot be removed.
    """
    require_removable(name)
    folder = models_dir() / name
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{_ASIDE}remove-") as temporary:
            aside = Path(temporary) / name
            folder.rename(aside)  # at once, so that no half model is left if this is interrupted
            if aside.is_symlink():
                aside.unlink()
            else:
                shutil.rmtree(aside)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be removed ({error.strerror}); remove the folder by hand"
        ) from error

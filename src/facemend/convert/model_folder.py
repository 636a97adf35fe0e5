"""Put a model folder together aside, and move it into place only when it is whole."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facemend.errors import ExistsError, OutputError
from facemend.files import file_sha256, tidy, unwritable
from facemend.weights.models import DESCRIPTION_FILE

_ASIDE = ".export-"


@contextmanager
def new_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """An empty folder beside `out` that takes its place when the block ends without an error.

    Of a model folder that it replaces only what model.json names goes; all else that lies there is kept, such
    as a model card or a checkpoint, unless the new folder has one of that name.

    Raises:
        OutputError: `out` exists and may not be replaced, is no model folder, or cannot be written.
    """
    there = os.path.lexists(out)
    if there and not overwrite:
        raise ExistsError(out)
    if there and not (out / DESCRIPTION_FILE).is_file():
        raise OutputError(f"{out}: is not a model folder, so it is not replaced; choose another folder")
    out = Path(os.path.realpath(out))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tidy(out.parent, _ASIDE)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=_ASIDE) as temporary:
            folder = Path(temporary) / out.name
            folder.mkdir()
            yield folder
            if there:
                _replace(out, folder)
            else:
                folder.rename(out)
    except OSError as error:
        raise unwritable(out, error) from error


def _replace(out: Path, folder: Path) -> None:
    """Bring all of the new folder into the old one, what says how the files are checked last."""
    new = {path.name: path for path in folder.iterdir()}
    for stale in _named(out) - new.keys():
        (out / stale).unlink(missing_ok=True)
    for name in sorted(new, key=lambda name: name == DESCRIPTION_FILE):
        if (out / name).is_dir() and not (out / name).is_symlink():
            shutil.rmtree(out / name)
        os.replace(new[name], out / name)


def _named(folder: Path) -> set[str]:
    """The names of the files that model.json says the model is of, without folders."""
    try:
        rows = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))["files"].values()
        return {Path(row["file"]).name for row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()  # damaged: what it was of is not known


def file_row(path: Path) -> dict[str, str]:
    """What model.json says of a graph file."""
    return {"file": path.name, "sha256": file_sha256(path)}

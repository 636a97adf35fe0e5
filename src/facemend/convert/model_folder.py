"""Put a model folder together aside, and move it into place only when it is whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facemend.errors import ExistsError, OutputError
from facemend.files import file_sha256
from facemend.weights.models import CARD_FILE, DESCRIPTION_FILE


@contextmanager
def new_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """An empty folder beside `out` that takes its place when the block ends without an error.

    A model card that lies in `out` is kept, unless the new folder has one.

    Raises:
        OutputError: `out` exists and may not be replaced, or is no model folder.
    """
    if out.exists() and not overwrite:
        raise ExistsError(out)
    if out.exists() and not (out / DESCRIPTION_FILE).is_file():
        raise OutputError(f"{out}: is not a model folder, so it is not replaced; choose another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as temporary:
        folder = Path(temporary) / out.name
        folder.mkdir()
        yield folder
        if (out / CARD_FILE).is_file() and not (folder / CARD_FILE).exists():
            shutil.copyfile(out / CARD_FILE, folder / CARD_FILE)
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)


def file_row(path: Path) -> dict[str, str]:
    """What model.json says of a graph file."""
    return {"file": path.name, "sha256": file_sha256(path)}

"""Where the user's cache is. Light to import."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from facemend.errors import OutputError

CACHE_FIX = "set FACEMEND_CACHE to another folder"
"""How a cache that cannot be written is put right."""


def cache_dir() -> Path:
    """Folder that fetched files are kept in: `FACEMEND_CACHE`, or the platform's cache folder.

    Raises:
        OutputError: it lies in a home folder, and there is none.
    """
    try:
        return _cache_dir()
    except RuntimeError:  # pathlib's word for a user without one
        raise OutputError(
            "the cache has no place: there is no home folder; set FACEMEND_CACHE to a folder"
        ) from None


def _cache_dir() -> Path:
    chosen = os.environ.get("FACEMEND_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "facemend"


def unusable(folder: Path, error: OSError) -> OutputError:
    """The error for a folder of the cache that cannot be used."""
    return OutputError(f"{folder}: cannot be used ({error}); {CACHE_FIX}")

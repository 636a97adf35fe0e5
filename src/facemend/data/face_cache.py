"""Decoded pictures kept in memory, up to a limit, for the threads that make batches."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemend.imaging import read_rgb

Pixels = NDArray[np.uint8]

# Default limit, 2^20 bytes each: 2,700 faces of 512 px.
CACHE_MB = 2048


class FaceCache:
    """Pictures by file; what was not asked for longest goes first. Safe for many threads.

    Args:
        limit: bytes of pixels that are kept at most; 0 keeps nothing.
        read: what decodes a file.
    """

    def __init__(self, limit: int, read: Callable[[Path], Pixels] = read_rgb) -> None:
        self.limit = limit
        self.held = 0
        self._read = read
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, Pixels] = OrderedDict()
        self._coming: dict[Path, Future[Pixels]] = {}

    def __getitem__(self, file: Path) -> Pixels:
        """Pixels of a file, read-only: they are shared. Threads that ask for the same file wait for one.

        Raises:
            InputError: the file cannot be read.
        """
        with self._lock:
            if file in self._kept:
                self._kept.move_to_end(file)
                return self._kept[file]
            coming = self._coming.get(file)
            if coming is None:
                mine = self._coming[file] = Future[Pixels]()
        return self._decode(file, mine) if coming is None else coming.result()

    def _decode(self, file: Path, promise: Future[Pixels]) -> Pixels:
        """Read a file for all that wait for it."""
        try:
            pixels = self._read(file)
        except BaseException as error:
            with self._lock:
                del self._coming[file]
            promise.set_exception(error)
            raise
        pixels.flags.writeable = False
        with self._lock:
            del self._coming[file]
            self._keep(file, pixels)
        promise.set_result(pixels)
        return pixels

    def _keep(self, file: Path, pixels: Pixels) -> None:
        if pixels.nbytes > self.limit:
            return
        while self.held + pixels.nbytes > self.limit:
            self.held -= self._kept.popitem(last=False)[1].nbytes
        self._kept[file] = pixels
        self.held += pixels.nbytes

"""Decoders that say nothing: Pillow warns about large pictures and odd metadata, OpenCV of odd files."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import cv2

_lock = threading.Lock()
_inside = 0
_first = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings while the block runs, in several threads at once too.

    Filters and OpenCV's level are those of the process: of threads that overlap, each with a change of its
    own, the last to leave would bring back the silence of another. So the first and the last change them.
    """
    global _inside
    each_its_own = bool(getattr(sys.flags, "context_aware_warnings", False))  # filters of threads
    log = cv2.utils.logging
    with _lock:
        if not _inside:
            _first.callback(log.setLogLevel, log.setLogLevel(log.LOG_LEVEL_SILENT))
            if not each_its_own:
                _first.enter_context(warnings.catch_warnings(action="ignore"))
        _inside += 1
    try:
        with warnings.catch_warnings(action="ignore") if each_its_own else nullcontext():
            yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _first.close()

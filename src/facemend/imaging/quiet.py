"""Decoders that say nothing: Pillow warns about large pictures and odd metadata."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_inside = 0
_first = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings while the block runs, in several threads at once too.

    Filters are those of the process: of threads that overlap, each with a `catch_warnings` of its own, the
    last to leave would bring back the silence of another. So the first and the last change them.
    """
    global _inside
    if getattr(sys.flags, "context_aware_warnings", False):  # each thread has its own
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
        return
    with _lock:
        if not _inside:
            _first.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _first.close()

"""Ctrl-C: Python hears it between two calls into C only, and a network or a codec may be in one for minutes.

So long work is done in threads while the main thread waits, hears it, and says what is done. Nothing can stop
those threads but the end of the process (`end_threads`).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from facemend.files import drop_unfinished

STOPPED = 130
"""Exit status after Ctrl-C, as shells have it."""
_THREADS = "facemend"
_Result = TypeVar("_Result")


def begun(work: Callable[[], _Result]) -> Callable[[], _Result]:
    """Begin `work` in a thread. What is returned waits for it and gives its result, or raises its error.

    KeyboardInterrupt comes at once, and the thread goes on.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix=_THREADS)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future.result


def interruptible(work: Callable[[], _Result]) -> _Result:
    """What `work` gives, see `begun`."""
    return begun(work)()


def end_threads(status: object) -> None:
    """End the process after Ctrl-C if threads still work; what they have half written is removed."""
    if status == STOPPED and any(thread.name.startswith(_THREADS) for thread in threading.enumerate()):
        drop_unfinished()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(STOPPED)

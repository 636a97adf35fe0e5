"""Silence for libraries whose remarks tell a user nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings in the log, unless it is set to show everything."""
    before = logging.root.manager.disable
    if not logging.root.isEnabledFor(logging.DEBUG):
        logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)

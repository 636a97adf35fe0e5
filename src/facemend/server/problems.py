"""What clients are told when something goes wrong: one line, and nothing of the server's own files."""

from __future__ import annotations

import logging

from facemend.errors import BackendError, FacemendError, MissingExtraError, WeightsError, one_line

logger = logging.getLogger(__name__)


class GoneError(FacemendError):
    """The files of a job were deleted while somebody looked at it."""

    def __init__(self) -> None:
        super().__init__("no such job, or it has expired")


class BusyError(FacemendError):
    """There is too much to do just now, or the process is about to end."""


def for_clients(error: FacemendError) -> str:
    """The message of an error; what concerns the operator alone goes to the log instead."""
    if isinstance(error, WeightsError | BackendError):
        logger.error("%s", error)
        return "the server's networks failed; its log says why"
    if isinstance(error, MissingExtraError):
        return f"not installed on this server: {one_line(str(error), None)}"
    return one_line(str(error), None)

"""The process in which the networks run, and what goes between it and its server."""

import os
import pickle
import signal

import psutil
import pytest

from facemend.errors import ExistsError, FacemendError, MissingExtraError, TooLargeError
from facemend.server.orders import QueueFullError
from facemend.server.problems import GoneError
from facemend.server.supervisor import Subprocess, Supervisor


@pytest.mark.parametrize(
    "error",
    [
        FacemendError("a line"),
        TooLargeError("a.png: too large"),
        ExistsError("a.png"),
        MissingExtraError("a.heic: reading HEIC", "heif"),
        QueueFullError(3),
        GoneError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_arrive_as_they_are(error):
    there = pickle.loads(pickle.dumps(error))
    assert (type(there), str(there), vars(there)) == (type(error), str(error), vars(error))


def _pid(restorer) -> int:
    return os.getpid()


def _nothing() -> None:
    """To be done meanwhile."""


def test_neither_what_is_printed_nor_a_signal_to_all_disturbs_it(settings, monkeypatch):
    monkeypatch.setattr("facemend.server.supervisor.spawn", Subprocess)
    supervisor = Supervisor(settings)
    try:
        supervisor.start(_nothing)
        pid = supervisor.run(_pid, _nothing)
        assert pid != os.getpid()
        for asked in (signal.SIGTERM, signal.SIGINT):  # a service manager asks every process of the service
            os.kill(pid, asked)
        assert supervisor.run(print, _nothing) is None
        assert supervisor.run(_pid, _nothing) == pid
    finally:
        supervisor.end()
    assert not psutil.pid_exists(pid)

"""Runs the server: one process, or several behind one port."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import uvicorn
from uvicorn.supervisors import Multiprocess

from facemend.errors import ConfigError
from facemend.server.app import open_jobs
from facemend.server.logs import configure
from facemend.server.settings import ServerSettings
from facemend.server.store import JobStore, temporary_store

_BACKLOG = 512
_CONNECTIONS = 512
"""Most connections of a process; further ones are told to come back (503)."""


def serve(settings: ServerSettings, *, on_ready: Callable[[str], None]) -> None:
    """Serve until the process is asked to end (Ctrl-C, SIGTERM).

    Args:
        settings: how; without a store, a temporary one is made and removed at the end.
        on_ready: told the address once it is taken; the first answers follow within moments.

    Raises:
        ConfigError: the address or the store cannot be used.
    """
    with ExitStack() as stack:
        if not settings.store:
            settings = replace(settings, store=str(stack.enter_context(temporary_store())))
        # The table is made before several processes open it at once.
        open_jobs(settings, JobStore(settings.folder())).close()
        listening = stack.enter_context(_listen(settings))
        stack.enter_context(_environment(settings.to_env()))
        configure(settings.log_format)
        config = configured(settings)
        on_ready(_address(settings.host, listening.getsockname()[1]))
        if settings.workers > 1:
            Multiprocess(config, sockets=[listening]).run()
        else:
            _alone(config, listening)


def configured(settings: ServerSettings) -> uvicorn.Config:
    """What uvicorn is told; its processes find the rest in their environment."""
    return uvicorn.Config(
        "facemend.server.app:app_from_env",
        factory=True,
        http="facemend.server.connection:Connection",
        ws="none",
        workers=settings.workers,
        log_config=None,
        access_log=False,  # its lines would hold the ids of jobs
        log_level="warning",
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
        timeout_worker_healthcheck=60,  # on a machine with much to do
    )


def _alone(config: uvicorn.Config, listening: socket.socket) -> None:
    server = uvicorn.Server(config)
    # uvicorn ends in good order at SIGTERM, and then raises it once more; what comes after must still run.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
    if not server.started:
        raise ConfigError("the server did not start; the lines above say why")


@contextmanager
def _listen(settings: ServerSettings) -> Iterator[socket.socket]:
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"host {host} cannot be used ({error.strerror})") from error
    with listening:
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
        except OSError as error:
            reason = f"{host} port {port} cannot be used ({error.strerror})"
            raise ConfigError(f"{reason}; choose another with --port") from error
        listening.set_inheritable(True)
        yield listening


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _address(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"

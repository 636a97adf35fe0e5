"""The one settings object of the server: from the environment, the command line or a test."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from facemend.errors import ConfigError, missing
from facemend.runtime.cores import usable_cores
from facemend.runtime.devices import AUTO, ONNX_DEVICES
from facemend.server.logs import FORMATS

PREFIX = "FACEMEND_"
_TOKEN_LENGTH = 16
_NUMBERS = {  # name -> least, most
    "port": (0, 65535),
    "workers": (1, 64),
    "max_mb": (1, 1024),
    "max_pixels": (1, 178_000_000),
    "keep": (0.05, 60 * 24 * 365),
    "queue": (1, 10_000),
    "threads": (0, 1024),
    "job_seconds": (1, 86_400),
    "request_seconds": (1, 3600),
    "stall_seconds": (0.1, 3600),
    "client_connections": (1, 100_000),
    "lease_seconds": (1, 3600),
    "grace_seconds": (0, 3600),
    "cache_mb": (0, 65_536),
    "film_mb": (0, 65_536),
    "film_seconds": (1, 86_400),
    "film_pixels": (1, 36_000_000),
    "frame_seconds": (0.01, 3600),
}


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """How to serve; each field is also the environment variable FACEMEND_NAME.

    Attributes:
        host: address to listen on.
        port: port; 0: any that is free.
        names: further names that the server goes by, such as that of a proxy, separated by commas.
        workers: processes that answer, each with a worker beside it; they share the store and nothing else.
        token: what clients must show; empty: no token.
        log_format: of the lines of the log, "text" or "json".
        store: folder for the queue and the photos; empty: a temporary one that goes when the server ends.
        max_mb: largest upload, in millions of bytes.
        max_pixels: largest output of a job: width x height x factor^2.
        keep: minutes until a photo and its result are deleted, counted from the end of its job.
        queue: most jobs that wait.
        threads: CPU threads of one worker; 0: the usable cores divided by the workers.
        device: where the networks run, see `facemend.runtime.devices`.
        job_seconds: longest time for one job or look, after which its worker is replaced.
        request_seconds: longest time until the answer to a request begins, its upload included.
        stall_seconds: longest wait for a client: for a request's header, the next request, the next bytes of
            an upload, or until it reads on.
        client_connections: most connections of one client to one process.
        lease_seconds: a running job that shows no sign of life for this long is taken up by another worker.
        grace_seconds: how long a process that is asked to end works on its job before it gives it back.
        cache_mb: photos and encoded faces that a worker holds ready for the w slider, millions of bytes.
        film_mb: largest upload of a film, in millions of bytes; 0: no films.
        film_seconds: longest film.
        film_pixels: largest frame of a restored film: width x height x factor^2.
        frame_seconds: longest time for a film, for each of its frames, besides job_seconds, which is also the
            longest time for a single one.

    Raises:
        ConfigError: a value is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    names: str = ""
    workers: int = 1
    token: str = ""
    log_format: str = "text"
    store: str = ""
    max_mb: int = 40
    max_pixels: int = 64_000_000
    keep: float = 60.0
    queue: int = 32
    threads: int = 0
    device: str = AUTO
    job_seconds: float = 300.0
    request_seconds: float = 60.0
    stall_seconds: float = 10.0
    client_connections: int = 64
    lease_seconds: float = 15.0
    grace_seconds: float = 20.0
    cache_mb: int = 256
    film_mb: int = 100
    film_seconds: float = 60.0
    film_pixels: int = 2_100_000
    frame_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name, (least, most) in _NUMBERS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"{name} must be from {least:g} to {most:g}, got {value!r}")
        if self.device not in ONNX_DEVICES:
            raise ConfigError(f"device must be one of {', '.join(ONNX_DEVICES)}, got {self.device!r}")
        if not self.token.isascii() or not self.token.isprintable() or set(self.token) & set(' ";,\\'):
            raise ConfigError('token must be printable ASCII without spaces and " ; , \\')
        if 0 < len(self.token) < _TOKEN_LENGTH:
            reason = f"token must have at least {_TOKEN_LENGTH} characters, as it can be guessed otherwise"
            raise ConfigError(f"{reason}; `openssl rand -hex 16` makes one")
        for name in self.name_list:
            if set(name) & set("/*@ ") or name.count(":") == 1:
                raise ConfigError(f"names are bare host names such as photos.example.org, got {name!r}")
        if self.log_format not in FORMATS:
            raise ConfigError(f"log_format must be one of {', '.join(FORMATS)}, got {self.log_format!r}")

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> ServerSettings:
        """The defaults, changed by what FACEMEND_* variables say.

        Raises:
            ConfigError: a variable cannot be understood, or is out of range.
        """
        values: dict[str, Any] = {}
        defaults = cls()
        for field in fields(cls):
            text = environment.get(PREFIX + field.name.upper())
            if text:
                kind = type(getattr(defaults, field.name))
                try:
                    values[field.name] = kind(text)
                except ValueError:
                    wanted = "a whole number" if kind is int else "a number"
                    raise ConfigError(
                        f"{PREFIX}{field.name.upper()} must be {wanted}, got {text!r}"
                    ) from None
        return cls(**values)

    def to_env(self) -> dict[str, str]:
        """Variables from which `from_env` makes the same settings."""
        return {PREFIX + name.upper(): str(value) for name, value in asdict(self).items()}

    @property
    def name_list(self) -> tuple[str, ...]:
        """The further names in small letters, without a last dot."""
        return tuple(name.rstrip(".") for name in map(str.strip, self.names.lower().split(",")) if name)

    @property
    def max_bytes(self) -> int:
        """Largest upload of a photo."""
        return self.max_mb * 1_000_000

    @property
    def film_bytes(self) -> int:
        """Largest upload of a film."""
        return self.film_mb * 1_000_000

    @property
    def takes_films(self) -> bool:
        """Whether films are wanted, and the extra `video` is installed."""
        return self.film_mb > 0 and not missing("video")

    @property
    def film_frames(self) -> int:
        """Most frames of a film: what it has at 60 a second."""
        return round(60 * self.film_seconds)

    @property
    def largest_mb(self) -> int:
        """Largest upload of any kind, in millions of bytes."""
        return max(self.max_mb, self.film_mb if self.takes_films else 0)

    @property
    def keep_seconds(self) -> float:
        """Seconds until a finished job is deleted."""
        return self.keep * 60

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def thread_count(self) -> int:
        """CPU threads for the networks of one worker."""
        return self.threads or max(1, usable_cores() // self.workers)

    def folder(self) -> Path:
        """The store.

        Raises:
            ConfigError: it is not set.
        """
        if not self.store:
            raise ConfigError("the server needs a store: set FACEMEND_STORE to a folder")
        return Path(self.store)

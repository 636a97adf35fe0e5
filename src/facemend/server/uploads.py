"""From an upload to a job: checked by its header, stored under a name of the server's.

A photo's header is read here; a film, whose container takes a decoder to read, is looked at by the worker.
"""

from __future__ import annotations

import secrets
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import quote

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from facemend.errors import (
    ConfigError,
    InputError,
    MissingExtraError,
    OutputError,
    TooLargeError,
    missing,
)
from facemend.imaging import read_header
from facemend.photo.added import check_boxes
from facemend.photo.find import check_size
from facemend.photo.options import RestoreOptions, make_options
from facemend.server.limits import too_many_bytes
from facemend.server.orders import Job, Order
from facemend.server.restorer import JobRestorer, known_models
from facemend.server.services import Services, looked_at
from facemend.server.settings import ServerSettings
from facemend.server.store import JobStore
from facemend.video.kinds import HEAD, looks_like_film
from facemend.video.restore import DEFAULT_W, check_options

_NAME_LENGTH = 100


def display_name(given: str | None) -> str:
    """The last part of an upload's name, without signs that could harm where it is shown."""
    last = PurePosixPath((given or "").replace("\\", "/")).name
    kept = "".join(sign for sign in last if unicodedata.category(sign)[0] not in "CZ" or sign == " ")
    stem, dot, suffix = kept.strip(" .").rpartition(".")
    if len(kept) > _NAME_LENGTH:
        kept = (stem or suffix)[:_NAME_LENGTH] + (dot + suffix[:8] if stem else "")
    return kept.strip(" .") or "photo"


def result_name(job: Job) -> str:
    """What the restored photo or film is called for the client."""
    return f"{PurePosixPath(job.name).stem}_restored{job.suffix}"


def attachment(name: str) -> str:
    """The Content-Disposition of a file to save under that name (RFC 6266)."""
    quoted = quote(name, safe="")
    return f'attachment; filename="{name}"' if quoted == name else f"attachment; filename*=UTF-8''{quoted}"


@dataclass(frozen=True)
class Upload:
    """A file as it came.

    Attributes:
        file: its content, at the start.
        name: what it is called in messages.
        size: bytes.
        client: who sent it.
    """

    file: BinaryIO
    name: str
    size: int
    client: str

    @cached_property
    def is_film(self) -> bool:
        """Whether it is a film, by its content."""
        head = self.file.read(HEAD)
        self.file.seek(0)
        return looks_like_film(head)


def wish(upload: Upload, wanted: Mapping[str, Any]) -> RestoreOptions:
    """How to restore an upload.

    Args:
        upload: the photo or film.
        wanted: single options; others have the default for its kind.

    Raises:
        ConfigError: a value is wrong, or goes with photos only.
    """
    options = make_options(RestoreOptions(w=DEFAULT_W) if upload.is_film else None, wanted)
    if upload.is_film:
        check_options(options)
    return options


async def accept(request: Request, services: Services, upload: Upload, options: RestoreOptions) -> Job:
    """Store an upload and queue it; nothing is left of one that is refused.

    Args:
        request: that brought it.
        services: of the server.
        upload: what came.
        options: how to restore it, as the client wants it.

    Raises:
        ConfigError: there is no such model or background here.
        TooLargeError: it, or the output, would be too large.
        InputError: neither a picture nor a film that can be read.
        MissingExtraError: the server lacks what reads it.
        QueueFullError: as many jobs wait as may.
        BusyError: a film cannot be looked at just now.
        OutputError: the disk is full.
    """
    _check(options, services.backgrounds)
    _check_kind(upload, services.settings)
    id = secrets.token_urlsafe(16)
    said: dict[str, Any]
    try:
        await run_in_threadpool(_store, services.store, id, upload.file)
        if upload.is_film:
            look = partial(JobRestorer.film_header, id=id, name=upload.name, upscale=options.least_upscale)
            film = await looked_at(request, services.worker, look)
            said = {"format": film.format, "input_width": film.width, "input_height": film.height}
            said |= {"frames": film.frames}
        else:
            said = await run_in_threadpool(_photo_header, services, id, upload.name, options)
        order = Order(id=id, name=upload.name, options=options, client=upload.client, **said)
        job = await run_in_threadpool(services.jobs.add, order)
    except BaseException:
        services.store.remove(id)
        raise
    await run_in_threadpool(services.jobs.count, "upload_bytes_total", upload.size)
    return job


def _check_kind(upload: Upload, settings: ServerSettings) -> None:
    """Refuse what is not taken here, whatever is in it."""
    if upload.is_film and not settings.film_mb:
        raise InputError(f"{upload.name}: this server takes no films")
    if upload.is_film and missing("video"):
        raise MissingExtraError(f"{upload.name}: restoring films", "video")
    limit = settings.film_mb if upload.is_film else settings.max_mb
    if upload.size > limit * 1_000_000:
        raise TooLargeError(too_many_bytes(limit))


def _store(store: JobStore, id: str, file: BinaryIO) -> None:
    store.make(id)
    try:
        with store.input(id).open("xb") as kept:
            shutil.copyfileobj(file, kept, 1 << 20)
    except OSError as error:
        raise OutputError(f"the server cannot store the upload ({error.strerror})") from error


def _photo_header(services: Services, id: str, name: str, options: RestoreOptions) -> dict[str, Any]:
    """The fields of an order that a photo's header says."""
    limit = services.settings.max_pixels
    header = read_header(services.store.input(id), max_pixels=limit, name=name)
    try:
        check_size(header, replace(options, max_pixels=limit))
    except TooLargeError as error:
        raise TooLargeError(f"{name}: {error}") from None
    check_boxes(options.boxes, header.width, header.height)
    return {"format": header.format, "input_width": header.width, "input_height": header.height}


def _check(options: RestoreOptions, backgrounds: Sequence[str]) -> None:
    """Refuse what no job could do.

    Raises:
        ConfigError: there is no such model or background.
    """
    models = [model.name for model in known_models()]
    # Names only: a path, which the library would take, must never come from a client.
    for what, wanted, known in (
        ("model", options.model, models),
        ("background", options.background, backgrounds),
    ):
        if wanted not in known:
            raise ConfigError(f"no {what} {wanted!r}; there are: {', '.join(known)}")

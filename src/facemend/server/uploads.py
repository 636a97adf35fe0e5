"""From an upload to a job: checked by its header, stored under a name of the server's."""

from __future__ import annotations

import secrets
import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import quote

from facemend.errors import ConfigError, OutputError, TooLargeError
from facemend.imaging import read_header
from facemend.photo.added import check_boxes
from facemend.photo.find import check_size
from facemend.photo.options import RestoreOptions
from facemend.server.orders import Job, Order
from facemend.server.restorer import known_models
from facemend.server.services import Services

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
    """What the restored photo is called for the client."""
    return f"{PurePosixPath(job.name).stem}_restored{job.suffix}"


def attachment(name: str) -> str:
    """The Content-Disposition of a file to save under that name (RFC 6266)."""
    quoted = quote(name, safe="")
    return f'attachment; filename="{name}"' if quoted == name else f"attachment; filename*=UTF-8''{quoted}"


def accept(
    services: Services, upload: BinaryIO, name: str, size: int, options: RestoreOptions, client: str
) -> Job:
    """JobStore an upload and queue it; nothing is left of one that is refused.

    Args:
        services: of the server.
        upload: its content, at the start.
        name: what it is called in messages.
        size: bytes.
        options: how to restore it, as the client wants it.
        client: who sent it.

    Raises:
        ConfigError: there is no such model or background here.
        TooLargeError: the output would be too large.
        InputError: not a picture that can be read.
        QueueFullError: as many jobs wait as may.
        OutputError: the disk is full.
    """
    _check(options, services.backgrounds)
    job = secrets.token_urlsafe(16)
    services.store.make(job)
    try:
        path = services.store.input(job)
        try:
            with path.open("xb") as file:
                shutil.copyfileobj(upload, file, 1 << 20)
        except OSError as error:
            raise OutputError(f"the server cannot store the photo ({error.strerror})") from error
        limit = services.settings.max_pixels
        header = read_header(path, max_pixels=limit, name=name)
        try:
            check_size(header, replace(options, max_pixels=limit))
        except TooLargeError as error:
            raise TooLargeError(f"{name}: {error}") from None
        check_boxes(options.boxes, header.width, header.height)
        order = Order(
            id=job,
            name=name,
            format=header.format,
            input_width=header.width,
            input_height=header.height,
            options=options,
            client=client,
        )
        added = services.jobs.add(order)
    except BaseException:
        services.store.remove(job)
        raise
    services.jobs.count("upload_bytes_total", size)
    return added


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

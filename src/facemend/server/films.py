"""What a worker does with films. They are opened in its process alone: none is decoded in the server's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemend.errors import InputError, OutputError, TooLargeError
from facemend.imaging import Picture
from facemend.photo.networks import Networks
from facemend.photo.options import RestoreOptions
from facemend.server.orders import Job
from facemend.server.problems import GoneError
from facemend.server.settings import ServerSettings
from facemend.server.store import JobStore
from facemend.video.encode import FilmCoding
from facemend.video.mux import ContainerError
from facemend.video.pixels import output_form, upright_rgb
from facemend.video.read import FilmInfo, measure, probe
from facemend.video.reader import FilmReader
from facemend.video.restore import OnFrame, VideoOptions, VideoResult, restore_video

logger = logging.getLogger(__name__)

MEDIA = {".mp4": "video/mp4", ".mkv": "video/x-matroska"}
"""What films are written as -> media type; the second where the first cannot hold what the film has."""


@dataclass(frozen=True)
class FilmHeader:
    """What is known of a film before its job.

    Attributes:
        format: of the container, FFmpeg's name.
        width: of a frame, upright, pixels.
        height: the same.
        frames: how many, about.
    """

    format: str
    width: int
    height: int
    frames: int


def read_film_header(path: Path, name: str, upscale: int, settings: ServerSettings) -> FilmHeader:
    """Check a film: its size as the container says it, and only then its first frame.

    Args:
        path: the file.
        name: what it is called in messages.
        upscale: times that it is to be enlarged.
        settings: the limits.

    Raises:
        TooLargeError: it is over a limit.
        InputError: no film that can be restored.
    """
    with _called(name, path):
        size = measure(path)
        if size.seconds > settings.film_seconds:
            limit = f"{settings.film_seconds:g} s, which is the limit"
            raise TooLargeError(f"{path}: {size.seconds:.1f} s are more than {limit}: cut the film first")
        if size.frames > settings.film_frames:
            limit = f"{settings.film_frames}, which is the limit: cut it, or take fewer frames a second"
            raise TooLargeError(f"{path}: {size.frames} frames are more than {limit}")
        if size.width * size.height * upscale**2 > settings.film_pixels:
            limit = f"{settings.film_pixels} pixels a frame, which is the limit"
            times = f" x {upscale}" if upscale > 1 else ""
            raise TooLargeError(
                f"{path}: {size.width}x{size.height}{times} are more than {limit}: shrink the film first"
            )
        width, height = _upright(probe(path), size.width, size.height)
    return FilmHeader(size.format, width, height, size.frames)


def restore_film(
    job: Job, store: JobStore, options: RestoreOptions, networks: Networks, on_frame: OnFrame
) -> dict[str, Any]:
    """Restore the film of a job; one that was begun before goes on where it was.

    Args:
        job: of a film.
        store: where it is, and where the result goes.
        options: how to restore it.
        networks: for that.
        on_frame: told of each frame; what it raises ends the work.

    Returns:
        The fields of `Job` that are known now.

    Raises:
        FacemendError: it cannot be read, or something else went wrong, in one line.
    """
    source = store.input(job.id)
    with _called(job.name, source):
        result = _in_some_container(
            job,
            store,
            lambda suffix: restore_video(
                source,
                store.result(job.id, suffix),
                options,
                VideoOptions(overwrite=True),
                networks=networks,
                on_frame=on_frame,
            ),
        )
        info = probe(result.output)
    width, height = _upright(info, info.width, info.height)
    none = () if result.faces else ("no face found: the pictures of the film are as they were",)
    return {
        "width": width,
        "height": height,
        "frames": result.frames,
        "factor": options.least_upscale,
        "suffix": result.output.suffix,
        "faces": [],
        "film_faces": result.faces,
        "notes": [*none, *result.notes],
        "seconds": {},
    }


def first_frame(path: Path, name: str) -> Picture:
    """The first frame of a film, upright.

    Args:
        path: the file.
        name: what it is called in messages.

    Raises:
        GoneError: it is not there.
        InputError: it cannot be read.
    """
    if not path.is_file():
        raise GoneError
    with _called(name, path):
        info = probe(path)
        form, _ = output_form(info, 1, FilmCoding().pixel_formats())
        return Picture(upright_rgb(next(FilmReader(info).frames()).pixels, form))


def _in_some_container(job: Job, store: JobStore, restore: Callable[[str], VideoResult]) -> VideoResult:
    *usual, last = MEDIA
    for suffix in usual:
        try:
            return restore(suffix)
        except ContainerError as error:  # found out before the work
            logger.info("%s", error)
    try:
        return restore(last)
    except ContainerError as error:  # names the output
        raise InputError(str(error).replace(str(store.result(job.id, last)), job.name)) from error


def _upright(info: FilmInfo, width: int, height: int) -> tuple[int, int]:
    return (height, width) if info.rotation % 180 else (width, height)


@contextmanager
def _called(name: str, path: Path) -> Iterator[None]:
    """Errors name the film as its owner does, and no place of the server."""
    try:
        yield
    except InputError as error:
        raise type(error)(str(error).replace(str(path), name)) from None
    except OutputError as error:
        logger.error("%s", error)
        raise OutputError("the server cannot store the result: try again later") from error

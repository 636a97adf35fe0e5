"""One picture file through the work of a task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from facemend.errors import FacemendError, InputError
from facemend.imaging import Picture, read_picture
from facemend.photo.result import PhotoResult

Work = Callable[..., PhotoResult]
"""Done with a picture (and a mask): `Restorer.restore`, `Colorizer.colorize`, `Inpainter.inpaint`."""


def do_file(
    work: Work, source: Path, mask: Path | None = None, content: bytes | None = None
) -> tuple[Picture, PhotoResult]:
    """Read a picture (and its mask) and work on it; errors name the file.

    Args:
        work: what to do.
        source: the file.
        mask: what is to be filled in, if anything.
        content: of the file, where it was read already.

    Returns:
        The picture as it was read, and the result.
    """
    picture = read_picture(source) if content is None else read_picture(content, name=str(source))
    more = () if mask is None else (read_picture(mask),)
    try:
        return picture, work(picture, *more)
    except FacemendError as error:
        name = source if mask is None else f"{source} with mask {mask}"
        raise InputError(f"{name}: {error}") from error

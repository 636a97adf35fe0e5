"""One picture through the work of a task: a file, or any other kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from facemend.errors import FacemendError
from facemend.files import file_stamp
from facemend.imaging import AnyPicture, Picture, as_picture, read_content, read_header, read_picture
from facemend.photo.find import check_size
from facemend.photo.options import RestoreOptions
from facemend.photo.result import PhotoResult

Work = Callable[..., PhotoResult]
"""Done with a picture (and a mask): `Restorer.restore`, `Colorizer.colorize`, `Inpainter.inpaint`."""
Result = TypeVar("Result", bound=PhotoResult)


def do_picture(work: Callable[..., Result], *given: AnyPicture) -> Result:
    """Work on a picture (and its mask) of any kind; errors name the files, and the result knows them."""
    seen = stamp_of(given[0])  # before it is read, so that it is never too young
    pictures = [as_picture(each) for each in given]
    with errors_naming(*given):
        result = work(*pictures)
    return from_files(result, seen, *given)


def do_file(
    work: Work,
    source: Path,
    mask: Path | None = None,
    content: bytes | None = None,
    options: RestoreOptions | None = None,
) -> tuple[Picture, PhotoResult]:
    """Read a picture (and its mask) and work on it; errors name the file.

    Args:
        work: what to do.
        source: the file.
        mask: what is to be filled in, if anything.
        content: of the file, where it was read already.
        options: of the work: what they do not allow is refused before it is decoded.

    Returns:
        The picture as it was read, and the result.
    """
    if options is not None:
        content = read_content(source) if content is None else content
        header = read_header(content, name=str(source))
        with errors_naming(source):
            check_size(header, options)
    picture = read_picture(source) if content is None else read_picture(content, name=str(source))
    more = () if mask is None else (mask,)
    masks = [read_picture(each) for each in more]
    with errors_naming(source, *more):
        return picture, work(picture, *masks)


@contextmanager
def errors_naming(*given: AnyPicture) -> Iterator[None]:
    """What goes wrong inside is said of the files among these."""
    try:
        yield
    except FacemendError as error:
        if files := paths(*given):
            error.args = (f"{' with mask '.join(map(str, files))}: {error}",)  # the kind of error stays
        raise


def from_files(result: Result, seen: tuple[int, int] | None, *given: AnyPicture) -> Result:
    """The result, which knows the files among these, so that it never overwrites them; `seen`: see there."""
    return replace(result, inputs=paths(*given), seen=seen)


def stamp_of(given: AnyPicture) -> tuple[int, int] | None:
    """`file_stamp` of the file that it is; None if it is none."""
    return next(map(file_stamp, paths(given)), None)


def paths(*given: AnyPicture) -> tuple[Path, ...]:
    """The files among these."""
    return tuple(Path(each) for each in given if isinstance(each, str | os.PathLike))

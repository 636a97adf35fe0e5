"""`facemend.restore`, `colorize`, `inpaint`: one call, and the same kind of picture comes out as went in."""

from __future__ import annotations

import os
from collections.abc import Callable
from os.path import isdir
from pathlib import Path
from typing import Any, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facemend.errors import ConfigError, OutputError
from facemend.imaging import (
    WRITABLE,
    AnyPath,
    AnyPicture,
    HasArray,
    Outputs,
    Picture,
    encode_picture,
    format_of,
    suffix_of,
    to_float,
    to_pillow,
)
from facemend.photo.colorize import Colorizer
from facemend.photo.file import paths
from facemend.photo.inpaint import Inpainter
from facemend.photo.options import RestoreSettings as Settings
from facemend.photo.restore import Restorer
from facemend.photo.result import PhotoResult

Same = TypeVar("Same", Image.Image, Picture, bytes)


@overload
def restore(x: AnyPath, *, out: AnyPath, overwrite: bool = ..., **options: Unpack[Settings]) -> Path: ...
@overload
def restore(x: AnyPath, **options: Unpack[Settings]) -> Image.Image: ...
@overload
def restore(x: Same, **options: Unpack[Settings]) -> Same: ...
@overload
def restore(x: HasArray, **options: Unpack[Settings]) -> NDArray[Any]: ...
def restore(
    x: Any, *, out: AnyPath | None = None, overwrite: bool = False, **options: Unpack[Settings]
) -> Any:
    """Restore the faces of one photo. For many photos make a `Restorer`, which loads the networks once.

    Args:
        x: path of a file; Pillow image; array (H, W), (H, W, 3) RGB or (H, W, 4) RGBA of uint8, uint16,
            floats in [0, 1] or bool, or what numpy takes as one; bytes of a file; or a `Picture`.
        out: only with a path: file to write.
        overwrite: whether `out` may replace a file (never the input).
        options: fields of `RestoreOptions`, such as `w=0.7`, `aligned=True`, or `upscale=1` for a picture of
            the same size: by default (`upscale="auto"`) photos with small faces are enlarged.

    Returns:
        The kind that went in: a path with `out` gives the path written, without it a Pillow image; an array
        has the same type (of bool: uint8) and number of channels; bytes are in the same format (PNG where
        that cannot be written).

    Raises:
        ConfigError: an unknown option, or a value out of range.
        InputError: no picture, damaged or too large.
        OutputError: `out` exists already or cannot be written.
        FacemendError: see `Restorer` for what else can go wrong.
    """
    return _same_kind(x, Restorer(**options).restore, out, overwrite)


@overload
def colorize(x: AnyPath, *, out: AnyPath, overwrite: bool = ..., **options: Unpack[Settings]) -> Path: ...
@overload
def colorize(x: AnyPath, **options: Unpack[Settings]) -> Image.Image: ...
@overload
def colorize(x: Same, **options: Unpack[Settings]) -> Same: ...
@overload
def colorize(x: HasArray, **options: Unpack[Settings]) -> NDArray[Any]: ...
def colorize(
    x: Any, *, out: AnyPath | None = None, overwrite: bool = False, **options: Unpack[Settings]
) -> Any:
    """Colour the faces of one gray photo. For many photos make a `Colorizer`.

    Args:
        x: as for `restore`.
        out: as for `restore`.
        overwrite: as for `restore`.
        options: fields of `RestoreOptions`, such as `model="codeformer_colorization"`; by default the one
            colorization model that is there.

    Returns:
        The kind that went in, as from `restore`; an array always with the three colours.

    Raises:
        FacemendError: as from `restore`; `ModelNotFoundError` where no colorization model is there.
    """
    return _same_kind(x, Colorizer(**options).colorize, out, overwrite, in_rgb=True)


@overload
def inpaint(
    x: AnyPath, mask: AnyPicture, *, out: AnyPath, overwrite: bool = ..., **options: Unpack[Settings]
) -> Path: ...
@overload
def inpaint(x: AnyPath, mask: AnyPicture, **options: Unpack[Settings]) -> Image.Image: ...
@overload
def inpaint(x: Same, mask: AnyPicture, **options: Unpack[Settings]) -> Same: ...
@overload
def inpaint(x: HasArray, mask: AnyPicture, **options: Unpack[Settings]) -> NDArray[Any]: ...
def inpaint(
    x: Any, mask: Any, *, out: AnyPath | None = None, overwrite: bool = False, **options: Unpack[Settings]
) -> Any:
    """Fill what a mask covers of the faces of one photo. For many photos make an `Inpainter`.

    Args:
        x: as for `restore`.
        mask: white (or True) where the photo is to be filled in; of the photo's size; any of the kinds that
            `x` may be.
        out: as for `restore`.
        overwrite: as for `restore`.
        options: fields of `RestoreOptions`, such as `model="codeformer_inpainting"`; by default w = 1 and
            the one inpainting model that is there.

    Returns:
        The kind that went in, as from `restore`.

    Raises:
        InputError: the mask does not fit the photo.
        FacemendError: as from `restore`; `ModelNotFoundError` where no inpainting model is there.
    """
    inpainter = Inpainter(**options)
    return _same_kind(x, lambda photo: inpainter.inpaint(photo, mask), out, overwrite, mask=mask)


def _same_kind(
    x: Any,
    work: Callable[[Any], PhotoResult],
    out: AnyPath | None,
    overwrite: bool,
    *,
    mask: Any = None,
    in_rgb: bool = False,
) -> Any:
    """What `work` makes of a picture of any kind, as that kind."""
    if out is not None:
        if not isinstance(x, str | os.PathLike):
            raise ConfigError("out goes with the path of a photo; write what is returned yourself")
        if isdir(out):
            raise OutputError(f"{os.fspath(out)}: is a folder: name a file in it")
        format_of(out)  # refused before the work
        Outputs(paths(x, mask), overwrite=overwrite).claim(Path(out))
        return work(x).save(out, overwrite=overwrite)
    picture = work(x).picture
    if isinstance(x, Picture):
        return picture
    if isinstance(x, bytes | bytearray):
        return encode_picture(picture, WRITABLE[suffix_of(picture.format)])
    if isinstance(x, str | os.PathLike | Image.Image):
        return to_pillow(picture)
    return _array_like(np.asarray(x), picture.in_rgb() if in_rgb else picture)


def _array_like(given: NDArray[Any], picture: Picture) -> NDArray[Any]:
    array: NDArray[Any] = picture.to_array()
    if array.ndim < given.ndim:
        array = array[..., None]
    return to_float(array).astype(given.dtype, copy=False) if given.dtype.kind == "f" else array

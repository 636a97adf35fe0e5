"""`facemend.restore`, `colorize`, `inpaint`: one call, and the same kind of picture comes out as went in."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facemend.errors import ConfigError, InputError
from facemend.imaging import WRITABLE, Outputs, Picture, encode_picture, from_float, read_picture, to_float
from facemend.photo.colorize import Colorizer
from facemend.photo.file import Work, do_file
from facemend.photo.inpaint import Inpainter
from facemend.photo.restore import Restorer
from facemend.photo.result import PhotoResult

_PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")


AnyPath = str | os.PathLike[str]
AnyPicture = AnyPath | bytes | Image.Image | NDArray[Any] | Picture
Same = TypeVar("Same", Image.Image, Picture, bytes, NDArray[Any])


@overload
def restore(x: AnyPath, *, out: AnyPath, overwrite: bool = ..., **options: Any) -> Path: ...
@overload
def restore(x: AnyPath, **options: Any) -> Image.Image: ...
@overload
def restore(x: Same, **options: Any) -> Same: ...
def restore(x: Any, *, out: AnyPath | None = None, overwrite: bool = False, **options: Any) -> Any:
    """Restore the faces of one photo. For many photos make a `Restorer`, which loads the networks once.

    Args:
        x: path of a file; Pillow image; array (H, W), (H, W, 3) RGB or (H, W, 4) RGBA of uint8, uint16 or
            floats in [0, 1]; bytes of a file; or a `Picture`.
        out: only with a path: file to write.
        overwrite: whether `out` may replace a file (never the input).
        options: fields of `RestoreOptions`, such as `w=0.7`, `aligned=True`, or `upscale=1` for a picture of
            the same size: by default (`upscale="auto"`) photos with small faces are enlarged.

    Returns:
        The kind that went in: a path with `out` gives the path written, without it a Pillow image; an array
        has the same type and number of channels; bytes are in the same format (PNG where that cannot be
        written).

    Raises:
        ConfigError: an unknown option, or a value out of range.
        InputError: no picture, damaged or too large.
        OutputError: `out` exists already or cannot be written.
        FacemendError: see `Restorer` for what else can go wrong.
    """
    return _same_kind(x, Restorer(**options).restore, out, overwrite)


@overload
def colorize(x: AnyPath, *, out: AnyPath, overwrite: bool = ..., **options: Any) -> Path: ...
@overload
def colorize(x: AnyPath, **options: Any) -> Image.Image: ...
@overload
def colorize(x: Same, **options: Any) -> Same: ...
def colorize(x: Any, *, out: AnyPath | None = None, overwrite: bool = False, **options: Any) -> Any:
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
def inpaint(x: AnyPath, mask: AnyPicture, *, out: AnyPath, overwrite: bool = ..., **options: Any) -> Path: ...
@overload
def inpaint(x: AnyPath, mask: AnyPicture, **options: Any) -> Image.Image: ...
@overload
def inpaint(x: Same, mask: AnyPicture, **options: Any) -> Same: ...
def inpaint(x: Any, mask: Any, *, out: AnyPath | None = None, overwrite: bool = False, **options: Any) -> Any:
    """Fill what a mask covers of the faces of one photo. For many photos make an `Inpainter`.

    Args:
        x: as for `restore`.
        mask: white where the photo is to be filled in; of the photo's size; any of the kinds that `x` may
            be, or an array (H, W) of bool.
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
    is_bool = isinstance(mask, np.ndarray) and mask.dtype == np.bool_
    white = _as_picture(mask * np.uint8(255) if is_bool else mask)
    work = partial(_with_mask, Inpainter(**options), white)
    return _same_kind(x, work, out, overwrite, also_read=mask)


def _with_mask(inpainter: Inpainter, mask: Picture, picture: Picture) -> PhotoResult:
    return inpainter.inpaint(picture, mask)


def _same_kind(
    x: Any, work: Work, out: AnyPath | None, overwrite: bool, *, in_rgb: bool = False, also_read: Any = None
) -> Any:
    """What `work` makes of a picture of any kind, as that kind."""
    if isinstance(x, str | os.PathLike):
        inputs = [Path(path) for path in (x, also_read) if isinstance(path, str | os.PathLike)]
        return _do_path(work, inputs, None if out is None else Path(out), overwrite)
    if out is not None:
        raise ConfigError("out goes with the path of a photo; write what is returned yourself")
    if isinstance(x, np.ndarray):
        return _do_array(work, x, in_rgb)
    picture = work(_as_picture(x)).picture
    if isinstance(x, Picture):
        return picture
    if isinstance(x, bytes | bytearray):
        return encode_picture(picture, picture.format if picture.format in WRITABLE.values() else "png")
    return _to_pillow(picture)


def _as_picture(x: Any) -> Picture:
    if isinstance(x, Picture):
        return x
    if isinstance(x, str | os.PathLike):
        return read_picture(Path(x))
    if isinstance(x, bytes | bytearray):
        return read_picture(bytes(x))
    if isinstance(x, Image.Image):
        return _from_pillow(x)
    if isinstance(x, np.ndarray):
        return Picture.from_array(x)
    raise InputError(f"cannot take a {type(x).__name__}: give a path, bytes, an array or a Pillow image")


def _do_path(work: Work, inputs: list[Path], out: Path | None, overwrite: bool) -> Path | Image.Image:
    """The first of the inputs is the photo; none is ever overwritten."""
    if out is None:
        return _to_pillow(do_file(work, inputs[0])[1].picture)
    outputs = Outputs(inputs, overwrite=overwrite)
    outputs.claim(out)
    outputs.save(out, do_file(work, inputs[0])[1].picture)
    return out


def _do_array(work: Work, array: NDArray[Any], in_rgb: bool) -> NDArray[Any]:
    is_float = array.dtype.kind == "f"
    # 16 bits hold floats well enough to come back unseen.
    integers = from_float(array.astype(np.float32, copy=False), np.uint16) if is_float else array
    picture = work(Picture.from_array(integers)).picture
    flat = picture.gray and not in_rgb
    result = picture.pixels[..., :1] if flat else picture.pixels
    if picture.alpha is not None:
        result = np.concatenate([result, picture.alpha[..., None]], axis=2)
    if array.ndim == 2 and flat:
        result = result[..., 0]
    return to_float(result).astype(array.dtype, copy=False) if is_float else result


def _from_pillow(image: Image.Image) -> Picture:
    """Through a PNG, so that every mode is understood as it is in files."""
    buffer = io.BytesIO()
    known = image if image.mode in _PNG_MODES else image.convert("RGB")
    known.save(buffer, "png", compress_level=1)
    return read_picture(buffer.getvalue(), name="picture")


def _to_pillow(picture: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(encode_picture(picture, "png")))
    image.load()
    return image

"""`facemend.restore`: one call, and the same kind of picture comes out as went in."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facemend.errors import ConfigError, InputError
from facemend.imaging import WRITABLE, Picture, encode_picture, from_float, read_picture, to_float
from facemend.pipeline.batch import Outputs
from facemend.pipeline.folder import restore_file
from facemend.pipeline.image import Restorer

_PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")


AnyPath = str | os.PathLike[str]


@overload
def restore(x: AnyPath, *, out: AnyPath, overwrite: bool = ..., **options: Any) -> Path: ...
@overload
def restore(x: AnyPath | Image.Image, **options: Any) -> Image.Image: ...
@overload
def restore(x: Picture, **options: Any) -> Picture: ...
@overload
def restore(x: bytes, **options: Any) -> bytes: ...
@overload
def restore(x: NDArray[Any], **options: Any) -> NDArray[Any]: ...
def restore(x: Any, *, out: AnyPath | None = None, overwrite: bool = False, **options: Any) -> Any:
    """Restore the faces of one photo. For many photos make a `Restorer`, which loads the networks once.

    Args:
        x: path of a file; Pillow image; array (H, W), (H, W, 3) RGB or (H, W, 4) RGBA of uint8, uint16 or
            floats in [0, 1]; bytes of a file; or a `Picture`.
        out: only with a path: file to write.
        overwrite: whether `out` may replace a file (never the input).
        options: fields of `RestoreOptions`, such as `w=0.7`, `upscale=2`, `aligned=True`.

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
    restorer = Restorer(**options)
    if isinstance(x, str | os.PathLike):
        return _restore_path(restorer, Path(x), None if out is None else Path(out), overwrite)
    if out is not None:
        raise ConfigError("out goes with the path of a photo; write what is returned yourself")
    if isinstance(x, Picture):
        return restorer.restore(x).picture
    if isinstance(x, bytes | bytearray):
        picture = restorer.restore(read_picture(bytes(x))).picture
        return encode_picture(picture, picture.format if picture.format in WRITABLE.values() else "png")
    if isinstance(x, Image.Image):
        return _to_pillow(restorer.restore(_from_pillow(x)).picture)
    if isinstance(x, np.ndarray):
        return _restore_array(restorer, x)
    raise InputError(f"cannot restore a {type(x).__name__}: give a path, bytes, an array or a Pillow image")


def _restore_path(restorer: Restorer, source: Path, out: Path | None, overwrite: bool) -> Path | Image.Image:
    if out is None:
        return _to_pillow(restore_file(restorer, source)[1].picture)
    outputs = Outputs([source], overwrite=overwrite)
    outputs.claim(out)
    outputs.save(out, restore_file(restorer, source)[1].picture)
    return out


def _restore_array(restorer: Restorer, array: NDArray[Any]) -> NDArray[Any]:
    is_float = array.dtype.kind == "f"
    # 16 bits hold floats well enough to come back unseen.
    integers = from_float(array.astype(np.float32, copy=False), np.uint16) if is_float else array
    picture = restorer.restore(Picture.from_array(integers)).picture
    result = picture.pixels[..., :1] if picture.gray else picture.pixels
    if picture.alpha is not None:
        result = np.concatenate([result, picture.alpha[..., None]], axis=2)
    if array.ndim == 2:
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

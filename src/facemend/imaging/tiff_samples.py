"""TIFF files whose samples are whole numbers of 8 or 16 bits, read as their own tags say (TIFF 6.0).

General decoders know some arrangements of samples and guess at others. Every decoder knows gray pictures, so
a picture of n samples a pixel is read as a gray one n times as wide, or as n gray ones where its planes lie
apart; what the samples mean is then decided here.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory
from PIL.TiffImagePlugin import TiffImageFile

from facemend.errors import InputError
from facemend.imaging.channels import pillow_bands
from facemend.imaging.color import Pixels
from facemend.imaging.metadata import ON_ITS_SIDE, upright

_KIND, _OLD_KIND, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
_FILL_ORDER, _STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES = 266, 273, 274, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 284, 317, 322, 323, 324, 325
_SUB, _EXTRA, _SAMPLE_FORMAT = 330, 338, 339
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_RAW_PHOTO = (32803, 34892)  # colour filter array, linear raw
_PREMULTIPLIED, _STRAIGHT = 1, 2
_COMPRESSIONS = {1: False, 5: True, 8: True, 32773: False, 32946: True}
"""Those read here, and whether a predictor may have gone before: none, LZW, deflate, PackBits, deflate."""
_MOST_SAMPLES = 8
_MOST_DIRECTORIES = 64


@dataclass(frozen=True)
class Samples:
    """What a TIFF holds, upright.

    Attributes:
        pixels: (H, W, C) uint8 or uint16: gray, gray + straight alpha, RGB, RGB + straight alpha.
        notes: what was left out.
    """

    pixels: Pixels
    notes: tuple[str, ...] = ()


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as a TIFF or a BigTIFF does."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def full_picture(data: bytes, name: str) -> tuple[bytes, Directory, tuple[str, ...]]:
    """The file with its full picture first, where a reduced copy of it is; its tags; what to say of it.

    Args:
        data: a TIFF.
        name: what messages call it.

    Raises:
        InputError: it is a camera's raw file, holds no picture, or is of a kind that Pillow does not read.
    """
    if data[:4] == b"MM\0+":
        raise InputError(f"{name}: a big-endian BigTIFF is not supported: save it as an ordinary TIFF")
    directories = _directories(data)
    if not directories:
        raise InputError(f"{name}: damaged or cut off (a TIFF without a picture)")
    if any(tags.get(_PHOTOMETRIC) in _RAW_PHOTO for _, tags in directories):
        raise InputError(f"{name}: a camera's raw file (DNG and the like): develop it to TIFF or JPEG first")
    first = directories[0][1]
    full = [(at, tags) for at, tags in directories if not _is_reduced(tags)]
    notes = ("has several frames or pages: only the first is used",) if len(full) > 1 else ()
    if not _is_reduced(first):
        return data, first, notes
    if not full and _is_big(data):  # Pillow does not read where its further directories are
        raise InputError(f"{name}: holds a reduced copy first, in a BigTIFF: save it as a TIFF of one page")
    if not full:
        return data, first, ("says of itself that it is a reduced copy, and holds nothing larger",)
    at, tags = max(full, key=lambda item: item[1][_WIDTH] * item[1][_HEIGHT])
    order = _order(data)
    if _is_big(data):
        return data[:8] + struct.pack(f"{order}Q", at) + data[16:], tags, ()
    return data[:4] + struct.pack(f"{order}I", at) + data[8:], tags, ()


def _is_big(data: bytes) -> bool:
    return data[2:4] in (b"+\0", b"\0+")


def _order(data: bytes) -> str:
    return "<" if data[:2] == b"II" else ">"


def _is_reduced(tags: Directory) -> bool:
    return bool(int(tags.get(_KIND, 0)) & 1) or tags.get(_OLD_KIND) == 2


def _directories(data: bytes) -> list[tuple[int, Directory]]:
    """Pages and the directories below them that describe pictures, with their places in the file."""
    header = data[: 16 if _is_big(data) else 8]
    waiting = [int(Directory(header).next)]
    found: dict[int, Directory] = {}
    while waiting and len(found) < _MOST_DIRECTORIES:
        at = waiting.pop(0)
        if not 0 < at < len(data) or at in found:
            continue
        tags = Directory(header)
        file = io.BytesIO(data)
        file.seek(at)
        try:
            tags.load(file)
            found[at] = tags
            waiting += [int(place) for place in np.atleast_1d(tags.get(_SUB, ()))]
            waiting.append(int(tags.next))
        except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
            continue  # what cannot be read is no better picture
    return [(at, tags) for at, tags in found.items() if isinstance(tags.get(_WIDTH), int) and _HEIGHT in tags]


def size(tags: Directory) -> tuple[int, int]:
    """Width and height of the upright picture."""
    width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
    return (height, width) if tags.get(_ORIENTATION, 1) in ON_ITS_SIDE else (width, height)


def check_kind(tags: Directory, name: str) -> bool:
    """Whether the samples are whole numbers of 8 or 16 bits, gray or RGB, arranged as it is read here.

    Where they are not, Pillow reads them rightly by itself: palettes, CMYK, YCbCr, JPEG, fewer than 8 bits.

    Raises:
        InputError: nothing reads them rightly.
    """
    bits = set(np.atleast_1d(tags.get(_BITS, 1)).tolist())
    formats = set(np.atleast_1d(tags.get(_SAMPLE_FORMAT, 1)).tolist())
    if 3 in formats:
        raise InputError(f"{name}: floating-point TIFF is not supported: save it as 16-bit integers")
    if not bits <= {1, 2, 4, 8, 16}:
        raise InputError(f"{name}: {max(bits)} bits per channel are not supported: save it with 8 or 16")
    kind, samples = tags.get(_PHOTOMETRIC), int(tags.get(_SAMPLES, 1))
    ours = (
        len(bits) == 1
        and bits <= {8, 16}
        and kind in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
        and formats == {1}
        and tags.get(_COMPRESSION, 1) in _COMPRESSIONS
        and tags.get(_PREDICTOR, 1) in (1, 2)
        and tags.get(_FILL_ORDER, 1) == 1
    )
    if 16 in bits and not ours:
        raise InputError(
            f"{name}: this kind of 16-bit TIFF is not supported: save it as unsigned gray or RGB"
        )
    if ours and not (3 if kind == _RGB else 1) <= samples <= _MOST_SAMPLES:
        raise InputError(f"{name}: {samples} samples a pixel are not supported: save it as gray or RGB")
    return ours


def read_samples(data: bytes, tags: Directory, name: str) -> Samples:
    """The picture of a file whose kind was found to be read here.

    Args:
        data: the file.
        tags: of the picture in it.
        name: what messages call it.

    Raises:
        InputError: damaged.
    """
    colours, samples = 3 if tags[_PHOTOMETRIC] == _RGB else 1, int(tags.get(_SAMPLES, 1))
    values = _decoded(tags, data, samples, int(np.max(tags[_BITS])), name)
    if tags[_PHOTOMETRIC] == _WHITE_IS_ZERO:
        values[..., :1] = ~values[..., :1]
    found = _meant(values, colours, tags)
    return Samples(upright(found.pixels, int(tags.get(_ORIENTATION, 1))), found.notes)


def _decoded(tags: Directory, data: bytes, samples: int, bits: int, name: str) -> Pixels:
    """(H, W, samples), as the numbers lie in the file."""
    width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
    tiled = _TILES in tags
    offsets, sizes = (
        [int(value) for value in np.atleast_1d(tags.get(tag, ()))]
        for tag in ((_TILES, _TILE_BYTES) if tiled else (_STRIPS, _STRIP_BYTES))
    )
    block = int(tags.get(_TILE_WIDTH, 0)) if tiled else width
    rows = int(tags.get(_TILE_HEIGHT, 0) if tiled else tags.get(_ROWS, height))
    if block < 1 or rows < 1:
        raise InputError(f"{name}: damaged (strips or tiles of no size)")
    rows = min(rows, height) if not tiled else rows
    count = ceil(height / rows) * ceil(width / block)  # of a plane
    planes = samples if tags.get(_PLANAR, 1) == 2 else 1
    if min(len(offsets), len(sizes)) < count * planes:
        raise InputError(f"{name}: damaged (strips or tiles are missing)")
    wide = samples // planes
    parts = []
    for plane in range(planes):
        own = slice(plane * count, (plane + 1) * count)
        parts.append(_gray(tags, data, bits, wide, (block, rows), tiled, offsets[own], sizes[own]))
    parts = [part.reshape(height, width, wide) for part in parts]
    values = parts[0] if planes == 1 else np.concatenate(parts, axis=2)
    if tags.get(_PREDICTOR, 1) == 2 and _COMPRESSIONS[tags.get(_COMPRESSION, 1)]:
        for x in range(0, width, block):  # each strip or tile starts anew
            span = values[:, x : x + block]
            np.cumsum(span, axis=1, dtype=values.dtype, out=span)
    return values


def _gray(
    tags: Directory,
    data: bytes,
    bits: int,
    wide: int,
    block: tuple[int, int],
    tiled: bool,
    offsets: list[int],
    sizes: list[int],
) -> Pixels:
    """One plane, decoded as a gray picture `wide` times as wide, without a predictor."""
    fields: dict[int, list[int]] = {
        _WIDTH: [int(tags[_WIDTH]) * wide],
        _HEIGHT: [int(tags[_HEIGHT])],
        _BITS: [bits],
        _COMPRESSION: [int(tags.get(_COMPRESSION, 1))],
        _PHOTOMETRIC: [_BLACK_IS_ZERO],
        _SAMPLES: [1],
    }
    if tiled:
        fields |= {
            _TILE_WIDTH: [block[0] * wide],
            _TILE_HEIGHT: [block[1]],
            _TILES: offsets,
            _TILE_BYTES: sizes,
        }
    else:
        fields |= {_STRIPS: offsets, _ROWS: [block[1]], _STRIP_BYTES: sizes}
    # Not through Image.open, which would take the width for that of a picture and refuse it as too large.
    with TiffImageFile(io.BytesIO(_with_directory(data, fields))) as image:
        image.load()
        values = np.empty((image.height, image.width), np.uint16 if bits == 16 else np.uint8)
        top = 0
        for band in pillow_bands(image, image.mode):  # from any order of bytes to this machine's
            values[top : (top := top + len(band))] = band[..., 0]
    return values


def _with_directory(data: bytes, fields: dict[int, list[int]]) -> bytes:
    """The file with a directory of ours, of whole numbers, in place of its own."""
    order = _order(data)
    start = len(data) + len(data) % 2
    after = start + 2 + 12 * len(fields) + 4
    entries, lists = [], []
    for tag, values in sorted(fields.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        entries.append(struct.pack(f"{order}HHI", tag, 4, len(values)))
        entries.append(packed if len(values) == 1 else struct.pack(f"{order}I", after))
        if len(values) > 1:
            lists.append(packed)
            after += len(packed)
    magic = data[:2] + struct.pack(f"{order}HI", 42, start)
    count, end = struct.pack(f"{order}H", len(fields)), bytes(4)
    return b"".join([magic, memoryview(data)[8:], bytes(start - len(data)), count, *entries, end, *lists])


def _meant(values: Pixels, colours: int, tags: Directory) -> Samples:
    """Colour, and straight alpha where an extra sample is said to be alpha."""
    kinds = [int(kind) for kind in np.atleast_1d(tags.get(_EXTRA, ()))]
    extra = [*kinds, *[0] * values.shape[2]][: values.shape[2] - colours]
    alpha = next((at for at, kind in enumerate(extra) if kind in (_PREMULTIPLIED, _STRAIGHT)), None)
    left_out = len(extra) - (alpha is not None)
    notes = ("a channel that is not said to be transparency (infrared?) is left out",) if left_out else ()
    colour = values[..., :colours]
    if alpha is None:
        return Samples(colour, notes)
    mask = values[..., colours + alpha, None]
    if extra[alpha] == _PREMULTIPLIED:
        full = np.float64(np.iinfo(values.dtype).max)
        colour = np.rint(np.minimum(colour * (full / np.maximum(mask, 1)), full)).astype(values.dtype)
    return Samples(np.concatenate([colour, mask], axis=2), notes)

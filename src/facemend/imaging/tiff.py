"""Metadata of the TIFF files that we write: libtiff, as Pillow and OpenCV drive it, takes little or none."""

from __future__ import annotations

import io
from itertools import accumulate

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

_OFFSETS, _COUNTS = 273, 279
_EXTRA_SAMPLES, _XMP, _ICC = 338, 700, 34675
_STRAIGHT_ALPHA = 2
_SUBDIRECTORIES = (0x8769, 0x8825)  # EXIF, GPS
_LONG, _BYTE, _UNDEFINED = 4, 1, 7


def with_tags(data: bytes, *, icc: bytes | None, exif: bytes | None, xmp: bytes | None, alpha: bool) -> bytes:
    """A TIFF with metadata added; its pixels are taken over as they are compressed.

    Args:
        data: a TIFF of ours: one page, strips.
        icc: colour profile.
        exif: EXIF block as in a JPEG, starting "Exif".
        xmp: XMP packet.
        alpha: the last channel is straight alpha.
    """
    with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        source: Directory = image.tag_v2  # type: ignore[attr-defined]
        strips = list(zip(source[_OFFSETS], source[_COUNTS], strict=True))
        tags = Directory(prefix=source.prefix)
        for tag, value in source.items():
            tags.tagtype[tag] = source.tagtype[tag]
            tags[tag] = value
    # Where each strip lies behind the directory; `save` adds the directory's own length.
    tags.tagtype[_OFFSETS] = _LONG
    tags[_OFFSETS] = tuple(accumulate((count for _, count in strips[:-1]), initial=0))
    if alpha:
        tags[_EXTRA_SAMPLES] = _STRAIGHT_ALPHA
    for tag, kind, value in ((_ICC, _UNDEFINED, icc), (_XMP, _BYTE, xmp)):
        if value:
            tags.tagtype[tag] = kind
            tags[tag] = value
    if exif:
        _add_exif(tags, exif)
    buffer = io.BytesIO()
    tags.save(buffer)
    buffer.writelines(data[at : at + count] for at, count in strips)
    return buffer.getvalue()


def _add_exif(tags: Directory, block: bytes) -> None:
    exif = Image.Exif()
    exif.load(block)
    for tag in exif:
        tags.tagtype.pop(tag, None)
        tags[tag] = exif.get_ifd(tag) if tag in _SUBDIRECTORIES else exif[tag]

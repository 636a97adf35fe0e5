"""Metadata of the TIFF files that we write: libtiff, as Pillow and OpenCV drive it, takes little or none."""

from __future__ import annotations

import io
from itertools import accumulate

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from facemend.imaging.metadata import Metadata

_OFFSETS, _COUNTS = 273, 279
_EXTRA_SAMPLES, _XMP, _ICC, _IPTC = 338, 700, 34675, 33723
_X_PIXELS, _Y_PIXELS, _PIXELS_UNIT, _INCH = 282, 283, 296, 2
_STRAIGHT_ALPHA = 2
_SUBDIRECTORIES = (0x8769, 0x8825)  # EXIF, GPS
_LONG, _BYTE, _UNDEFINED = 4, 1, 7


def with_tags(data: bytes, metadata: Metadata, *, alpha: bool) -> bytes:
    """A TIFF with metadata added; its pixels are taken over as they are compressed.

    Args:
        data: a TIFF of ours: one page, strips.
        metadata: what to add; EXIF as in a JPEG, starting "Exif".
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
    if metadata.exif:
        _add_exif(tags, metadata.exif)
    blocks = ((_ICC, metadata.icc), (_XMP, metadata.xmp), (_IPTC, metadata.iptc))
    for tag, value in blocks:
        if value:
            tags.tagtype[tag] = _BYTE if tag == _XMP else _UNDEFINED
            tags[tag] = value
    if metadata.dpi:
        tags[_X_PIXELS], tags[_Y_PIXELS], tags[_PIXELS_UNIT] = *metadata.dpi, _INCH
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

"""Pictures in and out: files, colour, resizing. Knows nothing of faces or models."""

from facemend.imaging.color import (
    Pixels,
    from_float,
    is_gray,
    is_toned,
    keep_chroma,
    luma,
    match_broad_chroma,
    rgb_to_ycbcr,
    to_float,
    ycbcr_to_rgb,
)
from facemend.imaging.picture import Picture
from facemend.imaging.reading import MAX_PIXELS, SUFFIXES, read_picture
from facemend.imaging.resize import ResizeKind, resize
from facemend.imaging.writing import WRITABLE, encode_picture, format_of, place, write_picture

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "WRITABLE",
    "Picture",
    "Pixels",
    "ResizeKind",
    "encode_picture",
    "format_of",
    "from_float",
    "is_gray",
    "is_toned",
    "keep_chroma",
    "luma",
    "match_broad_chroma",
    "place",
    "read_picture",
    "resize",
    "rgb_to_ycbcr",
    "to_float",
    "write_picture",
    "ycbcr_to_rgb",
]

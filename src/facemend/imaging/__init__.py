"""Pictures in and out: files, colour, resizing. Knows nothing of faces or models."""

from facemend.imaging.arrays import HasArray
from facemend.imaging.bare import read_rgb, read_size
from facemend.imaging.blur import gaussian_blur
from facemend.imaging.color import (
    BROAD,
    AnyPixels,
    Pixels,
    from_float,
    is_gray,
    is_toned,
    keep_chroma,
    luma,
    match_broad_colours,
    rgb_to_ycbcr,
    take_chroma,
    to_8_bits,
    to_float,
    ycbcr_to_rgb,
)
from facemend.imaging.denoise import clean
from facemend.imaging.encoding import left_out
from facemend.imaging.formats import WRITABLE, suffix_of
from facemend.imaging.kinds import AnyPath, AnyPicture, as_picture, to_pillow
from facemend.imaging.limits import MAX_PIXELS, or_raise, usual_pixels
from facemend.imaging.outputs import Outputs
from facemend.imaging.picture import Picture
from facemend.imaging.reading import (
    SUFFIXES,
    Header,
    largest_file,
    read_content,
    read_header,
    read_picture,
    readable_suffixes,
)
from facemend.imaging.resize import ResizeKind, resize, shrink
from facemend.imaging.rows import bands, by_bands
from facemend.imaging.srgb import in_srgb
from facemend.imaging.writing import encode_for, encode_picture, format_of, write_picture

__all__ = [
    "BROAD",
    "MAX_PIXELS",
    "SUFFIXES",
    "WRITABLE",
    "AnyPath",
    "AnyPicture",
    "AnyPixels",
    "HasArray",
    "Header",
    "Outputs",
    "Picture",
    "Pixels",
    "ResizeKind",
    "as_picture",
    "bands",
    "by_bands",
    "clean",
    "encode_for",
    "encode_picture",
    "format_of",
    "from_float",
    "gaussian_blur",
    "in_srgb",
    "is_gray",
    "is_toned",
    "keep_chroma",
    "largest_file",
    "left_out",
    "luma",
    "match_broad_colours",
    "or_raise",
    "read_content",
    "read_header",
    "read_picture",
    "read_rgb",
    "read_size",
    "readable_suffixes",
    "resize",
    "rgb_to_ycbcr",
    "shrink",
    "suffix_of",
    "take_chroma",
    "to_8_bits",
    "to_float",
    "to_pillow",
    "usual_pixels",
    "write_picture",
    "ycbcr_to_rgb",
]

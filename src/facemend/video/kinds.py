"""Which files are films: by their names, or by their first bytes where no name is to be believed."""

from __future__ import annotations

from pathlib import Path

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "asf", "avi", "dv", "flv", "m2ts", "m4v", "mkv", "mov", "mp4"),
        *("mpeg", "mpg", "mts", "mxf", "ogv", "ts", "vob", "webm", "wmv"),
    )
)
"""Files that are taken for films by their names."""

ANIMATIONS = frozenset((".gif", ".png", ".apng", ".webp"))
"""Files that are pictures by their names, and may be animations, which films are made of where asked for."""

HEAD = 400
"""Bytes that are enough."""

_BEGINNINGS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"OggS",
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\x00\x00\x01\xba",  # MPEG program stream, VOB
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x06\x0e\x2b\x34",  # MXF
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # how MP4 and QuickTime files begin
_PICTURES = (
    b"heic",
    b"heix",
    b"heim",
    b"heis",
    b"hevc",
    b"hevx",
    b"mif1",
    b"mif2",
    b"msf1",
    b"avif",
    b"avis",
)
"""Brands of `ftyp` that are pictures."""
_SYNC = 0x47  # begins each packet of an MPEG transport stream
_PACKETS = ((0, 188), (4, 192))  # where the first one begins, and the way to the next: .ts, .m2ts


def is_film(path: Path | str) -> bool:
    """Whether a file is taken for a film by its name."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def looks_like_film(head: bytes) -> bool:
    """Whether a file that begins so is a film; GIF, APNG and WebP are pictures, moving or not.

    Args:
        head: its first `HEAD` bytes, or all where it has fewer.
    """
    if head[4:8] in _BOXES:
        return head[8:12] not in _PICTURES
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    return head.startswith(_BEGINNINGS) or any(_is_stream(head[first::step]) for first, step in _PACKETS)


def _is_stream(marks: bytes) -> bool:
    return len(marks) >= 2 and set(marks) == {_SYNC}

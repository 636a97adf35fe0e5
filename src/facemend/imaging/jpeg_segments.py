"""The segments of a JPEG, walked as decoders do: what is before its end, and nothing that hangs behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator

SCAN, END = 0xDA, 0xD9

_NEXT = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""A marker with a body, or the end: in a scan too, whose data hold no such bytes."""


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The segments of the first picture in a JPEG file, up to its end marker.

    What is between two segments is passed over, as decoders do.

    Args:
        data: the content of the file.

    Yields:
        The marker's code, and where it begins (its 0xFF) and ends, a scan with all its data. A body begins 4
        bytes after the marker. The last one may end behind the data.
    """
    at = 2
    while (found := _NEXT.search(data, at)) and found.end() + 2 <= len(data):
        start, marker = found.start(), data[found.start() + 1]
        if marker == END:
            return
        at = start + 2 + max(2, int.from_bytes(data[start + 2 : start + 4], "big"))
        if marker == SCAN:
            found = _NEXT.search(data, at)
            at = len(data) if found is None else found.start()
        yield marker, start, at

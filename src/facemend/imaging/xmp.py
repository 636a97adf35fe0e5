"""XMP packets, read by an XML parser and changed in place: what is no longer true of the picture goes.

Only single attributes and elements are cut out or overwritten; the rest of a packet stays byte by byte. A
packet is not trusted: its size and depth are bounded, it may define no entities, and the work is linear in
its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.parsers import expat

MAX_BYTES = 1 << 20
_MAX_DEPTH = 64
_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_SIZES = {
    (_TIFF, "ImageWidth"),
    (_TIFF, "ImageLength"),
    (_EXIF, "PixelXDimension"),
    (_EXIF, "PixelYDimension"),
}
_REMOVED = {  # namespace -> what it describes, which lies beside the picture and is not written again
    "http://ns.adobe.com/hdr-gain-map/1.0/": "the gain map (HDR)",
    "http://ns.apple.com/HDRGainMap/1.0/": "the gain map (HDR)",
    "http://ns.google.com/photos/1.0/container/": "",
    "http://ns.google.com/photos/1.0/container/item/": "",
    "http://ns.google.com/photos/1.0/depthmap/": "the depth map",
    "http://ns.google.com/photos/1.0/image/": "the second picture in its XMP",
    "http://ns.google.com/photos/1.0/audio/": "the sound",
    "http://ns.adobe.com/xmp/note/": "the extended part of its XMP",
}
_MOTION = ("MotionPhoto", "MicroVideo")
_BLANK = b" \t\r\n"


@dataclass(frozen=True)
class Xmp:
    """A packet that says "upright" and nothing of what the written picture has not.

    Attributes:
        packet: UTF-8; None where there is none or nothing of it can be kept.
        orientation: EXIF orientation that it told, 1 to 8.
        notes: what else of the file it described, and whether it was left out itself.
    """

    packet: bytes | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()


def clean(packet: object) -> Xmp:
    """Clean a packet.

    Args:
        packet: as Pillow gives it: bytes, str, or None where there is none.
    """
    if isinstance(packet, str):
        packet = packet.encode()
    if not isinstance(packet, bytes) or not packet.strip(b"\0 \n"):
        return Xmp()
    packet = packet.rstrip(b"\0")
    if len(packet) > MAX_BYTES:
        return Xmp(notes=(f"its XMP of {len(packet) >> 10} kB is left out: more than {MAX_BYTES >> 10}",))
    editor = _Editor(packet)
    try:
        editor.run()
    except (expat.ExpatError, ValueError) as error:
        return Xmp(notes=(f"its XMP is damaged and left out ({error})",))
    return Xmp(
        editor.edited(), editor.orientation, tuple(f"{what} is left out" for what in sorted(editor.removed))
    )


@dataclass
class _Element:
    """An open element: where it begins, and what is to be done at its end."""

    start: int
    prefixes: dict[str, str]
    dropped: bool
    text_from: int | None = None  # of a tiff:Orientation


class _Editor:
    """Goes through a packet once and notes the changes."""

    def __init__(self, packet: bytes) -> None:
        self.packet, self.orientation = packet, 1
        self.removed: set[str] = set()
        self._cuts: list[tuple[int, int, bytes]] = []
        self._open: list[_Element] = []
        self._parser = expat.ParserCreate("UTF-8")
        self._parser.ordered_attributes = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._refuse

    def run(self) -> None:
        self._parser.Parse(self.packet, True)

    def edited(self) -> bytes:
        parts, at = [], 0
        for start, end, text in sorted(self._cuts):
            parts += [self.packet[at:start], text]
            at = end
        return b"".join([*parts, self.packet[at:]])

    def _refuse(self, *_: object) -> None:
        raise ValueError("it has a document type")

    def _start(self, name: str, attributes: list[str]) -> None:
        if len(self._open) >= _MAX_DEPTH:
            raise ValueError(f"nested more than {_MAX_DEPTH} deep")
        start = self._parser.CurrentByteIndex
        above = self._open[-1] if self._open else _Element(0, {}, False)
        named = dict(zip(attributes[::2], attributes[1::2], strict=True))
        own = {key[6:]: value for key, value in named.items() if key.startswith("xmlns:")}
        element = _Element(start, above.prefixes | own if own else above.prefixes, above.dropped)
        self._open.append(element)
        if above.dropped:
            return
        kind = _expanded(name, element.prefixes)
        element.dropped = self._goes(kind)
        if element.dropped:
            return
        end, places = _attributes(self.packet, start)
        for key, (blank, first, last) in places.items():
            which = _expanded(key.decode(), element.prefixes)
            if self._goes(which):
                self._cuts.append((blank, last + 1, b""))
            elif which == (_TIFF, "Orientation"):
                self._turn(first, last)
        if kind == (_TIFF, "Orientation"):
            element.text_from = end

    def _end(self, name: str) -> None:
        at = self._parser.CurrentByteIndex
        element = self._open.pop()
        if element.dropped and not (self._open and self._open[-1].dropped):
            end = _attributes(self.packet, element.start)[0]
            if self.packet[end - 2 : end] != b"/>":
                end = _attributes(self.packet, at)[0]
            self._cuts.append((element.start, end, b""))
        elif element.text_from is not None and at > element.text_from:
            self._turn(element.text_from, at)

    def _goes(self, kind: tuple[str, str]) -> bool:
        space, local = kind
        if kind in _SIZES:
            return True
        what = _REMOVED.get(space)
        if space == _CAMERA and local.startswith(_MOTION):
            what = "the motion film"
        if what:
            self.removed.add(what)
        return what is not None

    def _turn(self, first: int, last: int) -> None:
        told = self.packet[first:last].strip()
        if len(told) == 1 and told in b"12345678":
            self.orientation = int(told)
            self._cuts.append((first, last, b"1"))


def _expanded(name: str, prefixes: dict[str, str]) -> tuple[str, str]:
    """Namespace and local name."""
    prefix, _, local = name.rpartition(":")
    return prefixes.get(prefix, ""), local


def _attributes(data: bytes, at: int) -> tuple[int, dict[bytes, tuple[int, int, int]]]:
    """The end of the tag that begins there, and of each attribute the blank before it and its value's ends.

    The parser has found the tag well-formed.
    """
    places: dict[bytes, tuple[int, int, int]] = {}
    while data[at] not in b" \t\r\n>/" or data[at : at + 2] == b"</":
        at += 2 if data[at : at + 2] == b"</" else 1
    while True:
        blank = at
        while data[at] in _BLANK:
            at += 1
        if data[at : at + 1] == b">":
            return at + 1, places
        if data[at : at + 1] == b"/":
            at += 1
            continue
        equals = data.index(b"=", at)
        quote = equals + 1
        while data[quote] in _BLANK:
            quote += 1
        last = data.index(data[quote : quote + 1], quote + 1)
        places[data[at:equals].rstrip(_BLANK)] = (blank, quote + 1, last)
        at = last + 1

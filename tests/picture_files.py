"""Picture files of every kind, made and opened without facemend: by Pillow, pillow-heif, OpenCV, tifffile."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pillow_heif
import tifffile
from PIL import Image, ImageCms, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY_ICC = SRGB[:16] + b"GRAY" + SRGB[20:]
ORIENTATION, MAKE, EXIF_IFD, GPS_IFD = 0x0112, 271, 0x8769, 0x8825
TAKEN, COMMENT, WIDTH = 0x9003, 0x9286, 0xA002
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}" '
    'xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:PixelXDimension="24" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/></rdf:RDF></x:xmpmeta>'
)


def exif_block(orientation: int) -> bytes:
    """EXIF of a camera: maker, time, comment, place; orientation and pixel size, which must not survive."""
    exif = Image.Exif()
    exif[MAKE] = "camera"
    exif[ORIENTATION] = orientation
    exif.get_ifd(EXIF_IFD).update({TAKEN: "2001:02:03 04:05:06", COMMENT: b"ASCII\0\0\0hi", WIDTH: 24})
    exif.get_ifd(GPS_IFD).update({1: "N", 2: (52.0, 30.0, 15.5)})
    return exif.tobytes()


def xmp_packet(orientation: int) -> bytes:
    """XMP that rates the photo, and says its orientation and size."""
    return XMP.format(orientation=orientation).encode()


@dataclass(frozen=True)
class Metadata:
    """What a file carries beside its pixels."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None


def make_file(
    format: str, pixels: np.ndarray, metadata: Metadata = Metadata(), *, bits: int = 8, **options: Any
) -> bytes:
    """A file of that format.

    Args:
        format: name as in `facemend.imaging.formats`.
        pixels: (H, W, C), C = 1 gray, 2 gray + alpha, 3, 4; uint8, or uint16 with `bits` used.
        metadata: what it carries.
        bits: per channel; more than 8 for PNG, TIFF, HEIC, PGM.
        options: of the library that writes it.
    """
    if format == "heif":
        return _heif(pixels, metadata, bits, options)
    if bits > 8:
        return {"png": _deep_png, "tiff": _deep_tiff, "ppm": _deep_pgm}[format](pixels, metadata)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    given: dict[str, Any] = {"icc_profile": metadata.icc, "exif": metadata.exif, "xmp": metadata.xmp}
    if format == "png" and metadata.xmp:
        given["pnginfo"] = PngImagePlugin.PngInfo()
        given["pnginfo"].add_itxt("XML:com.adobe.xmp", metadata.xmp.decode())
    if format == "tiff" and metadata.xmp:
        return _plain_tiff(image, metadata)
    buffer = io.BytesIO()
    image.save(buffer, format, **{name: value for name, value in given.items() if value}, **options)
    return buffer.getvalue()


def _plain_tiff(image: Image.Image, metadata: Metadata) -> bytes:
    exif = Image.Exif()
    exif.load(metadata.exif or b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    exif.get_ifd(EXIF_IFD)
    exif[700] = metadata.xmp
    buffer = io.BytesIO()
    image.save(buffer, "tiff", exif=exif, icc_profile=metadata.icc)
    return buffer.getvalue()


def _heif(pixels: np.ndarray, metadata: Metadata, bits: int, options: dict[str, Any]) -> bytes:
    height, width, channels = pixels.shape
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels] + (f";{bits}" if bits > 8 else "")
    lossless = {"quality": -1, "subsampling": "4:4:4", "matrix_coefficients": 6 if channels == 1 else 0}
    nclx = {"color_primaries": 1, "transfer_characteristics": 13, "full_range_flag": 1}
    buffer = io.BytesIO()
    pillow_heif.encode(
        mode,
        (width, height),
        np.ascontiguousarray(pixels).tobytes(),
        buffer,
        bit_depth=bits,
        icc_profile=metadata.icc,
        exif=metadata.exif,
        xmp=metadata.xmp,
        **(lossless | nclx | options),
    )
    return buffer.getvalue()


def _bgr(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]])


def _deep_png(pixels: np.ndarray, metadata: Metadata) -> bytes:
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    png = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    if metadata.icc:
        png += png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(metadata.icc))
    if metadata.exif:
        png += png_chunk(b"eXIf", metadata.exif.removeprefix(b"Exif\0\0"))
    if metadata.xmp:
        png += png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp)
    return png + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG, with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _deep_tiff(pixels: np.ndarray, metadata: Metadata) -> bytes:
    tags: list[Any] = []
    if metadata.exif:
        exif = Image.Exif()
        exif.load(metadata.exif)
        tags += [(MAKE, 2, None, exif[MAKE], True), (ORIENTATION, 3, 1, exif[ORIENTATION], True)]
    if metadata.xmp:
        tags.append((700, 1, None, metadata.xmp, True))
    channels = pixels.shape[2]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels[..., 0] if channels == 1 else pixels,
        photometric="minisblack" if channels == 1 else "rgb",
        extrasamples=["unassalpha"] if channels == 4 else None,
        compression="deflate",
        iccprofile=metadata.icc,
        extratags=tags,
        metadata=None,
    )
    return buffer.getvalue()


def _deep_pgm(pixels: np.ndarray, metadata: Metadata) -> bytes:
    return cv2.imencode(".pgm", pixels)[1].tobytes()


@dataclass(frozen=True)
class Opened:
    """What another program sees in a file: (H, W, C) pixels as stored, bits, metadata."""

    pixels: np.ndarray
    bits: int
    icc: bytes | None
    exif: Image.Exif
    xmp: bytes | None


def open_file(data: bytes) -> Opened:
    """Open a file without facemend; an orientation tag is not applied."""
    if data[4:8] == b"ftyp" and b"avif" not in data[8:32]:
        heif = pillow_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        exif = Image.Exif()
        exif.load(heif.info["exif"] or b"")
        pixels = np.asarray(heif)
        info, bits = heif.info, heif.info["bit_depth"]
    else:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            bits = 16 if _is_deep(image, data) else 8
            pixels, info, exif = np.asarray(image), image.info, image.getexif()
        if bits == 16:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            pixels = _bgr(pixels.reshape(*pixels.shape[:2], -1))
    return Opened(pixels.reshape(*pixels.shape[:2], -1), bits, info.get("icc_profile"), exif, info.get("xmp"))


def _is_deep(image: Any, data: bytes) -> bool:
    if image.format == "TIFF":
        return 16 in np.atleast_1d(image.tag_v2[258])
    return image.format == "PNG" and data[24] == 16


SERIAL, OWNER, CAPTION = "SN-4711-0815", "Erika Beispiel", "at home, in May"
NORTH = 987_654_321
SECRETS = tuple(text.encode() for text in (SERIAL, OWNER, CAPTION)) + tuple(
    struct.pack(order, NORTH) for order in ("<I", ">I")
)


def file_with_secrets(format: str, pixels: np.ndarray) -> bytes:
    """A photo that lies on its side and tells of place, camera and names in all the ways of its format.

    Args:
        format: jpeg, png, webp, tiff or avif.
        pixels: (H, W, 3) uint8, as stored: upright they have the other orientation.
    """
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif.get_ifd(EXIF_IFD).update({0xA431: SERIAL, 0xA430: OWNER})
    exif.get_ifd(GPS_IFD).update({1: "N", 2: (IFDRational(NORTH, 18_000_000), 0.0, 0.0)})
    xmp = XMP.format(orientation=1).replace("xmp:Rating", f'xmp:Label="{SERIAL}" xmp:Rating').encode()
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x14\x1c\x02\x78\0\x0f" + CAPTION.encode()
    iptc = b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", OWNER)
    texts.add_text("Comment", CAPTION * 9, zip=True)
    if format == "tiff":
        exif.update({270: CAPTION, 700: xmp})
    options: dict[str, Any] = {
        "jpeg": {"xmp": xmp, "extra": iptc, "comment": CAPTION.encode(), "quality": 95},
        "png": {"pnginfo": texts},
        "webp": {"xmp": xmp, "lossless": True},
        "avif": {"xmp": xmp},
    }.get(format, {})
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    image.save(buffer, format, exif=exif, icc_profile=SRGB, dpi=(300, 300), **options)
    return buffer.getvalue()


def secrets_in(data: bytes) -> set[bytes]:
    """What a file tells of them."""
    return {secret for secret in SECRETS if secret in data}

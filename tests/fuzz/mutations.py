"""Broken files: small good pictures and films of every kind that is read, and ways to damage them. Seeded."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from facemend.imaging.metadata import iptc_segment
from film_files import make_film, panning
from picture_files import SRGB, Metadata, exif_block, make_file, xmp_packet

EVERYTHING = Metadata(SRGB, exif_block(6), xmp_packet(6))
CASES = Path(__file__).parents[1] / "data/cases"
FROM_USERS = ("ultrahdr.jpg", "noeoi.jpg", "gray16_trns.png")
"""Files of kinds that only cameras and other programs make: a gain map behind MPF, no end marker ..."""
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def _picture() -> np.ndarray:
    """(48, 40, 4) uint16: soft blobs and noise."""
    rng = np.random.default_rng(0)
    soft = cv2.resize(rng.random((6, 5, 4)), (40, 48), interpolation=cv2.INTER_CUBIC)
    values = np.clip(soft + rng.normal(0, 0.02, (48, 40, 4)), 0, 1)
    return np.rint(values * 65535).astype(np.uint16)


def _saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _tiff(values: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    options.setdefault("photometric", "rgb")
    tifffile.imwrite(buffer, values, metadata=None, **options)
    return buffer.getvalue()


def _tiff_with_thumbnail(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(rgb[::4, ::4], photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        file.write(rgb, photometric="rgb", metadata=None)
    return buffer.getvalue()


def _dng(rgb: np.ndarray, photometric: str) -> bytes:
    """A preview with the picture in a SubIFD, as in a DNG: developed, or a sensor's samples (refused)."""
    buffer = io.BytesIO()
    version = [(50706, "B", 4, bytes((1, 4, 0, 0)), True)]
    with tifffile.TiffWriter(buffer) as file:
        options = {"subfiletype": 1, "subifds": 2, "extratags": version, "metadata": None}
        file.write(rgb[::4, ::4], photometric="rgb", **options)
        file.write(rgb if photometric == "rgb" else rgb[..., 0], photometric=photometric, metadata=None)
        file.write(rgb[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    return buffer.getvalue()


def _texts() -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a face " * 30, zip=True)
    texts.add_text("Comment", " " * 3000 + "\n" * 1000 + "end")
    texts.add_itxt("Title", "Gr\u00f6\u00dfe", "de")
    texts.add_itxt("XML:com.adobe.xmp", xmp_packet(6).decode().replace(" ", " " * 2000, 2))
    return texts


def two_frames(rgb: np.ndarray) -> dict[str, object]:
    """Options of Pillow that add a second frame."""
    return {"save_all": True, "append_images": [Image.fromarray(rgb[::-1].copy())]}


def seeds() -> dict[str, bytes]:
    """Good files by name; the part before the first dash is the usual suffix."""
    deep = _picture()
    plain = (deep >> 8).astype(np.uint8)
    rgb, rgba, gray = plain[..., :3].copy(), plain, plain[..., :1].copy()
    image = Image.fromarray(rgb)
    files = {
        "png-rgb": make_file("png", rgb, EVERYTHING),
        "png-rgba": make_file("png", rgba),
        "png-palette": _saved(image.convert("P"), "png", transparency=3),
        "png-bits": _saved(image.convert("1"), "png"),
        "png-interlaced-16": make_file("png", deep, EVERYTHING, bits=16),
        "png-gray-alpha-16": make_file("png", deep[..., [0, 3]], bits=16),
        "png-animated": _saved(image, "png", **two_frames(rgb)),
        "jpg-rgb": make_file("jpeg", rgb, EVERYTHING),
        "jpg-progressive": make_file("jpeg", rgb, progressive=True),
        "jpg-gray": make_file("jpeg", gray),
        "jpg-cmyk": _saved(image.convert("CMYK"), "jpeg"),
        "mpo-two": _saved(image, "mpo", **two_frames(rgb)),
        "webp-lossy": make_file("webp", rgba, EVERYTHING),
        "webp-lossless": make_file("webp", rgb, lossless=True),
        "webp-animated": _saved(image, "webp", **two_frames(rgb)),
        "tif-metadata": make_file("tiff", rgb, EVERYTHING),
        "tif-16": make_file("tiff", deep, EVERYTHING, bits=16),
        "tif-pages": _saved(image, "tiff", **two_frames(rgb)),
        "bmp-rgb": make_file("bmp", rgb),
        "bmp-palette": _saved(image.convert("P"), "bmp"),
        "gif-animated": _saved(image.convert("P"), "gif", **two_frames(rgb)),
        "ppm-rgb": _saved(image, "ppm"),
        "pgm-16": make_file("ppm", deep[..., :1], bits=16),
        "jp2-rgb": _saved(image, "jpeg2000"),
        "avif-rgb": make_file("avif", rgb, EVERYTHING),
        "avif-10": bytes(cv2.imencode(".avif", deep[..., :3] >> 6, [cv2.IMWRITE_AVIF_DEPTH, 10])[1]),
        "heic-rgba": make_file("heif", rgba, EVERYTHING),
        "heic-10": make_file("heif", deep[..., :3] >> 6, bits=10),
    }
    files |= {
        "tif-planar-16": _tiff(deep[..., :3].transpose(2, 0, 1), planarconfig="separate"),
        "tif-tiles-alpha": _tiff(
            rgba, tile=(16, 16), extrasamples=["unassalpha"], compression="lzw", predictor=2
        ),
        "tif-white-big": _tiff(gray[..., 0], photometric="miniswhite", bigtiff=True),
        "tif-other-end": _tiff(deep[..., 0], photometric="miniswhite", byteorder=">"),
        "tif-thumbnail": _tiff_with_thumbnail(rgb),
        "tif-pages-16": _tiff(np.stack([deep[..., :3], deep[::-1, :, :3]])),
        "tif-planar-pages": _tiff(
            np.stack([rgb, rgb[::-1]]).transpose(0, 3, 1, 2), planarconfig="separate", compression="zlib"
        ),
        "tif-dng": _dng(rgb, "rgb"),
        "tif-dng-sensor": _dng(rgb, "cfa"),
        "jpg-iptc": _saved(image, "jpeg", extra=iptc_segment(b"\x1c\x02\x78\0\4here" * 40), dpi=(300, 300)),
        "jpg-blanks": make_file("jpeg", rgb, Metadata(xmp=xmp_packet(6).replace(b" ", b" " * 2000, 2))),
        "png-texts": _saved(image, "png", pnginfo=_texts(), dpi=(300, 300)),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"tif-{compression}"] = make_file("tiff", rgb, compression=compression)
    for path in map(CASES.joinpath, FROM_USERS):
        files[f"{path.suffix[1:]}-{path.stem}"] = path.read_bytes()
    return files


def film_seeds() -> dict[str, bytes]:
    """Good films and animations, named as `seeds` are: ten frames, some with sound."""
    rng = np.random.default_rng(0)
    frames = panning(rng, 10, 48, 64)
    usual = {"time_base": Fraction(1, 25), "options": {}}
    mpeg4 = {"codec": "mpeg4", **usual}
    kinds = {
        "mp4-h264": {},
        "mp4-mpeg4": {"audio": None, **mpeg4},
        "mov-h264": {"rotation": 90},
        "mkv-h265": {"codec": "libx265", "options": {"x265-params": "log-level=none"}, "subtitles": True},
        "mkv-ffv1": {"codec": "ffv1", "audio": None, **usual},
        "avi-mpeg4": {"audio": "mp3", **mpeg4},
        "webm-vp9": {"codec": "libvpx-vp9", "audio": "libopus", "options": {"cpu-used": "8"}},
        "ts-mpeg2": {"codec": "mpeg2video", "audio": "mp2", **usual},
        "gif-plain": {"codec": "gif", "pixel_format": "rgb8", "audio": None, **usual},
    }
    files = {}
    with TemporaryDirectory() as folder:
        for name, recipe in kinds.items():
            path = Path(folder) / f"film.{name.split('-')[0]}"
            files[name] = make_film(path, frames, **recipe).read_bytes()
    return files


def _flip_bits(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytearray:
    for _ in range(int(rng.integers(1, 12))):
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return data


def _set_bytes(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytearray:
    for _ in range(int(rng.integers(1, 6))):
        data[_place(data, rng)] = int(rng.integers(256))
    return data


def _extreme_number(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytearray:
    """A size or an offset that is far out: 1, 2 or 4 bytes, either order."""
    value = EXTREMES[int(rng.integers(len(EXTREMES)))]
    code = ("B", "H", "I")[int(rng.integers(3))]
    order = "<>"[int(rng.integers(2))]
    packed = struct.pack(f"{order}{code}", value & ((1 << 8 * struct.calcsize(code)) - 1))
    at = _place(data, rng)
    data[at : at + len(packed)] = packed
    return data


def _cut(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytearray:
    return data[: int(rng.integers(len(data)))]


def _remove(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytearray:
    at = _place(data, rng)
    del data[at : at + int(rng.integers(1, 64))]
    return data


def _repeat(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytearray:
    at, length = _place(data, rng), int(rng.integers(1, 256))
    data[at:at] = data[at : at + length] * int(rng.integers(1, 20))
    return data


def _foreign_header(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytearray:
    """The beginning of another file before the rest of this one."""
    other = others[int(rng.integers(len(others)))]
    length = int(rng.integers(4, min(len(other), 256)))
    return bytearray(other[:length]) + data[int(rng.integers(0, length)) :]


def _foreign_middle(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytearray:
    other = others[int(rng.integers(len(others)))]
    start = int(rng.integers(len(other)))
    piece = other[start : start + int(rng.integers(1, 512))]
    at = _place(data, rng)
    data[at : at + len(piece)] = piece
    return data


MUTATIONS: tuple[Callable[..., bytearray], ...] = (
    _flip_bits,
    _set_bytes,
    _extreme_number,
    _extreme_number,  # of the kinds the one that finds most
    _cut,
    _remove,
    _repeat,
    _foreign_header,
    _foreign_middle,
)


def _zeros(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytearray:
    at, length = _place(data, rng), int(rng.integers(1, 2000))
    data[at : at + length] = bytes(len(data[at : at + length]))
    return data


def _box_size(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytearray:
    """Another size before one of the four letters that boxes of MP4 and chunks of AVI have as names."""
    names = [match.start() for match in re.finditer(rb"[a-zA-Z0-9 ]{4}", bytes(data)) if match.start() > 3]
    at = names[int(rng.integers(len(names)))] if names else 4
    value = int(rng.choice([EXTREMES[int(rng.integers(len(EXTREMES)))], int(rng.integers(4096))]))
    data[at - 4 : at] = value.to_bytes(4, "big")
    return data


FILM_MUTATIONS = (*MUTATIONS, _zeros, _box_size, _box_size)


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """Somewhere; half of the time in the header, where the lengths are."""
    end = min(len(data), 200) if rng.random() < 0.5 else len(data)
    return int(rng.integers(max(1, end)))


def mutated(
    number: int, files: dict[str, bytes], mutations: Sequence[Callable[..., bytearray]] = MUTATIONS
) -> tuple[str, bytes]:
    """The broken file of that number: its name with the suffix of its kind, and its content.

    Args:
        number: 0, 1, ...; the same gives the same, and every kind of file has its turn.
        files: of `seeds` or `film_seeds`.
        mutations: what may happen to it.
    """
    rng = np.random.default_rng([2026, number])
    names = sorted(files)
    name = names[number % len(names)]
    others = [files[other] for other in names]
    data = bytearray(files[name])
    for _ in range(int(rng.integers(1, 3))):
        data = mutations[int(rng.integers(len(mutations)))](data, rng, others) or bytearray(b"\0")
    return f"{number:05d}-{name}.{name.split('-')[0]}", bytes(data)

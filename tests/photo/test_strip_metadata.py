"""`strip_metadata`: what a file says of place, camera and names is nowhere in what is written."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_restore import brighter

from facemend.imaging import Picture, encode_picture, read_picture
from facemend.imaging.extras import has_extras
from facemend.photo.restore import Restorer
from fake_parts import Network, make_face
from picture_files import EXIF_IFD, GPS_IFD, SRGB, file_with_secrets, secrets_in

PIXELS = np.random.default_rng(0).integers(90, 160, (200, 150, 3)).astype(np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("faces", [0, 1])
@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "avif"])
def test_nothing_of_it_is_in_the_file(format: str, faces: int, tmp_path: Path) -> None:
    source = tmp_path / f"in.{format}"
    source.write_bytes(file_with_secrets(format, PIXELS))
    found = [make_face(40, 30, 80)][:faces]
    written = {}
    for strip in (False, True):
        parts = Network(brighter).parts(found)
        result = Restorer(networks=parts, w=0, upscale=1, strip_metadata=strip).restore(source)
        again = Restorer(networks=parts, upscale=1, strip_metadata=strip).redo(result, 1)
        for name, each in (("first", result), ("redo", again)):
            path = each.save(tmp_path / f"{name}-{strip}.{format}")
            written[name, strip] = path.read_bytes()
            assert bool(secrets_in(written[name, strip])) != strip, name
            if not strip:
                continue
            with Image.open(path) as image:
                assert not {EXIF_IFD, GPS_IFD, 270, 700} & set(image.getexif())
                assert image.size == (200, 150)
                assert image.info["icc_profile"] == SRGB
                if format in ("jpeg", "png", "tiff"):
                    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    if format == "jpeg":
        assert read_picture(written["first", True]).coding == read_picture(source).coding


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_a_file_that_holds_none_is_copied(format: str, tmp_path: Path, portrait: Picture) -> None:
    """But not with anything more: a comment, what only some programs read, what hangs behind the picture."""
    buffer = io.BytesIO()
    options = {"quality": 60, "progressive": True} if format == "jpeg" else {}
    image = Image.fromarray(portrait.resized(0.5).pixels)
    image.save(buffer, format, icc_profile=SRGB, dpi=(300, 300), **options)
    plain = buffer.getvalue()
    part = {"jpeg": b"\xff\xfe\x00\x06SN-1", "png": chunk(b"prVt", b"SN-1")}
    at = {"jpeg": 2, "png": 33}[format]
    with_part = plain[:at] + part[format] + plain[at:]
    restorer = Restorer(networks=Network(brighter).parts([]), upscale=1, strip_metadata=True)
    for number, data in enumerate((plain, with_part, plain + b"SN-1")):
        assert has_extras(data) == (number > 0)
        source = tmp_path / f"{number}.{format}"
        source.write_bytes(data)
        made = restorer.restore(source).save(tmp_path / f"out{number}.{format}").read_bytes()
        assert (made == data) == (number == 0)
        assert b"SN-1" not in made
    for cut in range(0, len(plain), 97):
        assert has_extras(plain[:cut])


def test_of_other_files_it_is_never_said() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    for format in ("webp", "tiff", "avif", "bmp"):
        assert has_extras(encode_picture(Picture(pixels), format))
    picture = read_picture(encode_picture(Picture(pixels), "png"))
    assert picture.without_metadata() is picture

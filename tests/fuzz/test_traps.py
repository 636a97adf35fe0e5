"""Files made to do harm: bombs are refused undecoded, and of polyglots only the picture is kept."""

from __future__ import annotations

import io
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from mutations import seeds
from PIL import Image

from facemend.errors import InputError, TooLargeError
from facemend.folder.plan import plan_batch
from facemend.imaging import Outputs, encode_picture, read_header, read_picture
from facemend.photo.file import do_file
from picture_files import make_file, png_chunk

RGB = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
SIZE_LE, SIZE_BE = struct.pack("<II", 40, 48), struct.pack(">II", 40, 48)
HUGE = 100_000


def png_of(width: int, height: int, filling: int = 10_000) -> bytes:
    """A PNG whose header says that size, with some kilobytes of zeros behind."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000)) + bytes(filling)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(kind, content) for kind, content in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )


def with_size(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def bombs() -> dict[str, bytes]:
    """Small files of every kind that say that they are huge."""
    two = struct.pack(">HH", 65_000, 65_000)
    webp = make_file("webp", np.dstack([RGB, RGB[..., 0]]))  # with alpha: the size stands in its VP8X chunk
    heic = make_file("heif", np.zeros((64, 64, 3), np.uint8))
    tiff = make_file("tiff", RGB)
    for tag, length in ((256, 40), (257, 48)):
        entry = struct.pack("<HHI", tag, 4, 1)
        tiff = with_size(tiff, entry + struct.pack("<I", length), entry + struct.pack("<I", HUGE))
    return {
        "png": png_of(HUGE, HUGE),
        "jpg": with_size(make_file("jpeg", RGB), struct.pack(">HH", 48, 40), two),
        "gif": with_size(_gif(), struct.pack("<HH", 40, 48), struct.pack("<HH", 65_000, 65_000)),
        "bmp": with_size(make_file("bmp", RGB), SIZE_LE, struct.pack("<II", HUGE, HUGE)),
        "tif": tiff,
        "webp": with_size(webp, struct.pack("<I", 39)[:3] + struct.pack("<I", 47)[:3], b"\xff\x3f\0" * 2),
        "ppm": b"P6 100000 100000 255\n" + bytes(10_000),
        "jp2": with_size(seeds()["jp2-rgb"], struct.pack(">II", 48, 40), struct.pack(">II", HUGE, HUGE)),
        "avif": with_size(make_file("avif", RGB), SIZE_BE, struct.pack(">II", 16_000, 16_000)),
        "heic": with_size(heic, struct.pack(">II", 64, 64), struct.pack(">II", 16_000, 16_000)),
    }


def _gif() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert("P").save(buffer, "gif")
    return buffer.getvalue()


BOMBS = bombs()


@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_that_says_it_is_huge_is_not_decoded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_decoding(*_: object, **__: object) -> None:
        pytest.fail("decoded")  # not an Exception: reading cannot swallow it

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", no_decoding)
    monkeypatch.setattr("PIL.Image.Image.load", no_decoding)
    monkeypatch.setattr(pillow_heif.heif.BaseImage, "load", no_decoding)
    data = BOMBS[kind]
    assert len(data) < 15_000
    for read in (read_picture, read_header):
        start = time.perf_counter()
        with pytest.raises(InputError) as info:
            read(data, name=f"bomb.{kind}")
        assert time.perf_counter() - start < 5
        assert str(info.value).startswith(f"bomb.{kind}: ")
        assert "\n" not in str(info.value)
        # Two of them are seen through before their size is looked at: other sizes inside contradict it.
        assert isinstance(info.value, TooLargeError) or kind in ("avif", "jp2")


def test_a_jpeg_of_endless_scans_is_not_decoded() -> None:
    plain = make_file("jpeg", RGB, progressive=True)
    start, end = plain.rindex(b"\xff\xda"), plain.rindex(b"\xff\xd9")
    bomb = plain[:start] + plain[start:end] * 2000 + plain[end:]
    large = with_size(bomb, struct.pack(">HH", 48, 40), struct.pack(">HH", 10_000, 10_000))
    assert len(large) < 1_000_000
    began = time.thread_time()
    with pytest.raises(TooLargeError, match="scans"):
        read_picture(large)
    assert time.thread_time() - began < 1
    assert read_picture(plain, max_pixels=48 * 40).width == 40


def test_metadata_that_unpacks_to_gigabytes_is_refused() -> None:
    packed = zlib.compressobj(9)
    zeros = packed.compress(bytes(50_000_000)) + packed.flush()
    for kind, head in ((b"iCCP", b"x\0\0"), (b"zTXt", b"x\0\0"), (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0")):
        png = make_file("png", RGB)
        with pytest.raises(InputError, match="damaged or cut off"):
            read_picture(png[:33] + png_chunk(kind, head + zeros) + png[33:])


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
OTHERS = {
    "svg.svg": SVG,
    "svg.png": b'<?xml version="1.0"?>\n<!-- x -->' + SVG,
    "page.jpg": b"<!doctype html><script>alert(1)</script>",
    "print.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
    "paper.png": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n",
    "icon.png": b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0" + bytes(40),
    "program.gif": b"MZ" + bytes(200),
    "psd.png": b"8BPS\0\1" + bytes(40),
    "film.heic": b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(40),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_of_files_are_refused_by_their_content(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(OTHERS[name])
    with pytest.raises(InputError) as info:
        read_picture(tmp_path / name)
    assert name in str(info.value)
    assert ("SVG" in str(info.value)) == name.startswith("svg")


PAYLOAD = b"<script>alert('x')</script>"


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("evil.txt", PAYLOAD)
    return buffer.getvalue()


def polyglots() -> dict[str, bytes]:
    """Pictures that are something else too, outside the metadata that are kept."""
    jpeg, png = make_file("jpeg", RGB), make_file("png", RGB)
    comment = struct.pack(">H", len(PAYLOAD) + 2) + PAYLOAD
    return {
        "zip.jpg": jpeg + _zip(),
        "page.jpg": jpeg + PAYLOAD,
        "comment.jpg": jpeg[:2] + b"\xff\xfe" + comment + jpeg[2:],
        "film.jpg": jpeg + b"\0\0\0\x18ftypmp42" + PAYLOAD,
        "zip.png": png + _zip(),
        "page.png": png + PAYLOAD,
        "chunk.png": png[:33] + png_chunk(b"evIl", PAYLOAD) + png[33:],
        "page.webp": make_file("webp", RGB) + PAYLOAD,
        "page.bmp": make_file("bmp", RGB) + PAYLOAD,
        "page.tif": make_file("tiff", RGB) + PAYLOAD,
        "page.avif": make_file("avif", RGB) + struct.pack(">I4s", 8 + len(PAYLOAD), b"free") + PAYLOAD,
        "page.heic": make_file("heif", RGB) + struct.pack(">I4s", 8 + len(PAYLOAD), b"free") + PAYLOAD,
    }


@pytest.mark.parametrize("name", sorted(polyglots()))
def test_of_a_polyglot_only_the_picture_is_kept(name: str) -> None:
    data = polyglots()[name]
    assert PAYLOAD in data
    picture = read_picture(data)
    written = encode_picture(picture, picture.format)
    assert PAYLOAD not in written
    assert b"PK\x03\x04" not in written
    assert read_picture(written).pixels.shape == RGB.shape


def test_nothing_is_written_for_a_bomb(tmp_path: Path) -> None:
    source = tmp_path / "bomb.png"
    source.write_bytes(png_of(HUGE, HUGE))
    (job,) = plan_batch([source], tmp_path / "out").jobs
    outputs = Outputs([source], overwrite=False)
    outputs.claim(job.output)
    with pytest.raises(TooLargeError, match="over the limit of 178 megapixels"):
        do_file(lambda picture: pytest.fail("restored"), source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bomb.png"]

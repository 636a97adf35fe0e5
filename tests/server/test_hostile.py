"""Files that are not what they claim: refused, or harmless. Nothing of a refused one is left."""

import io
import random
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from server_helpers import post, restored, wait

from facemend.imaging import read_picture

PHOTO_SIGNS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF")
MUTANTS = 60


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def bomb(side: int) -> bytes:
    """A PNG of black pixels: 3 side^2 bytes in a thousandth of that."""
    return png_claiming(side, side, zlib.compress(bytes((3 * side + 1) * side), 9))


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


HTML = b"<!doctype html><script>alert(1)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
NO_PHOTOS = {
    "text": b"hello, I am a text file\n" * 50,
    "empty": b"",
    "html": HTML,
    "svg": SVG,
    "svg behind a declaration": b'<?xml version="1.0"?>' + SVG,
    "pdf": b"%PDF-1.7\n1 0 obj<<>>endobj\n",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "zip": zipped("a.txt", b"x"),
    "shell script": b"#!/bin/sh\nrm -rf /\n",
    "elf": b"\x7fELF" + bytes(200),
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    "sqlite": b"SQLite format 3\0" + bytes(200),
    "only the start of a jpeg": b"\xff\xd8\xff\xe0",
    "zeros": bytes(10_000),
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(100),
    "ico": b"\0\0\1\0\1\0" + bytes(100),
}


@pytest.fixture
def files(client):
    """The files of the server; a refused upload must leave them as they are."""
    root = client.app.state.services.settings.folder()
    return lambda: {path for path in root.rglob("*") if "jobs.sqlite3" not in path.name}


def test_what_is_no_photo_is_refused(client, files):
    before = files()
    for kind, content in NO_PHOTOS.items():
        answer = post(client, content, name="photo.jpg")
        assert answer.status_code == 415, kind
        assert answer.json()["detail"].startswith("photo.jpg: ")
        assert "\n" not in answer.json()["detail"]
    assert files() == before


@pytest.mark.parametrize(
    "name", ["../../x", "..\\..\\x.png", "/etc/passwd", "a/../../../b.png", "\0", "CON", "~"]
)
def test_names_that_are_paths_go_nowhere(client, files, blank, name):
    before = files()
    job = restored(client, blank, name=name)
    new = files() - before
    folder = client.app.state.services.settings.folder() / "jobs" / job["id"]
    assert new == {folder, folder / "input", folder / "kept.npz", folder / "result.png"}
    assert not set(job["name"]) & set("/\\\0")


@pytest.mark.parametrize("fields", [{f"x{n}": "1" for n in range(20)}, {"x": "x" * 5000}])
def test_fields_beside_the_file_are_few_and_short(client, blank, fields):
    """They are held in memory."""
    answer = client.post("/api/jobs", files={"photo": ("a.jpg", blank)}, data=fields)
    assert answer.status_code == 400
    assert "maximum" in answer.json()["detail"].lower()


def test_a_small_file_claiming_10_gigapixels_is_refused_unread(client, files):
    before = files()
    answer = post(client, png_claiming(100_000, 100_000, b"x" * 10_000))
    assert answer.status_code == 413
    assert "over the limit" in answer.json()["detail"]
    assert files() == before


def test_a_decompression_bomb_is_refused_unread(client, files, monkeypatch):
    before = files()
    data = bomb(12_000)  # 432 MB of pixels in half a megabyte
    assert len(data) < 1_000_000

    def never(*rest):
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", never)
    answer = post(client, data)
    assert answer.status_code == 413
    assert "12000x12000 = 144 megapixels is over the limit of 64" in answer.json()["detail"]
    assert files() == before


def test_a_bomb_in_the_text_of_a_png(client):
    chunk = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9))
    data = png_claiming(8, 8, zlib.compress(bytes(25 * 8), 9))
    at = data.index(b"IDAT") - 4
    tracemalloc.start()
    answer = post(client, data[:at] + chunk + data[at:])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 415
    assert most < 50_000_000


@pytest.mark.parametrize("kind", ["zip behind", "html behind", "html in a comment", "script in the name"])
def test_polyglots_come_back_as_the_picture_alone(client, jpeg, kind):
    name = "photo.jpg"
    data = jpeg
    if kind == "zip behind":
        data = jpeg + zipped("evil.html", HTML)
    elif kind == "html behind":
        data = jpeg + HTML
    elif kind == "html in a comment":
        data = jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(HTML) + 2) + HTML + jpeg[2:]
    else:
        name = "<script>alert(1)</script>.html"
    job = restored(client, data, name=name)
    for path in ("result", "result?w=0.1", "preview", "before", "faces/0/after"):
        answer = client.get(f"/api/jobs/{job['id']}/{path}")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] in ("image/jpeg", "image/webp", "image/png")
        assert answer.content.startswith(PHOTO_SIGNS)
        assert b"<script" not in answer.content
        assert not zipfile.is_zipfile(io.BytesIO(answer.content))
    assert client.get(f"/api/jobs/{job['id']}/result").headers["content-disposition"].startswith("attachment")


def test_a_gif_that_starts_as_a_script_is_only_a_picture(client, portrait):
    buffer = io.BytesIO()
    Image.fromarray(portrait.resized(0.2).pixels).save(buffer, "gif")
    job = restored(client, buffer.getvalue() + b"/*" + HTML + b"*/", name="a.js")
    answer = client.get(f"/api/jobs/{job['id']}/result")
    assert read_picture(answer.content).format == "png"
    assert answer.headers["content-disposition"] == 'attachment; filename="a_restored.png"'


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, a piece cut out, doubled or made of noise."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 12)):
        at = rng.randrange(min(len(changed), 600) if rng.random() < 0.6 else len(changed))
        length = rng.randint(1, 40)
        kind = rng.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at : at + length]
        elif kind == 2:
            changed[at:at] = changed[at : at + length]
        else:
            changed[at : at + length] = rng.randbytes(length)
        if len(changed) < 8:
            return bytes(changed)
    return bytes(changed)


def _fuzz(client, portrait, count: int, seed: int) -> dict[str, int]:
    small = np.ascontiguousarray(portrait.resized(0.25).pixels)
    originals = []
    for format in ("jpeg", "png", "webp", "tiff", "bmp", "gif", "ppm", "avif", "jpeg2000"):
        buffer = io.BytesIO()
        Image.fromarray(small).save(buffer, format)
        originals.append(buffer.getvalue())
    rng = random.Random(seed)
    seen = {"refused": 0, "done": 0, "failed": 0}
    for number in range(count):
        answer = post(client, mutated(originals[number % len(originals)], rng), name=f"m{number}")
        assert answer.status_code in (202, 413, 415), answer.text
        if answer.status_code != 202:
            assert "\n" not in answer.json()["detail"]
            seen["refused"] += 1
            continue
        job = wait(client, answer.json()["id"])
        seen[job["status"]] += 1
        if job["status"] == "failed":
            assert job["error"].startswith(f"m{number}: ")
            assert "unexpected" not in job["error"]
        else:
            read_picture(client.get(f"/api/jobs/{job['id']}/result").content)
        client.delete(f"/api/jobs/{job['id']}")
    return seen


def test_mutated_uploads_never_break_the_server(client, files, portrait):
    before = files()
    seen = _fuzz(client, portrait, MUTANTS, seed=1)
    assert seen["refused"] > 0  # the mutants reach both ends
    assert seen["done"] > 0
    assert files() == before
    health = client.get("/api/health").json()
    assert (health["status"], health["queued"], health["running"]) == ("ok", 0, 0)


@pytest.mark.long
def test_many_mutated_uploads_never_break_the_server(client, files, portrait):
    before = files()
    _fuzz(client, portrait, 1500, seed=2)
    assert files() == before

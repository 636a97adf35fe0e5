"""Films and pictures are told apart by their first bytes."""

import io

import av
import numpy as np
import pytest

from facemend.video.kinds import HEAD, looks_like_film
from picture_files import make_file

FILMS = [
    ("mp4", "mpeg4"),
    ("mov", "mpeg4"),
    ("3gp", "mpeg4"),
    ("matroska", "mpeg4"),
    ("webm", "libvpx"),
    ("avi", "mpeg4"),
    ("mpegts", "mpeg2video"),
    ("vob", "mpeg2video"),
    ("mpeg", "mpeg1video"),
    ("mpeg1video", "mpeg1video"),
    ("flv", "flv"),
    ("asf", "mpeg4"),
    ("mxf", "mpeg2video"),
    ("ogg", "libvpx"),
]


@pytest.mark.parametrize(("container", "codec"), FILMS)
def test_films(container, codec):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=25, width=176, height=144)
        stream.pix_fmt = "yuv420p"
        for _ in range(12):
            file.mux(stream.encode(av.VideoFrame(176, 144, "yuv420p")))
        file.mux(stream.encode(None))
    assert looks_like_film(buffer.getvalue()[:HEAD])


def test_blu_ray_packets_have_four_bytes_more():
    packets = b"".join(bytes(4) + b"\x47" + bytes(187) for _ in range(3))
    assert looks_like_film(packets[:HEAD])


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "avif", "heif", "tiff", "gif"])
def test_pictures(format):
    pixels = np.zeros((64, 64, 3), np.uint8)
    assert not looks_like_film(make_file(format, pixels)[:HEAD])


@pytest.mark.parametrize("head", [b"", b"G", b"<html>", b"#EXTM3U\n", bytes(HEAD)])
def test_other_files(head):
    assert not looks_like_film(head)

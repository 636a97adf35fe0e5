"""What a file says of its picture is what reading it gives, and nothing is decoded for it."""

import io

import numpy as np
import pytest
from PIL import Image

from facemend.errors import InputError, TooLargeError
from facemend.imaging import Header, read_header, read_picture

RGB = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")


def encoded(format: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_format_and_size_are_those_of_the_picture(format, tmp_path):
    data = encoded(format)
    picture = read_picture(data)
    assert read_header(data) == Header(picture.format, 11, 7)
    (tmp_path / "a").write_bytes(data)
    assert read_header(tmp_path / "a") == read_header(data)


def test_nothing_is_decoded(monkeypatch):
    data = encoded("PNG")

    def never(*rest):
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", never)
    assert read_header(data).width == 11


def test_a_picture_over_the_limit_is_told_apart():
    data = encoded("PNG")
    assert read_header(data, max_pixels=77) == Header("png", 11, 7)
    for read in (read_header, read_picture):
        with pytest.raises(TooLargeError, match=r"a\.png: 11x7 = 0 megapixels is over the limit"):
            read(data, max_pixels=76, name="a.png")


@pytest.mark.parametrize("data", [b"", b"text", b"<svg/>", b"\x89PNG\r\n\x1a\n", encoded("PNG")[:20]])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(InputError, match=r"^a: ") as info:
        read_header(data, name="a")
    assert not isinstance(info.value, TooLargeError)

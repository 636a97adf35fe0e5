"""Metadata of files that people have: what is kept, what goes, and what is said of it."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from facemend.imaging import Picture, encode_picture, read_picture
from facemend.imaging import xmp as xmp_module
from facemend.imaging.xmp import clean

CASES = Path(__file__).parents[1] / "data/cases"
NAMESPACES = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" '
    'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/"'
)


def packet(attributes: str = "", inside: str = "") -> bytes:
    start = f"<?xpacket begin='\ufeff'?><x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF {NAMESPACES}>"
    end = "</rdf:RDF></x:xmpmeta>\n<?xpacket end='w'?>"
    return f"{start}<rdf:Description rdf:about=''{attributes}>{inside}</rdf:Description>{end}".encode()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("format", ["jpeg", "tiff"])
def test_iptc_is_kept_byte_by_byte(format: str) -> None:
    source = (CASES / "iptc.jpg").read_bytes()
    block = opened(source).info["photoshop"][0x0404]
    again = opened(encode_picture(read_picture(source), format))
    kept = again.info["photoshop"][0x0404] if format == "jpeg" else again.tag_v2[33723]
    assert kept == block
    assert read_picture(encode_picture(read_picture(source), format)).iptc == block


def test_exif_of_a_bigtiff_is_kept() -> None:
    buffer = io.BytesIO()
    rgb = np.zeros((8, 8, 3), np.uint8)
    tifffile.imwrite(buffer, rgb, photometric="rgb", bigtiff=True, software="scanner", metadata=None)
    for format in ("tiff", "png"):
        again = opened(encode_picture(read_picture(buffer.getvalue()), format))
        assert again.getexif()[305] == "scanner"


def test_iptc_as_whole_numbers() -> None:
    """As early versions of one program wrote it, and others after it."""
    block = b"\x1c\x02\x78\x00\x04here\x00\x00\x00"
    values = np.frombuffer(block, "<u4").tolist()
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((8, 8), np.uint8), extratags=[(33723, 4, len(values), values)])
    assert read_picture(buffer.getvalue()).iptc == block


@pytest.mark.parametrize("bits", [8, 16])
def test_texts_of_a_png_are_kept(bits: int) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a face, 35 mm\nSteps: 20")
    texts.add_itxt("Title", "Größe \u2713", "de")
    texts.add_text("Comment", "long " * 500, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", packet().decode())
    texts.add_text("Raw profile type exif", "\nexif\n 1\n00")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "png", pnginfo=texts)
    picture = read_picture(buffer.getvalue())
    if bits == 16:
        picture = Picture(picture.pixels.astype(np.uint16) * 257, text=picture.text)
    kept = dict(opened(encode_picture(picture, "png")).text)
    kept.pop("XML:com.adobe.xmp", None)
    assert kept == {
        "parameters": "a face, 35 mm\nSteps: 20",
        "Title": "Größe \u2713",
        "Comment": "long " * 500,
    }


@pytest.mark.parametrize("format", ["jpeg", "png", "tiff", "bmp"])
def test_resolution_is_kept(format: str) -> None:
    picture = read_picture(CASES / "scan600.jpg")
    assert picture.dpi == (600, 600)
    assert opened(encode_picture(picture, format)).info["dpi"] == pytest.approx((600, 600), rel=1e-3)
    deep = Picture(picture.pixels.astype(np.uint16) * 257, dpi=picture.dpi)
    if format in ("png", "tiff"):
        assert opened(encode_picture(deep, format)).info["dpi"] == pytest.approx((600, 600), rel=1e-3)


def test_transparency_of_one_gray_value_with_16_bits() -> None:
    picture = read_picture(CASES / "gray16_trns.png")
    assert picture.gray
    assert picture.pixels.dtype == picture.alpha.dtype == np.uint16
    assert set(np.unique(picture.alpha)) == {0, 65535}
    np.testing.assert_array_equal(read_picture(encode_picture(picture, "png")).alpha, picture.alpha)


def test_a_gain_map_goes_with_what_tells_of_it() -> None:
    picture = read_picture(CASES / "ultrahdr.jpg")
    assert picture.notes == ("the gain map (HDR) is left out",)
    assert not any(word in picture.xmp for word in (b"hdrgm:Version", b"GainMap", b"Container:Directory"))
    assert b"<rdf:Description" in picture.xmp


def test_odd_pngs_are_told_of() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "png")
    plain = buffer.getvalue()

    def with_gamma(value: int) -> bytes:
        import struct
        import zlib

        body = b"gAMA" + struct.pack(">I", value)
        return plain[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + plain[33:]

    assert read_picture(with_gamma(45455)).notes == ()
    assert "gAMA" in read_picture(with_gamma(100000)).notes[0]
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    for alone, note in ((True, "only its still picture is used"), (False, "only the first is used")):
        buffer = io.BytesIO()
        frames[0].save(buffer, "png", save_all=True, append_images=frames[1:], default_image=alone)
        assert note in read_picture(buffer.getvalue()).notes[0]


@pytest.mark.parametrize(
    ("attributes", "inside", "expected", "notes"),
    [
        (' tiff:Orientation="6" dc:x="a"', "", packet(' tiff:Orientation="1" dc:x="a"'), ()),
        (
            "",
            "<tiff:Orientation>8</tiff:Orientation>",
            packet("", "<tiff:Orientation>1</tiff:Orientation>"),
            (),
        ),
        (
            " tiff:ImageWidth='3' dc:x='>'",
            "<exif:PixelXDimension>9</exif:PixelXDimension>",
            packet(" dc:x='>'"),
            (),
        ),
        (
            ' GCamera:MotionPhoto="1" GCamera:x="1"',
            "",
            packet(' GCamera:x="1"'),
            ("the motion film is left out",),
        ),
        (
            ' g:Version="1"',
            "<Container:Directory><rdf:li><Item:x tiff:Orientation='3'/></rdf:li></Container:Directory>t",
            packet("", "t"),
            ("the gain map (HDR) is left out",),
        ),
        ("", "<Container:Directory/>", packet(), ()),
    ],
)
def test_what_is_no_longer_true_goes_from_xmp(
    attributes: str, inside: str, expected: bytes, notes: tuple[str, ...]
) -> None:
    cleaned = clean(packet(attributes, inside))
    assert cleaned.packet == expected
    assert cleaned.notes == notes
    assert cleaned.orientation == (6 if "6" in attributes else 8 if ">8<" in inside else 1)


@pytest.mark.parametrize(
    "bad",
    [
        packet()[:-60],
        b"no xml",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<a>" * 100 + b"</a>" * 100,
        b"<a>" + b"x" * xmp_module.MAX_BYTES + b"</a>",
        "<a>ä</a>".encode("utf-16"),
    ],
    ids=["cut off", "text", "entity", "deep", "large", "utf-16"],
)
def test_xmp_that_cannot_be_kept_is_told_of(bad: bytes) -> None:
    found = clean(bad)
    assert found.packet is None
    assert len(found.notes) == 1
    assert "left out" in found.notes[0]


@pytest.mark.parametrize(
    "grown",
    [
        lambda n: packet("", " " * n),
        lambda n: packet(" " * n + 'dc:x="1"' + " " * n),
        lambda n: packet("", "<dc:x>" * 40 + " tiff:ImageWidth" * (n // 16) + "</dc:x>" * 40),
        lambda n: packet(' dc:x="' + "tiff:Orientation=" * (n // 17) + '"'),
        lambda n: b" " * n + packet(),
        lambda n: packet("", "<dc:x/>" * (n // 7)),
        lambda n: packet("".join(f' dc:a{i}="{i}"' for i in range(n // 16))),
    ],
)
def test_time_grows_with_the_length_of_xmp(grown) -> None:
    """Eight times as much takes 8 times as long, 64 if it were squared; the rest is noise."""

    def fastest(size: int) -> float:
        data, times = grown(size), []
        for _ in range(3):
            start = time.thread_time()
            clean(data)
            times.append(time.thread_time() - start)
        return min(times)

    assert fastest(65_536) < 30 * max(fastest(8_192), 1e-4)


def test_what_a_tiff_says_of_itself_is_in_the_next():
    said = {269: "Album", 285: "Page 3", 316: "scanner", 18246: 4, 0x9C9B: "Title".encode("utf-16le")}
    exif = Image.Exif()
    for tag, value in said.items():
        exif[tag] = value
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10)).save(buffer, "tiff", exif=exif)
    with Image.open(io.BytesIO(encode_picture(read_picture(buffer.getvalue()), "tiff"))) as image:
        found = image.getexif()
        assert {tag: found.get(tag) for tag in said} == said

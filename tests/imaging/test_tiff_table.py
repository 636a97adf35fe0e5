"""TIFF files of every arrangement of samples, read as tifffile reads them."""

import io
import itertools

import numpy as np
import pytest
import tifffile
from PIL import Image

from facemend.errors import InputError
from facemend.imaging import read_header, read_picture

RNG = np.random.default_rng(7)
HEIGHT, WIDTH = 37, 53
KINDS = {  # samples a pixel, photometric, extra samples
    "gray": (1, "minisblack", ()),
    "white": (1, "miniswhite", ()),
    "gray+alpha": (2, "minisblack", ("unassalpha",)),
    "gray+extra": (2, "minisblack", ("unspecified",)),
    "rgb": (3, "rgb", ()),
    "rgba": (4, "rgb", ("unassalpha",)),
    "rgb+extra": (4, "rgb", ("unspecified",)),
    "rgb+extra+alpha": (5, "rgb", ("unspecified", "unassalpha")),
}
CODINGS = [
    (None, False),
    ("lzw", False),
    ("lzw", True),
    ("adobe_deflate", True),
    ("deflate", False),
    ("packbits", False),
]
BLOCKS = {"strip": {"rowsperstrip": HEIGHT}, "strips": {"rowsperstrip": 8}, "tiles": {"tile": (16, 32)}}


def content(
    values: np.ndarray, kind: str, planar: str, coding: tuple[str | None, bool], order: str, **blocks
) -> bytes:
    _, photometric, extra = KINDS[kind]
    values = np.moveaxis(values, 2, 0) if planar == "separate" else values
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        values[..., 0] if values.shape[-1] == 1 else values,
        photometric=photometric,
        planarconfig=planar if values.shape[-1] > 1 else None,
        extrasamples=extra or None,
        compression=coding[0],
        predictor=coding[1] or None,
        byteorder=order,
        metadata=None,
        **blocks,
    )
    return buffer.getvalue()


def smooth(samples: int, bits: int) -> np.ndarray:
    """Noise over a slope, so that a predictor and PackBits have something to do."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    base = (x * 3 + y * 5)[..., None] + RNG.integers(0, 9, (HEIGHT, WIDTH, samples)) + np.arange(samples) * 40
    return (base * (1 if bits == 8 else 157)).astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "planar"),
    [
        (kind, planar) for kind in KINDS for planar in ("contig", "separate")[: KINDS[kind][0]]
    ],  # one plane is one
)
@pytest.mark.parametrize("bits", [8, 16])
def test_as_tifffile(bits: int, kind: str, planar: str, order: str) -> None:
    samples, photometric, extra = KINDS[kind]
    for coding, blocks in itertools.product(CODINGS, BLOCKS.values()):
        values = smooth(samples, bits)
        data = content(values, kind, planar, coding, order, **blocks)
        known = tifffile.imread(io.BytesIO(data)).reshape(-1)
        laid = values.transpose(2, 0, 1) if planar == "separate" else values
        np.testing.assert_array_equal(known, laid.reshape(-1))  # the file is what it is meant to be
        picture = read_picture(data)
        colour = values[..., :3] if photometric == "rgb" else values[..., :1].repeat(3, 2)
        np.testing.assert_array_equal(picture.pixels, ~colour if photometric == "miniswhite" else colour)
        assert picture.gray is (photometric != "rgb")
        if "unassalpha" in extra:
            np.testing.assert_array_equal(picture.alpha, values[..., -1])
        else:
            assert picture.alpha is None
        assert bool(picture.notes) is ("unspecified" in extra)
        assert (read_header(data).width, read_header(data).height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("bits", [8, 16])
def test_premultiplied_alpha(bits: int) -> None:
    values = smooth(4, bits)
    full = 2**bits - 1
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(buffer.getvalue())
    alpha = values[..., 3:].astype(float)
    expected = np.minimum(values[..., :3] / np.maximum(alpha, 1) * full, full)
    np.testing.assert_allclose(picture.pixels, expected, atol=0.5)
    np.testing.assert_array_equal(picture.alpha, values[..., 3])


@pytest.mark.parametrize("what", ["signed", "float", "32 bits", "ycbcr", "nine samples"])
def test_what_nothing_reads_is_refused(what: str) -> None:
    kinds = {"signed": np.int16, "float": np.float32, "32 bits": np.uint32}
    values = smooth(9 if what == "nine samples" else 3, 16).astype(kinds.get(what, np.uint16))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="ycbcr" if what == "ycbcr" else "rgb", planarconfig="contig")
    for read in (read_picture, read_header):
        with pytest.raises(InputError, match=r"not supported: save it") as caught:
            read(buffer.getvalue(), name="x.tif")
        assert "\n" not in str(caught.value)


def page(buffer: tifffile.TiffWriter, side: int, value: int, **options) -> None:
    buffer.write(np.full((side, side, 3), value, np.uint8), photometric="rgb", metadata=None, **options)


@pytest.mark.parametrize("big", [False, True])
def test_reduced_copies_are_not_the_picture(big: bool) -> None:
    """As a page before it, as the page above it (DNG), or behind it."""
    buffers = [io.BytesIO() for _ in range(3)]
    with tifffile.TiffWriter(buffers[0], bigtiff=big) as file:
        page(file, 16, 10, subfiletype=1)
        page(file, 64, 20)
    with tifffile.TiffWriter(buffers[1], bigtiff=big) as file:
        page(file, 16, 10, subfiletype=1, subifds=1)
        page(file, 64, 20)
    with tifffile.TiffWriter(buffers[2], bigtiff=big) as file:
        page(file, 64, 20, subifds=1)
        page(file, 32, 10, subfiletype=1)
    for buffer in buffers:
        if big and buffer is buffers[1]:
            with pytest.raises(InputError, match="BigTIFF"):
                read_picture(buffer.getvalue())
            continue
        picture = read_picture(buffer.getvalue())
        assert (picture.width, picture.pixels.min(), picture.pixels.max()) == (64, 20, 20)
        assert picture.notes == ()


def test_a_lonely_reduced_copy_is_taken_with_a_note() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        page(file, 16, 10, subfiletype=1)
    assert read_picture(buffer.getvalue()).notes == (
        "says of itself that it is a reduced copy, and holds nothing larger",
    )


def test_a_raw_file_is_refused() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        page(file, 16, 10, subfiletype=1, subifds=1)
        file.write(np.zeros((64, 64), np.uint16), photometric="cfa", metadata=None)
    with pytest.raises(InputError, match=r"x\.dng: a camera's raw file"):
        read_picture(buffer.getvalue(), name="x.dng")


def test_a_bigtiff_that_pillow_cannot_read_is_refused_as_such() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=True, byteorder=">") as file:
        page(file, 16, 10)
    for read in (read_picture, read_header):
        with pytest.raises(InputError, match="a big-endian BigTIFF is not supported: save it as an ordinary"):
            read(buffer.getvalue())


@pytest.mark.parametrize("loops", [False, True])
def test_directories_that_lie(loops: bool) -> None:
    """An endless chain of pages, and strips that are not there."""
    data = bytearray(content(smooth(3, 16), "rgb", "contig", (None, 0), "<", rowsperstrip=8))
    if loops:
        at = int.from_bytes(data[4:8], "little")
        count = int.from_bytes(data[at : at + 2], "little")
        end = at + 2 + 12 * count
        data[end : end + 4] = data[4:8]
        assert read_picture(bytes(data)).width == WIDTH
        return
    with pytest.raises(InputError, match="damaged"):
        read_picture(bytes(data[: len(data) // 2]))


def test_further_pages_are_told_of_once() -> None:
    """Of pictures that Pillow reads, too."""
    pages = [Image.new("P", (8, 8), colour) for colour in (1, 2)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "tiff", save_all=True, append_images=pages[1:])
    assert read_picture(buffer.getvalue()).notes == ("has several frames or pages: only the first is used",)

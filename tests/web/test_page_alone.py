"""The page without a server: what a person does on it, with the network cut too, and what can go wrong."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from web_helpers import PATIENCE

from facemend.photo.options import DEFAULT_MODEL
from facemend.server.app import STATIC
from facemend.weights.models import find_model

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1500)]
EXAMPLE = STATIC / "example.jpg"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION, ARTIST = 0x0112, 0x013B


def wait(page, script):
    """Until that is true; the page's policy forbids Playwright's own way, which evaluates text there."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(script):
        assert time.monotonic() < end, script
        page.wait_for_timeout(100)


def put(page, content, name="photo.jpg", kind="image/jpeg"):
    page.set_input_files("#file", [{"name": name, "mimeType": kind, "buffer": content}])


def lying_photo() -> bytes:
    """The example on its side, which its EXIF and XMP say, with a profile, and a place for a thumbnail."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = 6, "Ada"
    block = exif.tobytes()
    order, at = second_directory(block)
    block = block[:at] + struct.pack(f"{order}I", len(block) - 6) + block[at + 4 :] + bytes(6)
    buffer = io.BytesIO()
    xmp = b'<rdf:Description tiff:Orientation="6" GCamera:MotionPhoto="1"/>'
    how = {"exif": block, "icc_profile": PROFILE, "xmp": xmp}
    Image.open(EXAMPLE).rotate(90).save(buffer, "jpeg", quality=95, **how)
    return buffer.getvalue()


def second_directory(exif: bytes) -> tuple[str, int]:
    """The order of the bytes of a block of EXIF, and where it says where the thumbnail's directory is."""
    order = "<" if exif[6:8] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", exif, 10)
    (count,) = struct.unpack_from(f"{order}H", exif, 6 + start)
    return order, 6 + start + 2 + 12 * count


def restored(page, content=None):
    put(page, content or EXAMPLE.read_bytes())
    page.wait_for_selector("#frame.comparing")


def shown(page):
    return page.eval_on_selector("#after", "canvas => canvas.toDataURL()")


def test_restores_keeps_what_the_file_said_and_works_without_a_network(open_page, host):
    page = open_page(host.address)
    assert page.evaluate("crossOriginIsolated")  # by the service worker: threads
    restored(page, lying_photo())
    assert page.inner_text("#privacy") == "Photos never leave this page."
    assert page.inner_text("#facts-title") == "1 face restored"
    with page.expect_download() as download:
        page.click("#download")
    side = 4 * find_model(DEFAULT_MODEL).image_size  # the face is written nearly as large as drawn
    with Image.open(download.value.path()) as result:
        assert download.value.suggested_filename == "photo_restored.jpg"
        assert (result.format, result.size) == ("JPEG", (side, side))
        assert result.info["icc_profile"] == PROFILE
        assert (result.getexif()[ARTIST], result.getexif()[ORIENTATION]) == ("Ada", 1)
        _, at = second_directory(result.info["exif"])
        assert result.info["exif"][at : at + 4] == bytes(4)  # no thumbnail of the photo as it was
        assert b'tiff:Orientation="1" GCamera:MotionPhoto="0"' in result.info["xmp"]
        small = np.asarray(result.convert("RGB").resize((64, 64)), np.int16)
    upright = np.asarray(Image.open(EXAMPLE).convert("RGB").resize((64, 64)), np.int16)
    assert np.abs(small - upright).mean() < 12

    before = shown(page)
    page.evaluate("() => { w.value = 0; w.dispatchEvent(new Event('input')); }")
    wait(page, f"document.getElementById('after').toDataURL() !== {before!r}")

    host.close()
    page.context.set_offline(True)
    asked = len(host.server.asked)
    page.reload()
    page.wait_for_selector("#options:not([hidden])")
    restored(page)
    assert len(host.server.asked) == asked


def test_asks_for_nothing_beyond_the_site(open_page, host):
    page = open_page(host.address)
    ask = "fetch('http://localhost:9/').then(() => 'sent', () => 'refused')"
    told = (
        "new Promise((done) => addEventListener('securitypolicyviolation', (v) => done(v.violatedDirective)))"
    )
    assert page.evaluate(f"Promise.all([{told}, {ask}])") == ["connect-src", "refused"]
    headers = page.evaluate(
        "fetch('facemend-web/worker.js').then((it) => it.headers.get('Content-Security-Policy'))"
    )
    assert "connect-src 'self';" in headers  # a worker has the policy of its own answer
    page.problems.clear()


def huge_picture() -> bytes:
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def plain_picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (200, 160), (90, 120, 60)).save(buffer, "png")
    return buffer.getvalue()


def test_troubles_are_told(open_page, host):
    page = open_page(host.address)
    for content, where, words in (
        (b"no picture", "#problem-title", "This is not a photo we can read"),
        (huge_picture(), "#problem-title", "This photo is too large"),
        (plain_picture(), "#facts-title", "No face found"),
    ):
        put(page, content, "photo.png", "image/png")
        wait(page, f"document.querySelector({where!r}).textContent === {words!r}")
        assert page.is_visible(where)


def test_a_load_that_breaks_off_is_told_and_tried_again(open_page, host):
    host.server.broken = "encode.packed"
    page = open_page(host.address)
    put(page, EXAMPLE.read_bytes())
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem-title") == "The networks did not come through"
    assert "encode.packed broke off" in page.inner_text("#problem-detail")
    page.problems.clear()
    host.server.broken = ""
    page.click("#again")
    page.wait_for_selector("#frame.comparing")


def test_what_a_host_gave_in_the_place_of_a_network_is_asked_for_again(open_page, host):
    host.server.wrong = "decode.packed"
    page = open_page(host.address)
    restored(page)
    assert host.server.wrong == ""
    assert page.inner_text("#facts-title") == "1 face restored"

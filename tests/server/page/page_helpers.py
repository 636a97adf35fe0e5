"""What a person does on the page, and sees."""

import base64
import io
import time

import numpy as np
from PIL import Image
from server_helpers import ROOT

from facemend.photo.options import DEFAULT_MODEL
from facemend.server.app import STATIC
from facemend.weights.models import find_model

EXAMPLE = STATIC / "example.jpg"  # public domain
PORTRAIT = ROOT / "tests/data/portrait.jpg"
# How many times as large PORTRAIT becomes; EXAMPLE twice that.
LARGER = find_model(DEFAULT_MODEL).image_size // 256
PATIENCE = 60_000  # ms; the machine may have much to do
TIMES = "\N{MULTIPLICATION SIGN}"
PIXELS = "canvas => canvas.toDataURL()"


def open_at_once(page, part):
    """How many requests with that part in their address are open, noted from now on as each begins."""
    now, noted = 0, []

    def begin(request):
        nonlocal now
        if part in request.url:
            now += 1
            noted.append(now)

    def end(request):
        nonlocal now
        now -= part in request.url

    page.on("request", begin)
    page.on("requestfinished", end)
    page.on("requestfailed", end)
    return noted


def wait(page, script, argument=None):
    """Until that is true; the page's policy forbids Playwright's own way, which evaluates text there."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(script, argument):
        assert time.monotonic() < end, script
        page.wait_for_timeout(40)


def put(page, *files):
    page.set_input_files("#file", list(files))


def wait_done(page, n=1):
    wait(page, f"document.querySelectorAll('.thumb[data-state=done]').length === {n}")
    page.wait_for_selector("#frame.comparing")


def restored(page, file=EXAMPLE):
    """A finished photo on the page; its job's id."""
    with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
        put(page, file)
    wait_done(page)
    return posted.value.json()["id"]


def two_people() -> bytes:
    both = Image.new("RGB", (922, 512))
    both.paste(Image.open(EXAMPLE), (0, 0))
    both.paste(Image.open(PORTRAIT).resize((410, 512)), (512, 0))
    buffer = io.BytesIO()
    both.save(buffer, "jpeg")
    return buffer.getvalue()


def photo(content: bytes, name: str, kind: str = "image/jpeg") -> dict:
    return {"name": name, "mimeType": kind, "buffer": content}


def position(page):
    return float(page.get_attribute("#slider", "aria-valuenow"))


def settle(page):
    """Until the divider has come to rest after the first look."""
    wait(page, "document.getElementById('slider').getAttribute('aria-valuenow') === '50'")


def pixels_of(page, canvas):
    url = page.eval_on_selector(canvas, PIXELS)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))

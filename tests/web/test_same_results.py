"""The page's pipeline against Python's, whole and in parts."""

import base64
import io
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from web_helpers import Host

import facemend
from facemend.faces.mask import head_mask
from facemend.faces.warp import warp
from facemend.imaging import gaussian_blur, read_picture, resize
from facemend.photo.auto import choose, in_words
from facemend.photo.options import LIKENESS
from facemend.server.app import STATIC
from facemend.types import Diagnosis

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PORTRAIT, EXAMPLE = ROOT / "tests/data/portrait.jpg", STATIC / "example.jpg"
TO_TEXT = """
const toText = (bytes) => {
  let text = "";
  const some = (at) => String.fromCharCode(...bytes.subarray(at, at + 8192));
  for (let at = 0; at < bytes.length; at += 8192) text += some(at);
  return btoa(text);
};
const toBytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
"""


@pytest.fixture(scope="module")
def page(browser, site):
    """A page of the site that runs what a test gives it, in modules of the package."""
    host = Host(site)
    context = browser.new_context(service_workers="block")
    context.set_default_timeout(240_000)
    page = context.new_page()
    page.goto(
        f"{host.address}facemend-web/package.json"
    )  # of the same origin, and without the page's own work
    yield page
    context.close()
    host.close()


def both_people():
    pair = Image.new("RGB", (922, 512))
    pair.paste(Image.open(EXAMPLE), (0, 0))
    pair.paste(Image.open(PORTRAIT).resize((410, 512)), (512, 0))
    return pair


PHOTOS = {
    "large face": lambda: Image.open(PORTRAIT),
    "two people": both_people,
    "turned": lambda: Image.open(EXAMPLE).rotate(30, expand=True, resample=Image.Resampling.BICUBIC),
    "small and gray": lambda: ImageOps.grayscale(Image.open(PORTRAIT)).resize((200, 250)),
    "on its side": lambda: Image.open(EXAMPLE).transpose(Image.Transpose.ROTATE_90),
}


@pytest.fixture(scope="module")
def restorer():
    return facemend.Restorer(threads=1)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", PHOTOS)
def test_photos_come_out_the_same(page, restorer, name):
    buffer = io.BytesIO()
    PHOTOS[name]().save(buffer, "png")
    told = page.evaluate(
        """async (text) => {"""
        + TO_TEXT
        + """
          const { Restorer } = await import("/facemend-web/index.js");
          window.restorer ??= await Restorer.load();
          const result = await window.restorer.restore(new Blob([toBytes(text)]));
          const file = await result.file();
          const { faces, matrices, factor } = result;
          return { faces, matrices, factor, file: toText(new Uint8Array(await file.arrayBuffer())) };
        }""",
        base64.b64encode(buffer.getvalue()).decode(),
    )
    wanted = restorer.restore(buffer.getvalue())
    assert told["factor"] == wanted.factor
    assert len(told["matrices"]) == len(wanted.faces) >= 1
    for matrix, face in zip(told["matrices"], wanted.faces, strict=True):
        box = face.face.box
        corners = np.array([(box.x2, box.y2, 1), (box.x1, box.y1, 1)])
        moved = corners @ (np.reshape(matrix, (2, 3)) - face.matrix).T
        assert np.abs(moved).max() < 0.5
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(told["file"]))).convert("RGB"), np.float64)
    picture = wanted.picture.pixels.astype(np.float64)
    before = wanted.prepared.picture.resized(wanted.factor).pixels
    changed = (picture != before).any(-1)
    assert found.shape == picture.shape
    assert 10 * np.log10(255**2 / np.square(found - picture)[changed].mean()) > 40
    assert (
        np.abs(found - picture)[~changed].max() <= 4
    )  # at the mask's edge; by the rounding of what is enlarged


def values(rng, *shape):
    return rng.random(shape, dtype=np.float32)


def in_page(page, module, call, *arrays):
    """What an expression of a module gives: `m` is the module, `a` the pictures; as an array."""
    given = [[*array.shape, base64.b64encode(np.ascontiguousarray(array)).decode()] for array in arrays]
    height, width, text = page.evaluate(
        "async ([module, call, given]) => {"
        + TO_TEXT
        + """
          const m = await import(`/facemend-web/${module}`);
          const a = given.map((one) => ({
            height: one[0], width: one[1], channels: one.length > 3 ? one[2] : 1,
            data: new Float32Array(toBytes(one.at(-1)).buffer) }));
          const made = new Function("m", "a", `return ${call}`)(m, a);
          return [made.height, made.width, toText(new Uint8Array(made.data.buffer))];
        }""",
        [module, call, given],
    )
    return np.frombuffer(base64.b64decode(text), np.float32).reshape(height, width, -1).squeeze()


def test_w_auto_chooses_the_same(page):
    rng = np.random.default_rng(1)
    rows = rng.uniform(0, 1, (200, Diagnosis.COUNT)).astype(np.float32) * 0.4 + 0.3
    rows[:, :4] = rng.uniform((4, 0, 0, 20), (256, 8, 20, 100), (200, 4))
    rows[:50, 9] = rows[:50, 4:9].min(1) + rng.uniform(0, 0.1, 50)  # about where faces are left or blended
    found = page.evaluate(
        """async (rows) => {
          const { choose, diagnosisOf, inWords } = await import("/facemend-web/photo/auto.js");
          const all = rows.map((row) => diagnosisOf(row, 200));
          return all.map((said) => [choose(said, 256), inWords(said, 256)]);
        }""",
        rows.tolist(),
    )
    wanted = []
    for row in rows:
        said = Diagnosis.from_row(row)
        said = replace(said, resolution=min(said.resolution, 200))
        wanted.append([asdict(choose(said, LIKENESS, 256)), in_words(said, 256)])
    assert found == wanted
    assert len({choice["strength"] for choice, _ in wanted}) > 5


@pytest.mark.parametrize("size", [(7, 9), (31, 40), (40, 53), (64, 20), (90, 110), (128, 128)])
def test_resizing(page, size):
    image = values(np.random.default_rng(0), 53, 40, 3)
    for kind in ("linear", "cubic", "lanczos"):
        found = in_page(page, "imaging/resize.js", f"m.resize(a[0], {size[0]}, {size[1]}, '{kind}')", image)
        wanted = resize(image, size, {"linear": "area", "cubic": "bicubic"}.get(kind, kind))
        np.testing.assert_allclose(found, wanted, atol=2e-4)
    found = in_page(page, "imaging/resize.js", f"m.area(a[0], {size[0]}, {size[1]})", image)
    np.testing.assert_allclose(found, cv2.resize(image, size, interpolation=cv2.INTER_AREA), atol=2e-5)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 5.9, 10.24, 30.0])
def test_blur(page, sigma):
    image = values(np.random.default_rng(1), 61, 90, 3)
    found = in_page(page, "imaging/blur.js", f"m.gaussianBlur(a[0], {sigma})", image)
    np.testing.assert_allclose(found, gaussian_blur(image, sigma), atol=2e-5)


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.3])
@pytest.mark.parametrize(
    ("border", "kind"),
    [("reflect", "cubic"), ("replicate", "lanczos"), ("zero", "linear"), ("replicate", "linear")],
)
def test_warp(page, border, kind, scale):
    image = gaussian_blur(values(np.random.default_rng(2), 50, 64, 3), 1.0)
    matrix = scale * np.array([[0.9, -0.3, 7.25], [0.3, 0.9, -4.5]])
    width, height = round(70 * scale), round(48 * scale)
    options = f"{{ border: '{border}', kind: '{kind}' }}"
    found = in_page(
        page, "faces/warp.js", f"m.warp(a[0], {matrix.ravel().tolist()}, {width}, {height}, {options})", image
    )
    wanted = warp(image, matrix, (width, height), border=border, interpolation=kind)
    # OpenCV's own kernels count places in 1/32 pixels; a place may fall to either side.
    assert np.abs(found - wanted).mean() < 1e-3
    assert np.quantile(np.abs(found - wanted), 0.99) < 0.02


def test_head_mask(page):
    side = 128
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    points = np.stack([64 + 24 * np.cos(turn), 70 + 33 * np.sin(turn)], 1).astype(np.float32)
    y, x = np.mgrid[:side, :side]
    person = (np.hypot((x - 64) / 36, (y - 66) / 52) < 1).astype(np.float32)
    person[:, 100:103] = 1  # a spur
    found = in_page(page, "faces/mask.js", f"m.headMask(a[0], {points.tolist()})", person)
    assert np.abs(found - head_mask(person, points)).max() < 0.05


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_what_a_file_says(page, kind, mode):
    """A profile of the photo's numbers stays with them; what is written is RGB, so one of gray cannot."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), (90, 90, 90)).convert(mode).save(buffer, kind, icc_profile=profile)
    told = page.evaluate(
        "async (text) => {"
        + TO_TEXT
        + """
          const { readPhoto, writePhoto } = await import("/facemend-web/imaging/reading.js");
          const photo = await readPhoto(new Blob([toBytes(text)]), 1e8);
          const file = await writePhoto(photo.pixels, photo, true);
          return [photo.gray, photo.type, toText(new Uint8Array(await file.arrayBuffer()))];
        }""",
        base64.b64encode(buffer.getvalue()).decode(),
    )
    assert told[:2] == [mode == "L", f"image/{kind}"]
    with Image.open(io.BytesIO(base64.b64decode(told[2]))) as result:
        assert result.format == kind.upper()
        assert (result.info.get("icc_profile") == profile) is (mode == "RGB")
        assert np.abs(np.asarray(result.convert("L"), np.int16) - 90).max() <= 1


def test_a_kind_that_the_browser_cannot_write_becomes_png(page):
    told = page.evaluate(
        """async () => {
          const { writePhoto } = await import("/facemend-web/imaging/reading.js");
          const usual = OffscreenCanvas.prototype.convertToBlob;
          OffscreenCanvas.prototype.convertToBlob = function () {
            return usual.call(this, { type: "image/png" });
          };
          try {
            const pixels = { width: 1, height: 1, data: new Uint8ClampedArray(3) };
            const file = await writePhoto(pixels, { type: "image/webp", alpha: null, parts: [] }, true);
            return [file.type, new Uint8Array(await file.arrayBuffer())[0]];
          } finally {
            OffscreenCanvas.prototype.convertToBlob = usual;
          }
        }"""
    )
    assert told == ["image/png", 0x89]


def test_pictures_of_the_house_are_read_the_same(page):
    """The decoder of the browser and ours agree on a JPEG to a step or two."""
    found = in_page_file(page, PORTRAIT.read_bytes())
    assert np.abs(found - read_picture(PORTRAIT).pixels.astype(np.int16)).mean() < 0.5


def in_page_file(page, data):
    height, width, text = page.evaluate(
        "async (text) => {"
        + TO_TEXT
        + """
          const { readPhoto } = await import("/facemend-web/imaging/reading.js");
          const { pixels } = await readPhoto(new Blob([toBytes(text)]), 1e8);
          return [pixels.height, pixels.width, toText(new Uint8Array(pixels.data.buffer))];
        }""",
        base64.b64encode(data).decode(),
    )
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 3).astype(np.int16)

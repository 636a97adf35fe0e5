"""Every route and every way in which it can fail, in one process."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from server_helpers import age, post, restored, until, wait

import facemend
from facemend.imaging import Picture, clean, encode_picture, gaussian_blur, read_picture
from facemend.photo.options import DEFAULT_MODEL
from facemend.predictors.upscaler import BackgroundUpscaler
from facemend.server.app import create_app
from facemend.server.restorer import JobRestorer
from facemend.weights.models import find_model
from fake_runner import FakeRunner
from picture_files import file_with_secrets, make_file, secrets_in


def pixels(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("image/")
    return read_picture(answer.content).pixels.astype(int)


@pytest.fixture
def own(settings) -> Iterator[TestClient]:
    """A server for one test."""
    with TestClient(create_app(settings)) as client:
        yield client


def folder(client) -> Path:
    """Where the server has its jobs."""
    return client.app.state.services.settings.folder() / "jobs"


@pytest.fixture(scope="module")
def job(client, jpeg) -> dict:
    """A photo that is done at w = 0.5."""
    return restored(client, jpeg)


# --- asking and waiting ---


def test_what_this_server_cannot_read_is_not_offered_and_refused_with_the_reason(client, monkeypatch):
    formats = set(client.get("/api/info").json()["formats"])
    assert formats >= {".heic", ".avif"}
    heic = make_file("heif", np.zeros((64, 64, 3), np.uint8))
    avif = make_file("avif", np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr("facemend.errors.find_spec", lambda name: None)
    monkeypatch.setattr("facemend.imaging.reading.features.check", lambda name: name != "avif")
    assert formats - set(client.get("/api/info").json()["formats"]) == {".heic", ".heif", ".hif", ".avif"}
    answer = client.post("/api/jobs", files={"photo": ("a.heic", heic)})
    assert answer.status_code == 415
    assert answer.json()["detail"].startswith("not installed on this server: a.heic: reading HEIC needs")
    known = "bmp, gif, jpeg, jpeg2000, mpo, png, ppm, tiff, webp"
    monkeypatch.setattr("PIL.AvifImagePlugin.SUPPORTED", False)
    answer = client.post("/api/jobs", files={"photo": ("a.avif", avif)})
    assert answer.json()["detail"] == f"a.avif: not a picture that can be read (known: {known})"


def test_info_says_what_the_page_needs(client):
    settings = client.app.state.services.settings
    said = client.get("/api/info").json()
    assert said["version"] == facemend.__version__
    assert {".jpg", ".png", ".webp"} <= set(said["formats"])
    assert (said["max_bytes"], said["max_pixels"]) == (settings.max_mb * 1_000_000, settings.max_pixels)
    assert said["keep_seconds"] == 3600
    assert {m["name"]: m["default"] for m in said["models"]} == {DEFAULT_MODEL: True, "tiny": False}
    assert said["models"][0] == {
        "name": DEFAULT_MODEL,
        "default": True,
        "size": find_model(DEFAULT_MODEL).image_size,
        "licence": "Apache-2.0",
        "task": "restoration",
    }
    assert said["upscales"] == ["auto", 1, 2, 4]
    assert "lanczos" in said["backgrounds"]
    assert said["token"] is False


def test_head_is_answered_as_get(client, job):
    for path in ("/", "/api/health", "/api/info", f"/api/jobs/{job['id']}/result"):
        get, head = client.get(path), client.head(path)
        assert head.status_code == get.status_code == 200
        assert head.headers["content-type"] == get.headers["content-type"]
    assert client.head("/api/login").status_code == 405


@pytest.mark.parametrize(
    ("fields", "query", "told"),
    [
        ({"strenght": "0"}, "", "'strenght': no such field; there are: aligned, background, boxes, grain"),
        ({"w": ["0.1", "0.9"]}, "", "w: is given twice"),
        ({}, "?w=0.1", "options are fields of the form, not of the address"),
        ({"boxes": "1,2,3"}, "", "boxes: must be x1,y1,x2,y2;... in pixels"),
        ({"photo": "a.jpg"}, "", "photo: must be a file; with curl: -F photo=@NAME"),
    ],
)
def test_what_would_change_nothing_is_refused(client, jpeg, fields, query, told):
    files = {} if "photo" in fields else {"photo": ("a.jpg", jpeg)}
    answer = client.post(f"/api/jobs{query}", files=files, data=fields)
    assert (answer.status_code, told in answer.json()["detail"]) == (422, True), answer.text


def test_boxes_may_have_blanks(client, jpeg):
    data = {"boxes": "10, 20, 90, 100; 5,5,60,60"}
    answer = client.post("/api/jobs", files={"photo": ("a.jpg", jpeg)}, data=data)
    assert answer.status_code == 202, answer.text
    said = answer.json()
    assert said["boxes"] == [[10, 20, 90, 100], [5, 5, 60, 60]]
    assert (said["aligned"], said["faces_a_frame"]) == (False, None)


def test_numbers_of_faces_may_have_blanks(client, job):
    told = client.get(f"/api/jobs/{job['id']}/preview", params={"faces": "0, 0"})
    assert told.status_code == 200, told.text


@pytest.mark.parametrize("sent", [{}, {"content": "token=x"}, {"json": "x"}, {"data": {"token": "x"}}])
def test_a_login_without_json_is_told_in_one_line(client, sent):
    answer = client.post("/api/login", **sent)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith('the body must be JSON, {"token": "..."}')


def test_a_photo_is_queued_and_restored(client, jpeg):
    answer = post(client, jpeg, name="old.jpg", w=0.25, upscale=2)
    assert answer.status_code == 202
    queued = answer.json()
    assert answer.headers["location"] == f"/api/jobs/{queued['id']}"
    assert (queued["input_width"], queued["input_height"]) == (320, 400)
    assert (queued["width"], queued["error"], queued["faces"]) == (None, None, [])
    assert queued["expires"] == pytest.approx(queued["created"] + 3600)
    done = wait(client, queued["id"])
    assert done["status"] == "done"
    assert (done["progress"], done["position"], done["part"]) == (1, None, None)
    assert (done["name"], done["w"], done["upscale"], done["model"]) == ("old.jpg", 0.25, 2, "tiny")
    assert (done["width"], done["height"], done["format"]) == (640, 800, "jpeg")
    (face,) = done["faces"]
    x0, y0, x1, y1 = face["box"]
    assert 0 < x0 < x1 < 320
    assert 0 < y0 < y1 < 400
    assert (face["index"], face["restored"], face["reason"]) == (0, True, None)
    assert done["seconds"]["encode"] > 0
    assert done["expires"] > queued["expires"]


def test_faces_left_as_they_are_are_told_with_the_reason(client, portrait):
    canvas = np.full((420, 420, 3), 100, np.uint8)
    canvas[:400, :320] = portrait.pixels
    tiny = portrait.resized(0.11).pixels
    canvas[300 : 300 + len(tiny), 340 : 340 + tiny.shape[1]] = tiny
    done = restored(client, encode_picture(Picture(canvas), "png"))
    left = [face for face in done["faces"] if not face["restored"]]
    assert [face["index"] for face in done["faces"]] == list(range(len(done["faces"])))
    assert left
    assert "below the smallest size" in left[0]["reason"]


def test_positions_in_the_queue(own, blank, monkeypatch):
    client, services = own, own.app.state.services
    monkeypatch.setattr(services.jobs, "claim", lambda worker: None)
    ids = [post(client, blank).json()["id"] for _ in range(3)]
    assert [client.get(f"/api/jobs/{id}").json()["position"] for id in ids] == [0, 1, 2]
    health = client.get("/api/health").json()
    assert (health["queued"], health["running"]) == (3, 0)
    for path in ("result", "preview", "before", "faces/0/before", "faces/0/after"):
        answer = client.get(f"/api/jobs/{ids[0]}/{path}")
        assert (answer.status_code, answer.json()["detail"]) == (409, "not done yet")
        assert answer.headers["retry-after"] == "1"


def test_a_photo_without_faces_is_done_with_a_note(client, blank):
    done = restored(client, blank)
    assert done["faces"] == []
    assert "no face found" in done["notes"][0]


def test_a_damaged_photo_fails_in_one_line(client, jpeg):
    job = wait(client, post(client, jpeg[: len(jpeg) // 2], name="cut.jpg").json()["id"])
    assert job["status"] == "failed"
    assert job["error"].startswith("cut.jpg: damaged or cut off")
    answer = client.get(f"/api/jobs/{job['id']}/result")
    assert (answer.status_code, answer.json()["detail"]) == (409, job["error"])


def fine(face):
    """The contrast of what is small beside a face: what is broad stays the photo's."""
    return (face - gaussian_blur(face.astype(np.float32), 0.04 * len(face))).std()


def test_an_aligned_crop_is_one_face(client, portrait):
    crop = encode_picture(Picture(np.ascontiguousarray(portrait.pixels[40:240, 60:260])), "png")
    done = restored(client, crop, aligned=True, upscale=2)
    assert len(done["faces"]) == 1
    before, after = (pixels(client.get(f"/api/jobs/{done['id']}/result?w={w}")) for w in (1, 0))
    assert fine(after) < 0.96 * fine(before)  # the tiny network lowers it at w = 0


# --- results ---


def test_the_result_is_what_the_library_gives(client, job, jpeg):
    answer = client.get(f"/api/jobs/{job['id']}/result")
    assert answer.headers["content-disposition"] == 'attachment; filename="photo_restored.jpg"'
    assert answer.headers["content-type"] == "image/jpeg"
    wanted = facemend.restore(jpeg, model="tiny", w=0.5, threads=1)
    np.testing.assert_array_equal(pixels(answer), read_picture(wanted).pixels)


@pytest.mark.parametrize("upscale", [1, 2])
def test_another_w_is_what_the_library_gives(client, portrait, upscale):
    png = encode_picture(portrait, "png")
    job = restored(client, png, name="할머니.png", upscale=upscale)
    answer = client.get(f"/api/jobs/{job['id']}/result?w=0.1")
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''%ED%95%A0")
    wanted = facemend.restore(portrait, model="tiny", w=0.1, upscale=upscale, threads=1)
    np.testing.assert_array_equal(pixels(answer), wanted.pixels)


@pytest.mark.parametrize("strip", [True, False])
def test_metadata_can_be_left_out(client, portrait, strip):
    """Also of what is made later, with another w or other faces."""
    lying = np.ascontiguousarray(np.rot90(portrait.pixels))
    job = restored(client, file_with_secrets("jpeg", lying), strip_metadata=strip)
    assert job["strip_metadata"] == strip
    paths = [f"result{query}" for query in ("", "?w=0.1", "?faces=", "?strength=0")]
    for path in paths:
        data = client.get(f"/api/jobs/{job['id']}/{path}").content
        assert read_picture(data).width == portrait.width
        assert bool(secrets_in(data)) != strip, path
    for path in ("preview", "before", "faces/0/before", "faces/0/after"):  # never hold any
        assert not secrets_in(client.get(f"/api/jobs/{job['id']}/{path}").content)


def test_a_face_by_hand_is_restored_where_none_is_found(client, blank):
    job = restored(client, blank, boxes="3,4,20.5,25")
    (face,) = job["faces"]
    assert (face["box"], face["restored"]) == ([3, 4, 20.5, 25], True)
    assert client.get(f"/api/jobs/{job['id']}/faces/0/after", params={"w": 0.2}).status_code == 200
    assert restored(client, blank)["faces"] == []


def test_auto_and_strength(client, portrait):
    small = portrait.resized(0.35)
    job = restored(client, encode_picture(small, "png"), model=DEFAULT_MODEL, strength=0.5)
    assert (job["upscale"], job["factor"], job["strength"]) == ("auto", 4, 0.5)

    def result(query=""):
        return pixels(client.get(f"/api/jobs/{job['id']}/result{query}"))

    wanted = {
        strength: facemend.restore(small, model=DEFAULT_MODEL, strength=strength, threads=1).pixels
        for strength in (0.5, 1)
    }
    assert wanted[1].shape[:2] == (4 * small.height, 4 * small.width) == (job["height"], job["width"])
    np.testing.assert_array_equal(result(), wanted[0.5])
    np.testing.assert_array_equal(result("?strength=1"), wanted[1])
    np.testing.assert_array_equal(result("?strength=0"), small.resized(4).pixels)
    looks = [client.get(f"/api/jobs/{job['id']}/preview?strength={strength}").content for strength in (0, 1)]
    assert looks[0] != looks[1]


def test_faces_can_be_chosen(client, portrait):
    two = Picture(np.concatenate([portrait.pixels, portrait.pixels], axis=1))
    job = restored(client, encode_picture(two, "png"), w=0)
    assert [face["restored"] for face in job["faces"]] == [True, True]

    def changed(faces: str) -> tuple[bool, bool]:
        got = pixels(client.get(f"/api/jobs/{job['id']}/result", params={"faces": faces}))
        differs = (got != two.pixels).any(axis=(0, 2))
        return bool(differs[:320].any()), bool(differs[320:].any())

    assert changed("0,1") == (True, True)
    stored, made = (pixels(client.get(f"/api/jobs/{job['id']}/result{q}")) for q in ("", "?faces=0,1"))
    np.testing.assert_array_equal(stored, made)
    assert changed("0") == (True, False)
    assert changed("1") == (False, True)
    assert changed("1,1") == (False, True)
    assert changed("") == (False, False)


@pytest.mark.parametrize("format", ["png", "webp", "tiff", "bmp", "jpeg", "gif"])
def test_a_result_has_the_format_of_the_photo(client, portrait, format):
    buffer = io.BytesIO()
    Image.fromarray(portrait.pixels).save(buffer, format)
    job = restored(client, buffer.getvalue(), name="a.png")  # which does not decide it
    answer = client.get(f"/api/jobs/{job['id']}/result")
    wanted = "png" if format == "gif" else format
    suffix = {"jpeg": "jpg", "tiff": "tif"}.get(wanted, wanted)
    assert answer.headers["content-disposition"] == f'attachment; filename="a_restored.{suffix}"'
    assert read_picture(answer.content).format == wanted
    assert answer.headers["content-type"] == f"image/{wanted}"
    assert read_picture(client.get(f"/api/jobs/{job['id']}/result?w=1").content).format == wanted


def test_a_background_drawn_by_a_network_is_drawn_once(settings, portrait, monkeypatch):
    runs = []

    def draw(inputs):
        runs.append(inputs["image"].shape)
        return {"upscaled": inputs["image"].repeat(4, 2).repeat(4, 3) * 0.5 + 0.5}

    upscaler = BackgroundUpscaler(FakeRunner(draw, ["image"], ["upscaled"]))
    monkeypatch.setattr("facemend.server.app.known_backgrounds", lambda: ("lanczos", "realesrgan"))
    monkeypatch.setattr("facemend.server.restorer.BackgroundUpscaler.open", lambda **rest: upscaler)
    with TestClient(create_app(settings)) as client:
        assert client.get("/api/info").json()["backgrounds"] == ["lanczos", "realesrgan"]
        png = encode_picture(portrait, "png")
        job = restored(client, png, upscale=2, background="realesrgan")
        assert (job["width"], job["height"]) == (640, 800)
        drawn = len(runs)
        first = pixels(client.get(f"/api/jobs/{job['id']}/result?faces="))
        assert abs(first.mean() - (portrait.pixels.mean() / 2 + 127.5)) < 2
        here = pixels(client.get(f"/api/jobs/{job['id']}/result?w=0.3"))
        # As in another process.
        client.app.state.services.worker.ask(lambda restorer: restorer._looks.clear()).result(10)
        there = pixels(client.get(f"/api/jobs/{job['id']}/result?w=0.3"))
        assert np.abs(here - there).max() <= 1
        assert len(runs) == drawn
        plain = restored(client, png, upscale=1, background="realesrgan")
        assert any("does nothing" in note for note in plain["notes"])


def test_a_cleaned_background_and_kept_grain_stay_in_looks(client, portrait, rng):
    noisy = (portrait.pixels + rng.normal(0, 10, (*portrait.pixels.shape[:2], 1))).clip(0, 255)
    picture = Picture(noisy.astype(np.uint8))
    png = encode_picture(picture, "png")
    job = restored(client, png, upscale=1, background="clean")
    around = pixels(client.get(f"/api/jobs/{job['id']}/result?faces="))
    np.testing.assert_array_equal(around, clean(picture).pixels)
    before = pixels(client.get(f"/api/jobs/{job['id']}/before?side=400"))
    assert np.abs(before - picture.pixels).mean() < np.abs(around - picture.pixels).mean()
    kept, plain = (restored(client, png, upscale=1, grain=grain) for grain in ("keep", "none"))
    first, look = (pixels(client.get(f"/api/jobs/{kept['id']}/result{query}")) for query in ("", "?w=0.5001"))
    assert np.abs(first - look).mean() < 0.1
    assert (first != pixels(client.get(f"/api/jobs/{plain['id']}/result"))).any()


# --- looks ---


def test_previews_change_with_w_and_are_small(client, job):
    path = f"/api/jobs/{job['id']}/preview"
    timing = client.get(path, params={"w": 0.3}).headers["server-timing"]
    parts = {name: float(value) for name, value in (part.split(";dur=") for part in timing.split(", "))}
    assert {"decode", "paste", "total"} <= set(parts)
    assert "encode" not in parts  # only the light half runs
    assert parts["total"] >= parts["decode"]
    zero, one = (pixels(client.get(path, params={"w": w, "side": 200})) for w in (0, 1))
    assert zero.shape == one.shape == (200, 160, 3)
    assert np.abs(zero - one).max() > 20
    assert pixels(client.get(path)).shape == (400, 320, 3)


def test_a_preview_shows_the_result(client, job):
    result = pixels(client.get(f"/api/jobs/{job['id']}/result?w=0.2"))
    look = pixels(client.get(f"/api/jobs/{job['id']}/preview?w=0.2"))
    before = pixels(client.get(f"/api/jobs/{job['id']}/before"))
    assert np.abs(result - look).mean() < 3
    x0, y0, x1, y1 = map(int, job["faces"][0]["box"])
    face = np.s_[y0:y1, x0:x1]
    assert np.abs(look[face] - before[face]).mean() > 3 * np.abs(result[face] - look[face]).mean()


def test_before_has_the_size_of_the_preview(client, jpeg, portrait):
    job = restored(client, jpeg, upscale=2)
    before = pixels(client.get(f"/api/jobs/{job['id']}/before?side=4000"))
    assert before.shape == (800, 640, 3)
    assert pixels(client.get(f"/api/jobs/{job['id']}/preview?side=4000")).shape == before.shape
    assert pixels(client.get(f"/api/jobs/{job['id']}/before?side=100")).shape == (100, 80, 3)
    small = Picture(before.astype(np.uint8)).resized(0.5).pixels.astype(int)
    assert np.abs(small - portrait.pixels).mean() < 4


def test_before_of_a_crop_that_is_smaller_than_the_model(client, portrait):
    square = Picture(np.ascontiguousarray(portrait.pixels[40:240, 60:260])).resized(0.1)
    job = restored(client, encode_picture(square, "png"), aligned=True)
    shapes = {
        pixels(client.get(f"/api/jobs/{job['id']}/{what}?side=4000")).shape for what in ("before", "preview")
    }
    assert shapes == {(job["height"], job["width"], 3)}
    assert job["width"] > 20


def test_crops_before_and_after(client, job):
    path = f"/api/jobs/{job['id']}/faces/0"
    before, after = pixels(client.get(f"{path}/before")), pixels(client.get(f"{path}/after?w=0"))
    assert before.shape == after.shape == (64, 64, 3)
    assert fine(after) < 0.7 * fine(before)
    assert np.abs(pixels(client.get(f"{path}/after?w=1")) - before).mean() < 6
    assert client.get(f"{path}/before").headers["content-type"] == "image/png"


def test_pictures_with_alpha_and_16_bits(client, portrait):
    deep = Picture((portrait.pixels.astype(np.uint16) * 257), np.full((400, 320), 30000, np.uint16))
    job = restored(client, encode_picture(deep, "png"))
    result = read_picture(client.get(f"/api/jobs/{job['id']}/result?w=0").content)
    assert result.pixels.dtype == np.uint16
    assert (result.alpha == 30000).all()
    look = Image.open(io.BytesIO(client.get(f"/api/jobs/{job['id']}/preview").content))
    assert look.mode == "RGBA"


# --- what cannot be had ---


def test_w_auto(client, jpeg):
    """The tiny model says nothing of damage: its default, and a note."""
    done = restored(client, jpeg, w="auto")
    assert done["w"] == "auto"
    assert any(note.startswith("w auto: this model says nothing") for note in done["notes"])
    assert (done["faces"][0]["looks"], done["faces"][0]["auto"]) == (None, None)
    auto, half = (pixels(client.get(f"/api/jobs/{done['id']}/result?w={w}")) for w in ("auto", 0.5))
    assert np.array_equal(auto, half)
    shipped = restored(client, jpeg, w="auto", model=DEFAULT_MODEL)
    face = shipped["faces"][0]
    assert "px of real detail" in face["looks"] or "sharp" in face["looks"]
    assert 0 <= face["auto"]["w"] <= 1
    assert bool(face["auto"]["left"]) == (face["auto"]["strength"] == 0)
    refused = post(client, jpeg, w="7")
    assert refused.status_code == 422
    assert refused.json()["detail"] == "w: Input should be less than or equal to 1; or Input should be 'auto'"


def test_unknown_jobs(client):
    paths = [f"/api/jobs/nobody{path}" for path in ("", "/result", "/preview", "/before", "/faces/0/after")]
    for path in (*paths, *(f"/api/jobs/{id}" for id in ("..%2f..%2fetc%2fpasswd", "%00", "a" * 100))):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert set(answer.json()) == {"detail"}


WRONG = {
    "result?w=1.5": "w",
    "result?w=nan": "w",
    "preview?w=-0.1": "w",
    "preview?w=hello": "w",
    "preview?w=Auto": "w",
    "preview?side=9999999": "side",
    "before?side=0": "side",
    "preview?faces=a": "faces",
    "preview?faces=0;1": "faces",
    "preview?faces=-1": "faces",
    "result?faces=1": "no face 1 was found: there are faces 0 to 0",
    "preview?faces=0,7": "no face 7",
    "faces/1/before": "no face 1",
    "faces/-1/before": "face",
    "faces/0/during": "when",
    "faces/0/after?w=2": "w",
}


def test_wrong_parameters_are_422_in_one_line(client, job):
    for path, word in WRONG.items():
        answer = client.get(f"/api/jobs/{job['id']}/{path}")
        assert answer.status_code == 422, answer.text
        assert set(answer.json()) == {"detail"}
        assert word in answer.json()["detail"]
        assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"w": "2"}, "w"),
        ({"w": "nan"}, "w"),
        ({"strength": "2"}, "strength"),
        ({"strength": "nan"}, "strength"),
        ({"upscale": "3"}, "upscale must be 1, 2, 4 or auto"),
        ({"model": "nobody"}, f"no model 'nobody'; there are: {DEFAULT_MODEL}, tiny"),
        ({"model": "../models/tiny"}, "no model"),
        ({"background": "magic"}, "background must be lanczos, clean or realesrgan"),
        ({"background": "realesrgan"}, "no background 'realesrgan'; there are: lanczos, clean"),
        ({"grain": "film"}, "grain must be none or keep"),
        ({"aligned": "perhaps"}, "aligned"),
        ({"strip_metadata": "perhaps"}, "strip_metadata"),
        ({"boxes": "1,2,3"}, "boxes"),
        ({"boxes": "1,2,-3,4"}, "boxes"),
        ({"boxes": "9,2,3,4"}, "boxes must be at most 20"),
        ({"boxes": ";".join(["1,2,3,4"] * 21)}, "boxes must be at most 20"),
        ({"boxes": "5000,2,6000,4"}, "box 1 of a face lies outside the photo"),
    ],
)
def test_wrong_wishes_are_422_and_leave_nothing(client, blank, fields, word):
    before = set(folder(client).iterdir())
    answer = post(client, blank, **fields)
    assert answer.status_code == 422, answer.text
    assert word in answer.json()["detail"]
    assert set(folder(client).iterdir()) == before


def test_a_path_is_never_a_model(client, blank, cache):
    for path in (cache / "models/tiny", cache / "models/tiny/encode.onnx"):
        assert post(client, blank, model=str(path)).status_code == 422


def test_a_photo_must_come(client):
    assert client.post("/api/jobs", data={"w": "0.5"}).status_code == 422
    assert client.post("/api/jobs", data={"photo": "http://localhost/photo.jpg"}).status_code == 422
    assert client.post("/api/jobs", json={"photo": "x"}).status_code == 422
    broken = client.post(
        "/api/jobs", content=b"--x\r\nnonsense", headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert broken.status_code in (400, 422)
    assert set(broken.json()) == {"detail"}


def test_other_paths_and_methods(client):
    assert client.get("/api/nothing").json() == {"detail": "Not Found"}
    assert client.put("/api/jobs").status_code == 405
    for path in ("/docs", "/redoc", "/openapi.json", "/static/../settings.py", "/static/%2e%2e/settings.py"):
        assert client.get(path).status_code == 404


def test_the_page_and_its_files(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    script = client.get("/static/app.js")
    assert script.headers["content-type"].split(";")[0] in ("text/javascript", "application/javascript")
    for answer in (page, script):
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert client.get("/static/app.js", headers={"if-none-match": script.headers["etag"]}).status_code == 304


# --- deletion and expiry ---


def test_a_deleted_job_is_gone_from_the_disk(client, jpeg):
    job = restored(client, jpeg)
    files = folder(client) / job["id"]
    assert {path.name for path in files.iterdir()} == {"input", "kept.npz", "result.jpg"}
    answer = client.delete(f"/api/jobs/{job['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert not files.exists()
    assert client.get(f"/api/jobs/{job['id']}").status_code == 404
    assert client.get(f"/api/jobs/{job['id']}/preview").status_code == 404
    assert client.delete(f"/api/jobs/{job['id']}").status_code == 404


@pytest.mark.parametrize("path", ["result", "result?w=0.1", "preview", "before", "faces/0/after"])
def test_a_job_whose_files_go_meanwhile_is_gone_too(client, jpeg, path):
    job = restored(client, jpeg)
    services = client.app.state.services
    services.store.remove(job["id"])
    services.worker.ask(JobRestorer.forget_gone).result(60)
    answer = client.get(f"/api/jobs/{job['id']}/{path}")
    assert (answer.status_code, answer.json()["detail"]) == (404, "no such job, or it has expired")


def test_a_result_that_cannot_be_stored_says_no_path(own, jpeg, monkeypatch):
    def full(*rest, **more):
        raise OSError(28, "No space left on device", "/secret/place")

    monkeypatch.setattr("facemend.server.restorer.place", full)
    job = wait(own, post(own, jpeg).json()["id"])
    assert job["error"] == "the server cannot store the result: try again later"


def test_an_expired_job_is_gone(own, blank, monkeypatch):
    job = restored(own, blank)
    for seconds, status in ((3500, 200), (3600, 404)):
        age(monkeypatch, seconds)
        assert own.get(f"/api/jobs/{job['id']}").status_code == status
        assert own.get(f"/api/jobs/{job['id']}/result").status_code == status


# --- the queue is full ---


def test_a_full_queue_is_429_and_leaves_nothing(settings, blank, monkeypatch):
    with TestClient(create_app(replace(settings, queue=2))) as client:
        services = client.app.state.services
        claim = services.jobs.claim
        monkeypatch.setattr(services.jobs, "claim", lambda worker: None)
        assert [post(client, blank).status_code for _ in range(3)] == [202, 202, 429]
        answer = post(client, blank)
        assert "the queue is full" in answer.json()["detail"]
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert len(list((settings.folder() / "jobs").iterdir())) == 2
        monkeypatch.setattr(services.jobs, "claim", claim)
        with until() as tick:
            while post(client, blank).status_code != 202:
                tick()


# --- metrics ---


def test_metrics_are_what_prometheus_reads(own, jpeg):
    client, job = own, restored(own, jpeg)
    post(client, b"no picture")
    client.get(f"/api/jobs/{job['id']}/preview")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert all(family.documentation for family in families.values())
    assert families["facemend_jobs_done"].type == "counter"
    assert values["facemend_info", facemend.__version__] == 1
    assert values[("facemend_jobs_accepted_total",)] == values[("facemend_jobs_done_total",)] == 1
    assert values["facemend_jobs", "done"] == 1
    assert values["facemend_uploads_refused_total", "415"] == 1
    assert values["facemend_part_seconds_total", "encode"] > 0
    assert values[("facemend_job_seconds_count",)] == values[("facemend_preview_seconds_count",)] == 1
    assert values[("facemend_preview_seconds_sum",)] > 0


def test_metrics_of_a_new_server(own):
    families = {family.name for family in text_string_to_metric_families(own.get("/metrics").text)}
    assert {"facemend_jobs", "facemend_jobs_accepted", "facemend_job_seconds"} <= families

"""The page in a real browser against a real server: from the photo to the download."""

import io
import re
import zipfile

import numpy as np
import pytest
from page_helpers import (
    EXAMPLE,
    LARGER,
    PIXELS,
    PORTRAIT,
    TIMES,
    open_at_once,
    photo,
    pixels_of,
    position,
    put,
    restored,
    settle,
    two_people,
    wait,
    wait_done,
)
from PIL import Image

from facemend.photo.options import DEFAULT_MODEL
from facemend.weights.models import find_model

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.usefixtures("usual_model")
def test_a_photo_goes_in_and_comes_out(page):
    assert page.is_visible("#welcome")
    assert "deleted after 60 minutes" in page.inner_text("footer")
    restored(page)
    assert page.is_hidden("#welcome")
    assert page.inner_text("#name") == "example.jpg"
    assert page.inner_text("#facts-title") == "1 face restored"
    side = f"{1024 * LARGER:,}"
    assert page.inner_text("#facts-size") == f"{side} {TIMES} {side} pixels ({2 * LARGER}{TIMES})"
    assert "is done: 1 face restored" in page.text_content("#status")
    assert page.eval_on_selector("#before", PIXELS) != page.eval_on_selector("#after", PIXELS)


def test_progress_is_shown(page):
    states = [
        {"status": "queued", "position": 3},
        {"status": "queued", "position": 0},
        {"status": "running", "part": "detect", "progress": 0.4},
    ]

    def answer(route):
        now = states[0] | {"position": states[0].get("position")} if states else {}
        route.fulfill(json=route.fetch().json() | now)

    page.route("**/api/jobs/*", answer)
    put(page, EXAMPLE)
    for words in ("3 photos before this one", "Next in line", "Looking for faces"):
        page.locator("#doing", has_text=words).wait_for()
        share = page.eval_on_selector("#meter", "meter => meter.value")
        if len(states) > 1:
            states.pop(0)
    assert 0.4 < share < 0.6
    assert page.inner_text("#share") == "49 %"
    states.clear()  # from here what the server says; taking the route away would race with an answer
    wait_done(page)
    assert page.is_hidden("#progress")


def test_the_divider_follows_the_mouse(page):
    restored(page)
    settle(page)
    box = page.locator("#slider").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, y, steps=4)
    page.mouse.up()
    assert position(page) == pytest.approx(20, abs=1)
    before = page.locator("#frame").screenshot()
    page.mouse.click(box["x"] + box["width"] * 0.8, y)
    assert position(page) == pytest.approx(80, abs=1)
    page.wait_for_timeout(300)
    assert page.locator("#frame").screenshot() != before


def test_the_divider_follows_the_keys(page):
    restored(page)
    settle(page)
    page.focus("#slider")
    for key, place in (
        ("ArrowLeft", 48),
        ("Shift+ArrowRight", 58),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", 100),
    ):
        page.keyboard.press(key)
        assert position(page) == place
    assert page.get_attribute("#slider", "aria-valuetext") == "100 % before"


def test_the_divider_follows_a_finger(server, open_page):
    page = open_page(server, has_touch=True, is_mobile=True, width=390, height=844)
    restored(page)
    settle(page)
    page.locator("#slider").scroll_into_view_if_needed()
    box = page.locator("#slider").bounding_box()
    finger = page.context.new_cdp_session(page)
    for kind, share in (("touchStart", 0.5), ("touchMove", 0.4), ("touchMove", 0.25), ("touchEnd", None)):
        point = {"x": box["x"] + box["width"] * (share or 0), "y": box["y"] + box["height"] * 0.6}
        points = [] if share is None else [point]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert position(page) == pytest.approx(25, abs=2)


def test_w_changes_the_picture_at_once(page):
    restored(page)
    after = {"0.50": page.eval_on_selector("#after", PIXELS)}
    for name, w in (("Faithful", "1.00"), ("Redrawn", "0.00")):
        last = list(after.values())[-1]
        page.get_by_role("button", name=name).click()
        assert page.inner_text("#w-value") == f"w = {w}"
        wait(page, "last => document.getElementById('after').toDataURL() !== last", last)
        after[w] = page.eval_on_selector("#after", PIXELS)
    assert len(set(after.values())) == 3
    page.focus("#w")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#w-value") == "w = 0.05"
    page.get_by_role("button", name="Balanced").click()
    wait(page, "want => document.getElementById('after').toDataURL() === want", after["0.50"])


@pytest.mark.usefixtures("usual_model")
def test_auto_says_what_it_sees_and_the_dial_overrules_it(page):
    restored(page)
    assert re.search("sharp|px of real detail", page.inner_text("#cards .said"))
    with page.expect_response("**/preview?w=auto&*"):
        page.click("[data-w=auto]")
    assert (page.inner_text("#w-value"), page.get_attribute("[data-w=auto]", "aria-pressed")) == (
        "Auto",
        "true",
    )
    assert re.search(r"; (w = \d\.\d\d|left as it is: .+)$", page.inner_text("#cards .said"))
    page.focus("#w")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#w-value").startswith("w = ")
    assert page.get_attribute("[data-w=auto]", "aria-pressed") == "false"


def test_a_late_picture_does_not_replace_a_newer_one(page):
    restored(page)
    balanced = page.eval_on_selector("#after", PIXELS)
    held = []
    page.route("**/preview?w=1&*", lambda route: held.append(route))
    page.get_by_role("button", name="Faithful").click()
    while not held:
        page.wait_for_timeout(20)
    page.get_by_text("Still showing w = 0.50").wait_for()
    page.get_by_role("button", name="Balanced").click()
    with page.expect_response("**/preview?w=1&*") as late:
        held[0].continue_()
    late.value.finished()
    page.wait_for_timeout(500)
    assert page.eval_on_selector("#after", PIXELS) == balanced


def test_a_moving_w_asks_for_one_picture_at_a_time(page):
    job = restored(page)
    noted = open_at_once(page, "/preview")
    with page.expect_response(lambda answer: "w=1&" in answer.url and f"{job}/preview" in answer.url):
        page.focus("#w")
        for _ in range(10):
            page.keyboard.press("ArrowRight")
    page.wait_for_selector("#renewing", state="hidden")
    assert max(noted) == 1
    assert 1 <= len(noted) < 10
    assert page.inner_text("#w-value") == "w = 1.00"


@pytest.mark.usefixtures("usual_model")
def test_the_download_is_the_result_with_this_w_and_these_faces(page, server):
    with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
        put(page, photo(two_people(), "Familie März 1997.jpg"))
    job = posted.value.json()["id"]
    wait_done(page)
    page.get_by_role("button", name="Faithful").click()
    page.get_by_role("checkbox", name="Face 2").last.uncheck()
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "Familie März 1997_restored.jpg"
    answer = server.client.get(f"/api/jobs/{job}/result", params={"w": 1, "faces": "0"})
    assert answer.status_code == 200
    assert download.value.path().read_bytes() == answer.content
    everything = server.client.get(f"/api/jobs/{job}/result", params={"w": 1})
    assert everything.content != answer.content


def test_a_face_that_is_not_chosen_stays_as_it_was(page):
    put(page, photo(two_people(), "two.jpg"))
    wait_done(page)
    page.get_by_role("button", name="Same").click()  # what is enlarged is resampled on two ways
    page.get_by_text(f"922 {TIMES} 512 pixels").wait_for()
    wait_done(page)
    page.get_by_role("button", name="Choose faces").click()
    faces = page.locator("#outlines").get_by_role("checkbox")
    assert faces.count() == 2
    both = page.eval_on_selector("#after", PIXELS)
    faces.nth(0).focus()
    page.keyboard.press("Space")
    assert faces.nth(0).get_attribute("aria-checked") == "false"
    wait(page, "last => document.getElementById('after').toDataURL() !== last", both)
    assert page.inner_text("#facts-title") == "1 of 2 faces restored"
    before, after = (pixels_of(page, name) for name in ("#before", "#after"))
    half = before.shape[1] * 512 // 922
    assert np.array_equal(before[:, : half - 8], after[:, : half - 8])
    assert not np.array_equal(before[:, half:], after[:, half:])
    faces.nth(1).click()
    wait(
        page, "document.getElementById('after').toDataURL() === document.getElementById('before').toDataURL()"
    )
    assert page.inner_text("#facts-title") == "0 of 2 faces restored"


@pytest.mark.usefixtures("usual_model")
def test_a_face_larger(page):
    put(page, photo(two_people(), "two.jpg"))
    wait_done(page)
    page.get_by_role("button", name="Face 1: before and after, larger").click()
    assert page.inner_text("#zoom-title") == "Face 1 of 2"
    side = find_model(DEFAULT_MODEL).image_size
    loaded = f"image => image.complete && image.naturalWidth === {side}"
    for name in ("#zoom-before", "#zoom-after"):
        wait(page, f"({loaded})(document.querySelector('{name}'))")
    page.get_by_role("button", name="Next face").click()
    assert page.inner_text("#zoom-title") == "Face 2 of 2"
    page.keyboard.press("Escape")
    assert page.is_hidden("#zoom")
    wait(page, f"[...document.querySelectorAll('#cards img')].every({loaded})")


@pytest.mark.usefixtures("usual_model")
def test_two_photos_at_once(page):
    put(page, EXAMPLE, PORTRAIT)
    wait_done(page, 2)
    assert page.get_by_role("button", name="example.jpg, done").get_attribute("aria-current") == "true"
    page.get_by_role("button", name="portrait.jpg, done").click()
    assert page.inner_text("#name") == "portrait.jpg"
    size = f"{640 * LARGER:,} {TIMES} {800 * LARGER:,} pixels"
    assert page.inner_text("#facts-size").startswith(size)
    page.wait_for_selector("#frame.comparing")


def test_all_in_one_zip(page, server):
    jobs = []
    page.on("response", lambda answer: answer.request.method == "POST" and jobs.append(answer.json()["id"]))
    content = EXAMPLE.read_bytes()
    put(page, photo(content, "할머니.jpg"), photo(PORTRAIT.read_bytes(), "a.jpg"), photo(content, "A.jpg"))
    wait_done(page, 3)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all (3) as ZIP").click()
    assert download.value.suggested_filename == "facemend.zip"
    archive = zipfile.ZipFile(download.value.path())
    assert archive.testzip() is None
    assert archive.namelist() == ["할머니_restored.jpg", "a_restored.jpg", "A_restored (2).jpg"]
    results = {server.client.get(f"/api/jobs/{job}/result").content for job in jobs}
    assert {archive.read(name) for name in archive.namelist()} == results
    assert archive.infolist()[0].date_time[0] >= 2026


def test_the_look_of_one_for_all(page):
    put(page, EXAMPLE, PORTRAIT)
    wait_done(page, 2)
    page.get_by_role("button", name="Faithful").click()
    page.focus("#strength")
    page.keyboard.press("Home")
    page.click("#upscale [value='1']")
    wait_done(page, 2)
    assert page.inner_text("#applied") == ""
    page.get_by_role("button", name="Apply to all photos").click()
    assert page.inner_text("#applied") == "1 other photo now has this look, strength and size."
    page.get_by_role("button", name="portrait.jpg").click()
    wait_done(page, 2)
    assert (page.inner_text("#w-value"), page.inner_text("#strength-value")) == ("w = 1.00", "0 %")
    assert page.get_attribute("#upscale [value='1']", "aria-pressed") == "true"


@pytest.mark.parametrize("count", [1, 2])
def test_the_download_is_in_sight(page, count):
    page.set_viewport_size({"width": 1280, "height": 800})
    put(page, *[photo(two_people(), "two.jpg")] * count)
    wait_done(page, count)
    box = page.locator("#download").bounding_box()
    assert box["y"] + box["height"] <= 800
    assert page.evaluate("scrollY") == 0


def test_dropped_and_pasted(page):
    give = """([name, bytes, kind]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
      const event = kind === "paste"
        ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
        : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
      document.body.dispatchEvent(event);
    }"""
    content = list(EXAMPLE.read_bytes())
    page.evaluate(give, ["dropped.jpg", content, "dragover"])
    assert page.is_visible("#veil")
    page.evaluate(give, ["dropped.jpg", content, "drop"])
    assert page.is_hidden("#veil")
    page.evaluate(give, ["pasted.jpg", content, "paste"])
    wait_done(page, 2)
    assert page.get_by_role("button", name="dropped.jpg, done").is_visible()
    assert page.get_by_role("button", name="pasted.jpg, done").is_visible()


@pytest.mark.usefixtures("usual_model")
def test_another_size_restores_again(page):
    restored(page)
    page.get_by_role("button", name=f"2{TIMES}").click()
    page.get_by_text(f"1,024 {TIMES} 1,024 pixels").wait_for()
    wait_done(page)
    assert page.get_by_role("button", name=f"2{TIMES}").get_attribute("aria-pressed") == "true"


def test_a_photo_without_faces_is_left(page):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 120, 60)).save(buffer, "png")
    put(page, photo(buffer.getvalue(), "meadow.png", "image/png"))
    wait_done(page)
    assert page.inner_text("#facts-title") == "No face found"
    assert page.get_by_role("button", name="meadow.png, no face found").is_visible()
    assert "bare" in page.get_attribute(".thumb", "class")
    assert "try a larger scan" in page.inner_text("#notes")
    assert page.is_hidden("#look")
    assert page.is_visible("#download")


def test_metadata_can_be_left_out(page, server):
    page.get_by_label("Leave out place, camera and names").check()
    job = restored(page)
    assert server.client.get(f"/api/jobs/{job}").json()["strip_metadata"] is True
    assert page.is_checked("#strip-metadata")
    with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
        page.uncheck("#strip-metadata")
    assert posted.value.json()["strip_metadata"] is False


def test_a_clean_background_and_grain_can_be_had(page, server):
    page.get_by_label("Keep the photo's grain in faces").check()
    page.select_option("#background", "clean")
    page.click("#upscale [value='1']")
    job = server.client.get(f"/api/jobs/{restored(page)}").json()
    assert (job["background"], job["grain"]) == ("clean", "keep")
    assert page.is_visible("#background")
    assert page.is_checked("#grain")


def test_strength_is_live_and_auto_is_the_size_unless_another_is_chosen(page, server):
    assert page.get_attribute("#upscale [value=auto]", "aria-pressed") == "true"
    assert page.locator("#upscale button").all_inner_texts() == ["Auto", "Same", f"2{TIMES}", f"4{TIMES}"]
    job = restored(page)
    assert server.client.get(f"/api/jobs/{job}").json()["upscale"] == "auto"
    settle(page)
    full = page.eval_on_selector("#after", PIXELS)
    page.focus("#strength")
    page.keyboard.press("Home")
    assert page.inner_text("#strength-value") == "0 %"
    wait(page, "last => document.getElementById('after').toDataURL() !== last", full)
    assert (pixels_of(page, "#after") == pixels_of(page, "#before")).all()
    page.get_by_role("button", name=f"2{TIMES}").click()
    wait_done(page)
    assert f"(2{TIMES})" in page.inner_text("#facts-size")
    page.reload()
    wait_done(page)
    assert page.inner_text("#strength-value") == "0 %"

"""What the page says when something is in the way."""

import pytest
from page_helpers import EXAMPLE, TIMES, photo, put, restored, wait, wait_done
from server_helpers import Server

from facemend.photo.options import DEFAULT_MODEL
from facemend.weights.models import find_model

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_text_file_is_refused_in_plain_words(page):
    put(page, photo(b"Dear Anna,", "letter.txt", "text/plain"))
    page.get_by_text("This is not a photo we can read", exact=True).wait_for()
    assert "JPEG, PNG" in page.inner_text("#problem-fix")
    assert "letter.txt: This is not a photo" in page.text_content("#alert")
    assert page.is_hidden("#again")
    assert [line for line in page.problems if "415" not in line] == []
    page.problems.clear()
    page.get_by_role("button", name="Remove").click()
    assert page.is_visible("#welcome")


def test_only_what_this_server_reads_is_offered(page):
    lacking = {".heic", ".heif", ".hif", ".avif"}

    def without(route):
        said = route.fetch().json()
        route.fulfill(json=said | {"formats": [each for each in said["formats"] if each not in lacking]})

    offered = [set(page.get_attribute("#file", "accept").split(","))]
    assert "HEIC, AVIF" in page.inner_text("#formats")
    page.route("**/api/info", without)
    page.reload()
    page.wait_for_selector("#options:not([hidden])")
    offered.append(set(page.get_attribute("#file", "accept").split(",")))
    assert offered[0] - offered[1] == lacking
    assert ".jpg" in offered[1]
    assert page.inner_text("#formats").startswith("JPEG, PNG, WebP, TIFF")


def test_a_file_over_the_limit_is_not_even_sent(page):
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    page.evaluate(
        """() => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(40_000_001)], "big.jpg", { type: "image/jpeg" }));
          document.getElementById("file").files = files.files;
          document.getElementById("file").dispatchEvent(new Event("change"));
        }"""
    )
    page.get_by_text("This photo is too large", exact=True).wait_for()
    assert "Files may have up to 40 MB" in page.inner_text("#problem-fix")
    assert "POST" not in sent


def test_a_full_queue_is_waited_for(page):
    refused = []

    def refuse_once(route):
        if refused:
            route.continue_()
            return
        refused.append(route.request)
        route.fulfill(status=429, headers={"Retry-After": "2"}, json={"detail": "the queue is full"})

    page.route("**/api/jobs", refuse_once)
    put(page, EXAMPLE)
    page.get_by_text("The server is busy. Trying again in 2 s").wait_for()
    page.get_by_text("The server is busy. Trying again in 1 s").wait_for()
    wait_done(page)
    assert len(refused) == 1
    assert [line for line in page.problems if "429" not in line] == []
    page.problems.clear()


def test_an_expired_photo_says_so_and_can_be_done_again(page, server):
    job = restored(page)
    assert server.client.delete(f"/api/jobs/{job}").status_code == 204
    page.get_by_role("button", name="Faithful").click()
    page.get_by_text("This photo has been deleted", exact=True).wait_for()
    assert [line for line in page.problems if "404" not in line] == []
    page.problems.clear()
    page.get_by_role("button", name="Try again").click()
    wait_done(page)


def test_a_download_that_fails_says_why_and_keeps_the_photo(page):
    restored(page)
    page.route("**/result?*", lambda route: route.fulfill(status=507, json={"detail": "the disk is full"}))
    page.click("#download")
    page.get_by_text("example.jpg was not downloaded. The server has no room left. Delete a photo").wait_for()
    assert page.is_visible("#frame.comparing")
    page.problems.clear()
    page.unroute("**/result?*")
    with page.expect_download():
        page.click("#download")
    assert page.inner_text("#save-problem") == ""


def test_delete_takes_the_photo_off_the_server(page, server):
    job = restored(page)
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.get_by_role("button", name="Delete now").click()
    assert page.is_visible("#welcome")
    assert server.client.get(f"/api/jobs/{job}").status_code == 404


def test_a_reload_keeps_the_photos(page):
    restored(page)
    page.get_by_role("button", name="Faithful").click()
    page.reload()
    wait_done(page)
    assert page.inner_text("#w-value") == "w = 1.00"
    assert "choose it once more" in page.inner_text("#options-hint")
    page.get_by_role("button", name=f"4{TIMES}").click()  # for the photos to come
    assert page.get_attribute("#upscale [value='4']", "aria-pressed") == "true"
    wait_done(page)


def test_a_server_that_is_in_trouble_for_a_while_takes_no_photo_off_the_page(page):
    """Whatever was asked for it, after a reload as well; before it, it is only late."""
    answers = ["continue"]

    def answer(route):
        if answers[0] == "continue" or route.request.method != "GET":
            route.continue_()
        else:
            answers.append(route.request.url)
            route.fulfill(status=429 if "/before" not in route.request.url else 500, json={"detail": "later"})

    page.route("**/api/jobs/**", answer)
    put(page, EXAMPLE)
    answers[:] = ["refuse"]
    while len(answers) < 4:
        page.wait_for_timeout(50)
    assert not page.is_visible("#problem")
    answers[0] = "continue"
    wait_done(page)

    answers[:] = ["refuse"]
    page.reload()
    while len(answers) < 2:
        page.wait_for_timeout(50)
    answers[0] = "continue"
    wait_done(page)

    page.route("**/before?*", lambda route: route.fulfill(status=500, json={"detail": "later"}))
    page.reload()
    wait(page, "document.querySelectorAll('.thumb[data-state=done]').length === 1")
    page.wait_for_timeout(1000)
    assert not page.is_visible("#problem")
    page.unroute("**/before?*")
    wait_done(page)
    assert [line for line in page.problems if "429" not in line and "500" not in line] == []
    page.problems.clear()


def test_every_result_is_read_out(page):
    restored(page)
    page.evaluate(
        """() => {
          window.said = [];
          const status = document.getElementById("status");
          const hear = () => status.textContent && said.push(status.textContent);
          new MutationObserver(hear).observe(status, {childList: true});
        }"""
    )
    for size in ("2", "4"):
        with page.expect_response(lambda answer: answer.request.method == "DELETE"):
            page.click(f"#upscale [value='{size}']")
        wait_done(page)
    assert page.evaluate("said") == ["example.jpg is done: 1 face restored."] * 2


def test_a_private_server_asks_for_its_token(tmp_path, open_page):
    server = Server(tmp_path, {"FACEMEND_TOKEN": "open-sesame-please"}, "--store", str(tmp_path / "store"))
    try:
        page = open_page(server)
        put(page, EXAMPLE)
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        page.get_by_text("That is not the right token.").wait_for()
        for _ in range(4):  # the browser itself closes a dialog at the third
            page.keyboard.press("Escape")
        wait(page, "document.getElementById('login').open && document.activeElement.id === 'token'")
        page.route("**/api/login", lambda route: route.fulfill(status=429, json={"detail": "too many"}))
        page.keyboard.press("Enter")
        page.get_by_text("Too many wrong tokens came from here. Wait a minute").wait_for()
        page.unroute("**/api/login")
        page.fill("#token", "open-sesame-please")
        page.keyboard.press("Enter")
        wait_done(page)
        side = find_model(DEFAULT_MODEL).image_size
        loaded = f"image => image.complete && image.naturalWidth === {side}"
        wait(page, f"[...document.querySelectorAll('#cards img')].every({loaded})")
        assert [line for line in page.problems if "401" not in line and "429" not in line] == []
        page.problems.clear()
    finally:
        server.close()


def test_a_face_that_was_sent_away_is_asked_for_again(page):
    sent_away = []

    def busy(route):
        if len(sent_away) < 2:
            sent_away.append(route.request.url)
            route.fulfill(status=503, json={"detail": "busy"})
        else:
            route.continue_()

    page.route("**/faces/0/*", busy)
    restored(page)
    wait(
        page,
        "[...document.querySelectorAll('#cards img')].every(image => image.complete && image.naturalWidth)",
    )
    assert len(sent_away) == 2
    page.unroute("**/faces/0/*")
    page.problems.clear()  # the browser tells of each


@pytest.mark.parametrize("act", ["done anew", "deleted", "deleted while large"])
def test_nothing_is_asked_of_a_photo_that_is_given_up(page, act):
    restored(page)
    held = []
    page.route("**/faces/0/after?w=1*", lambda route: held.append(route))
    if act == "deleted while large":
        page.locator("#cards button").first.click()
        page.evaluate("document.querySelector('[data-w=\"1\"]').click()")
    else:
        page.get_by_role("button", name="Faithful").click()
    wait_for(page, held)
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        button = "#upscale [value='1']" if act == "done anew" else "#delete"
        page.evaluate("button => document.querySelector(button).click()", button)
    for route in held:
        route.continue_()  # which the server would answer with 404
    page.unroute("**/faces/0/after?w=1*")
    if act == "done anew":
        wait_done(page)
    else:
        assert page.is_visible("#welcome")
    page.wait_for_timeout(300)
    assert page.problems == []


def test_a_job_that_is_given_up_is_not_asked_after(page):
    held = []
    page.route(
        "**/api/jobs/*",
        lambda route: held.append(route) if route.request.method == "GET" else route.continue_(),
    )
    put(page, EXAMPLE)
    wait_for(page, held)
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.click("#delete")
    held[0].continue_()
    page.wait_for_timeout(300)
    assert page.problems == []


def wait_for(page, held):
    while not held:
        page.wait_for_timeout(20)

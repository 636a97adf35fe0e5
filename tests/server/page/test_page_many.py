"""Many photos at once, and hasty hands."""

import io

import pytest
from page_helpers import open_at_once, photo, put, wait, wait_done
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.slow]
OPEN = 12


def blanks(count: int) -> list[dict]:
    """Photos without faces, quickly done."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 120, 60)).save(buffer, "png")
    return [photo(buffer.getvalue(), f"{n}.png", "image/png") for n in range(count)]


def test_a_full_server_is_not_asked_for_each_photo(page):
    asked = []

    def refuse(route):
        asked.append(route.request)
        route.fulfill(status=429, headers={"Retry-After": "1"}, json={"detail": "the queue is full"})

    page.route("**/api/jobs", refuse)
    put(page, *blanks(30))
    page.get_by_text("The server is busy").wait_for()
    page.wait_for_timeout(1500)
    assert 2 <= len(asked) <= 6
    page.problems.clear()


def test_photos_that_come_are_drawn_together(page):
    page.route("**/api/jobs", lambda route: None)  # no answer
    script = """async () => {
        const { add, onItem } = await import("/static/queue.js");
        let told = 0;
        onItem(() => told += 1);
        add(Array.from({ length: 50 }, () => new File([], "a.jpg")), { w: 0.5, strength: 1, options: {} });
        return told;
    }"""
    assert page.evaluate(script) == 2  # those that are sent


def test_a_double_click_or_a_held_key_deletes_one_photo(page):
    put(page, *blanks(3))
    wait_done(page, 3)
    page.dblclick("#delete")
    assert page.locator(".thumb").count() == 2
    page.focus("#delete")
    for _ in range(3):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    assert page.locator(".thumb").count() == 1


def test_after_a_reload_small_pictures_are_asked_for_one_by_one(page):
    put(page, *blanks(1))
    wait_done(page)
    page.evaluate(
        """() => {
          const [row] = JSON.parse(sessionStorage.getItem("facemend.jobs"));
          sessionStorage.setItem("facemend.jobs", JSON.stringify(Array(12).fill(row)));
        }"""
    )

    noted = open_at_once(page, "side=576")
    page.reload()
    wait(page, "document.querySelectorAll('.thumb canvas.ready').length === 12")
    assert noted == [1] * 12


def test_few_pictures_stay_decoded(page):
    held, asked = [], []
    page.on("request", lambda request: "side=576" in request.url and asked.append(request.url))
    page.route("**/api/jobs", lambda route: held.append(route))
    put(page, *blanks(OPEN + 4))
    wait(page, f"document.querySelectorAll('.thumb canvas.ready').length === {OPEN + 4}")
    for route in held:
        route.continue_()
    page.unroute("**/api/jobs")
    wait_done(page, OPEN + 4)
    which = "import('/static/queue.js').then(({ items }) => items.map((item) => Boolean(item.picture)))"
    assert page.evaluate(which) == [True, *[False] * 3, *[True] * OPEN]  # the first one is shown
    page.locator(".thumb").nth(1).click()
    while not page.evaluate(which)[1]:
        page.wait_for_timeout(20)
    assert asked == []


def test_files_that_come_before_the_server_answers_are_kept(page):
    held = []
    page.route("**/api/info", lambda route: held.append(route))
    page.reload()
    put(page, *blanks(2))
    held[0].continue_()
    wait_done(page, 2)


def test_the_example_comes_once_or_it_is_said_why_not(page):
    page.route("**/example.jpg", lambda route: route.abort())
    page.click("#example")
    page.get_by_text("The server does not answer", exact=True).wait_for()
    page.unroute("**/example.jpg")
    page.problems.clear()
    page.dblclick("#example")
    wait_done(page)
    assert page.is_hidden("#trouble")
    assert page.locator(".thumb").count() == 1

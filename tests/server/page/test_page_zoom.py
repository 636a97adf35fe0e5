"""Zoom and pan of the picture: wheel, drag, pinch, double click, buttons and keys."""

import io

import pytest
from page_helpers import (
    EXAMPLE,
    LARGER,
    PORTRAIT,
    photo,
    position,
    put,
    restored,
    settle,
    wait,
    wait_done,
)
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SEEN = """() => {
  const frame = document.getElementById("frame").getBoundingClientRect();
  const picture = document.getElementById("after").getBoundingClientRect();
  const share = (at, from, size) => (at - from) / size;
  return [picture.width / frame.width,
    share(frame.left + frame.width / 4, picture.left, picture.width),
    share(frame.top + frame.height / 4, picture.top, picture.height)];
}"""


def seen(page):
    """The scale, and the place of the picture that is seen in the middle of the frame's first quarter."""
    return pytest.approx(page.evaluate(SEEN), abs=0.01)


def at(page, x, y):
    box = page.locator("#frame").bounding_box()
    return box["x"] + box["width"] * x, box["y"] + box["height"] * y


@pytest.mark.usefixtures("usual_model")
def test_wheel_drag_and_double_click(page):
    restored(page)
    settle(page)
    assert seen(page) == [1, 0.25, 0.25]
    page.mouse.move(*at(page, 0.25, 0.25))
    page.mouse.wheel(0, -500)
    assert seen(page) == [2.718, 0.25, 0.25]  # about the cursor
    page.mouse.down()
    page.mouse.move(*at(page, 0.35, 0.25), steps=3)
    page.mouse.up()
    assert seen(page) == [2.718, 0.25 - 0.1 / 2.718, 0.25]
    page.mouse.move(*at(page, 0.5, 0.5))
    page.mouse.down()  # the handle
    page.mouse.move(*at(page, 0.2, 0.5), steps=3)
    page.mouse.up()
    assert position(page) == pytest.approx(20, abs=1)
    assert seen(page) == [2.718, 0.25 - 0.1 / 2.718, 0.25]
    page.mouse.dblclick(*at(page, 0.25, 0.25))
    assert seen(page) == [1, 0.25, 0.25]
    page.mouse.dblclick(*at(page, 0.25, 0.25))
    assert page.inner_text("#scale") == "100 %"
    assert seen(page) == [page.evaluate(SEEN)[0], 0.25, 0.25]


@pytest.mark.usefixtures("usual_model")
def test_keys_and_buttons_and_what_keeps_the_zoom(page):
    put(page, EXAMPLE, PORTRAIT)
    wait_done(page, 2)
    settle(page)
    page.focus("#slider")
    for key, scale in (("+", 1.5), ("+", 2.25), ("-", 1.5), ("0", 1), ("+", 1.5)):
        page.keyboard.press(key)
        assert page.evaluate(SEEN)[0] == pytest.approx(scale)
    left, place = page.evaluate(SEEN)[1], position(page)
    page.keyboard.press("ArrowRight")
    assert page.evaluate(SEEN)[1] == pytest.approx(left + 0.1)
    assert position(page) == place
    page.keyboard.press("Shift+ArrowRight")
    assert position(page) == place + 10
    kept = page.evaluate(SEEN)
    page.get_by_role("button", name="Faithful").click()
    page.get_by_role("button", name="portrait.jpg, done").click()
    page.wait_for_selector("#frame.comparing")
    assert seen(page) == kept
    page.get_by_role("button", name="1:1").click()
    assert page.eval_on_selector("#after", "it => it.getBoundingClientRect().width") == pytest.approx(
        640 * LARGER
    )
    assert page.inner_text("#scale") == "100 %"
    page.get_by_role("button", name="Fit").click()
    assert page.get_attribute("#fit", "aria-pressed") == "true"
    assert seen(page) == [1, 0.25, 0.25]


def test_two_fingers_zoom_and_one_moves(server, open_page):
    page = open_page(server, has_touch=True, is_mobile=True, width=390, height=844)
    restored(page)
    settle(page)
    page.locator("#slider").scroll_into_view_if_needed()
    finger = page.context.new_cdp_session(page)

    def touch(kind, *places):
        points = [
            dict(zip("xy", at(page, *place), strict=True)) | {"id": n} for n, place in enumerate(places)
        ]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (0.4, 0.3))
    touch("touchStart", (0.4, 0.3), (0.6, 0.3))
    for apart in (0.15, 0.2):
        touch("touchMove", (0.5 - apart, 0.3), (0.5 + apart, 0.3))
    touch("touchEnd")
    scale, left, _ = page.evaluate(SEEN)
    assert scale == pytest.approx(2, rel=0.05)
    place = position(page)
    touch("touchStart", (0.3, 0.2))
    for x in (0.25, 0.2, 0.1):
        touch("touchMove", (x, 0.2))
    touch("touchEnd")
    assert page.evaluate(SEEN)[1] == pytest.approx(left + 0.2 / scale, abs=0.03)
    assert position(page) == place


def test_near_is_sharp(page):
    buffer = io.BytesIO()
    Image.open(EXAMPLE).resize((2200, 2200)).save(buffer, "jpeg")
    put(page, photo(buffer.getvalue(), "large.jpg"))
    wait_done(page)
    page.focus("#slider")
    page.keyboard.press("1")
    wait(page, "['before', 'after'].every((id) => document.getElementById(id).width === 2200)")

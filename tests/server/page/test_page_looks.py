"""The page in other languages, on a phone, and with less motion."""

import pytest
from page_helpers import EXAMPLE, photo, position, put, restored, two_people, wait_done

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_korean_by_the_browser_and_by_the_switch(server, open_page):
    page = open_page(server, language="ko-KR")
    assert page.evaluate("document.documentElement.lang") == "ko"
    assert page.inner_text("h1 >> nth=0") == "흐릿한 얼굴을 다시 또렷하게"
    page.get_by_role("button", name="English").click()
    assert page.evaluate("document.documentElement.lang") == "en"
    page.reload()
    page.wait_for_selector("#options:not([hidden])")
    assert page.inner_text("h1 >> nth=0") == "Bring faces back"
    restored(page)
    page.get_by_role("button", name="한국어").click()
    assert page.inner_text("#facts-title") == "얼굴 1개 복원"
    assert page.inner_text("#download") == "다운로드"
    assert page.get_attribute("#slider", "aria-valuetext").startswith("복원 전")


@pytest.mark.parametrize("language", ["en-US", "ko-KR"])
def test_a_phone_needs_no_sideways_scrolling(server, open_page, language):
    page = open_page(server, width=360, height=740, language=language, is_mobile=True, has_touch=True)
    too_wide = "document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(too_wide) <= 0
    long_name = photo(two_people(), f"{'a very long name ' * 5}.jpg")
    put(page, long_name)
    put(page, EXAMPLE, EXAMPLE, EXAMPLE, EXAMPLE)
    wait_done(page, 5)
    assert page.evaluate(too_wide) <= 0
    page.click("#add-face")
    zoom, actions = (page.locator(name).bounding_box() for name in ("#zoomer", "#adder-actions"))
    assert actions["y"] + actions["height"] <= zoom["y"]
    page.keyboard.press("Escape")
    page.locator("#cards button").first.click()
    assert page.evaluate(too_wide) <= 0


def test_less_motion_where_asked_for(server, open_page):
    page = open_page(server, reduced_motion="reduce")
    restored(page)
    assert position(page) == 50  # no gliding

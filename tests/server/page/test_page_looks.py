"""The page in other languages, on a phone, and with less motion."""

import re
from dataclasses import replace

import pytest
from page_helpers import EXAMPLE, photo, position, put, restored, two_people, wait_done

from facemend.photo.auto import choose, in_words
from facemend.types import Diagnosis

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


def test_what_auto_says_is_said_in_korean(server, open_page):
    """All of it: what Python knows to say, word for word in English, and nothing of that in Korean."""
    row = [40, 0, 4, 60, *[0.1] * 5, 0.3, *[0.0] * 5, 0.3, *[0.0] * 5]
    damage = Diagnosis.from_row(row)
    seen = [damage, replace(damage, noise=12, jpeg=40), replace(damage, resolution=256, noise=0, jpeg=90)]
    said = [in_words(one, 256) for one in seen]
    said += [choose(replace(one, lpips_photo=0), 0.6, 256).left for one in (seen[0], seen[2])]
    page = open_page(server, language="en-US")
    script = (
        "async said => { const words = await import('/static/words.js'); return said.map(words.translated) }"
    )
    assert page.evaluate(script, said) == said
    page.get_by_role("button", name="한국어").click()
    for english, korean in zip(said, page.evaluate(script, said), strict=True):
        assert not set(re.findall("[A-Za-z]+", korean)) - {"px", "JPEG"}
        assert re.findall(r"\d+", korean) == re.findall(r"\d+", english)


def test_a_face_that_auto_leaves_is_not_called_restored(server, open_page):
    page = open_page(server)
    script = """async left => {
        const { facts } = await import('/static/words.js');
        const auto = (index) => ({ left: index < left ? "sharp" : "" });
        const faces = [0, 1].map((index) => ({ index, restored: true, auto: auto(index) }));
        const item = { job: { frames: null, notes: [], faces }, chosen: new Set([0, 1]) };
        return [facts({ ...item, w: "auto" }), facts({ ...item, w: 0.5 })];
    }"""
    assert page.evaluate(script, 1) == ["1 face restored", "2 faces restored"]
    assert page.evaluate(script, 2) == ["2 faces found, none restored", "2 faces restored"]


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

"""Films on the page: in, played beside what they were, and home."""

from fractions import Fraction

import av
import pytest
from page_helpers import PATIENCE, PORTRAIT, put, wait
from PIL import Image

from facemend.imaging import read_picture
from film_files import make_film

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FRAMES = 6
LOADED = "['after', 'before'].every(id => document.getElementById(`movie-${id}`).readyState >= 2)"
TIMES = "['after', 'before'].map(id => document.getElementById(`movie-${id}`).currentTime)"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A folder with the same second of a face in several films."""
    folder = tmp_path_factory.mktemp("films")
    face = read_picture(PORTRAIT).resized(0.4).pixels
    frames = [face[:, i : i + 240].copy() for i in range(FRAMES)]
    pts = [15_000 * i for i in range(FRAMES)]
    make_film(folder / "party.mp4", frames, pts=pts)
    make_film(folder / "party.avi", frames, codec="mpeg4", audio=None, options={}, time_base=Fraction(1, 25))
    (folder / "broken.mp4").write_bytes((folder / "party.mp4").read_bytes()[:2000])
    return folder


def restored(page, film) -> str:
    with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
        put(page, film)
    page.wait_for_selector("#movie:not([hidden])", timeout=4 * PATIENCE)
    return posted.value.json()["id"]


@pytest.mark.usefixtures("usual_model")
def test_a_film_goes_in_plays_and_goes_home(page, films, tmp_path):
    assert "MP4, MOV, WebM, MKV, AVI · up to 100 MB and 1 minute" in page.inner_text("#film-formats")
    restored(page, films / "party.mp4")
    assert page.inner_text("#facts-title") == "6 frames restored"
    assert page.is_hidden("#frame")
    assert page.is_hidden("#faces")
    assert page.is_hidden("#add-face")
    assert page.eval_on_selector(".thumb canvas", "canvas => canvas.width") == 144
    wait(page, LOADED)
    page.set_viewport_size({"width": 1280, "height": 800})
    bar = page.locator("#movie-seek").bounding_box()
    assert bar["y"] + bar["height"] <= 800
    page.get_by_role("button", name="Play").focus()
    page.keyboard.press("Enter")
    wait(page, "document.getElementById('movie-after').ended")
    wait(page, f"{TIMES}.every(time => time > 0.8)")
    page.focus("#movie-seek")
    page.keyboard.press("Home")
    wait(page, f"{TIMES}.every(time => time === 0)")
    page.focus("#movie-slider")
    page.keyboard.press("Shift+ArrowLeft")
    assert page.get_attribute("#movie-slider", "aria-valuenow") == "40"
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "party_restored.mp4"
    with av.open(str(download.value.path())) as file:
        assert sum(1 for _ in file.decode(video=0)) == FRAMES


def test_before_and_after_are_seen_on_their_sides(page, films, tmp_path):
    restored(page, films / "party.mp4")
    wait(page, LOADED)
    seen = []
    page.focus("#movie-slider")
    for key in ("Home", "End"):
        page.keyboard.press(key)
        page.wait_for_timeout(600)
        page.locator("#movie-slider").screenshot(path=tmp_path / f"{key}.png")
        seen.append(Image.open(tmp_path / f"{key}.png").tobytes())
    assert seen[0] != seen[1]


def test_progress_counts_frames(page, films):
    state = {"status": "running", "part": "frames", "progress": 0.5, "frame": 3}

    def answer(route):
        route.fulfill(json=route.fetch().json() | state)

    page.route("**/api/jobs/*", answer)
    put(page, films / "party.mp4")
    page.locator("#doing", has_text="Frame 3 of 6").wait_for()
    assert page.get_attribute(".thumb", "aria-label") == "party.mp4, Frame 3 of 6"
    state.clear()  # from here what the server says; taking the route away would race with an answer
    page.wait_for_selector("#movie:not([hidden])")


def test_another_look_takes_another_film(page, films):
    job = restored(page, films / "party.mp4")
    assert page.inner_text("#w-value") == "w = 0.70"
    assert page.is_disabled("#remake-go")
    page.get_by_role("button", name="Faithful").click()
    with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
        page.get_by_role("button", name="Restore again with this look").click()
    again = posted.value.json()
    assert (again["w"], again["id"] != job) == (1, True)
    wait(page, f"document.getElementById('movie-after').src.includes({again['id']!r})")
    assert page.is_disabled("#remake-go")


def test_after_a_reload_the_restored_film_is_left(page, films):
    restored(page, films / "party.mp4")
    page.reload()
    page.wait_for_selector("#movie-alone:not([hidden])")
    assert page.is_hidden("#movie-slider")
    assert "choose that once more" in page.inner_text("#under")
    assert page.is_disabled("#w")
    wait(page, "document.getElementById('movie-alone').readyState >= 2")


def test_a_film_that_the_browser_cannot_play_comes_out_all_the_same(page, films):
    restored(page, films / "party.avi")
    page.wait_for_selector("#movie-alone:not([hidden])")
    assert "cannot play the film as it was" in page.inner_text("#under")
    wait(page, "document.getElementById('movie-alone').readyState >= 2")


def test_a_photo_after_a_film_is_shown_as_ever(page, films):
    restored(page, films / "party.mp4")
    put(page, PORTRAIT)
    page.wait_for_selector("#frame.comparing")
    assert page.is_hidden("#movie")
    page.locator(".thumb").first.click()
    page.wait_for_selector("#movie:not([hidden])")
    assert page.is_hidden("#frame")


def test_what_is_no_film_is_refused_with_a_reason(page, films):
    put(page, films / "broken.mp4")
    page.get_by_role("heading", name="This is not a film we can restore").wait_for()
    assert "MP4, MOV" in page.inner_text("#problem-fix")
    assert page.inner_text("#problem-detail").startswith("broken.mp4: ")
    page.click("#language")
    assert "동영상을 선택해" in page.inner_text("#problem-fix")
    assert [line for line in page.problems if "415" not in line] == []
    page.problems.clear()

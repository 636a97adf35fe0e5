"""A face that was missed is added by hand."""

import io

import pytest
from page_helpers import photo, put, restored, wait_done
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("by", ["mouse", "keys"])
def test_a_face_that_was_missed_is_added_by_hand(page, server, by):
    buffer = io.BytesIO()
    Image.new("RGB", (400, 300), (120, 90, 60)).save(buffer, "png")
    put(page, photo(buffer.getvalue(), "hard.png", "image/png"))
    wait_done(page)
    page.get_by_role("button", name="Add a face that was missed").click()
    assert "Draw a box" in page.inner_text("#under")
    box = page.locator("#frame").bounding_box()
    with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
        if by == "mouse":
            page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25)
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.75, steps=3)
            page.mouse.up()
            page.get_by_role("button", name="Restore this face").click()
        else:
            for key in ("ArrowLeft", "Shift+ArrowRight", "Shift+ArrowDown", "Enter"):
                page.keyboard.press(key)
            assert page.evaluate("document.activeElement.className") == "thumb"
    page.get_by_text("1 face restored", exact=True).wait_for()
    (face,) = server.client.get(f"/api/jobs/{posted.value.json()['id']}").json()["faces"]
    assert face["box"] == pytest.approx(
        [100, 75, 200, 225] if by == "mouse" else [147, 90, 245, 216], abs=1.5
    )


def test_a_box_that_is_moved_to_the_edge_keeps_its_size(page):
    restored(page)
    page.get_by_role("button", name="Add a face that was missed").click()
    before = box_of(page)
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"):
        for _ in range(40):
            page.keyboard.press(key)
    left, top, width, height = box_of(page)
    assert [width, height] == pytest.approx(before[2:])
    assert [left, top] == pytest.approx([width / 2, height / 2])


def box_of(page):
    """Middle and size of the box, percent of the picture."""
    names = ("left", "top", "width", "height")
    return [
        float(page.evaluate(f"document.getElementById('box').style.{name}").rstrip("%")) for name in names
    ]

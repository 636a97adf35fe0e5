import numpy as np
import pytest

from facemend.errors import ConfigError
from facemend.imaging import Picture
from facemend.photo import compare
from facemend.photo.compare import GAP, before_after, contact_sheet


def flat(value, height=60, width=80):
    return np.full((height, width, 3), value, np.float32)


def test_before_and_after_lie_side_by_side_at_the_size_of_the_second():
    before = Picture.from_array(flat(0.2, 30, 40))
    after = Picture.from_array(flat(0.8))
    sheet = before_after(before, after)
    assert sheet.width == 2 * 80 + 3 * GAP
    bottom = sheet.height - GAP - 30
    assert np.all(sheet.pixels[bottom, GAP + 40] == 51)
    assert np.all(sheet.pixels[bottom, 2 * GAP + 80 + 40] == 204)
    assert np.all(sheet.pixels[bottom, GAP // 2] == 255)


def test_labels_are_drawn():
    blank = contact_sheet([flat(1.0)], [""])
    labelled = contact_sheet([flat(1.0)], ["w = 0"])
    assert (labelled.pixels < 128).any()
    assert (blank.pixels == 255).all()


def test_rows_and_columns():
    sheet = contact_sheet([flat(v / 10) for v in range(5)], [str(v) for v in range(5)], columns=2)
    assert sheet.width == 2 * 80 + 3 * GAP
    cell = (sheet.height - GAP) // 3
    for number in range(5):
        row, column = divmod(number, 2)
        pixel = sheet.pixels[(row + 1) * cell - GAP - 5, GAP + column * (80 + GAP) + 40]
        assert np.all(pixel == round(255 * number / 10))


def test_large_cells_are_shrunk(monkeypatch):
    monkeypatch.setattr(compare, "MAX_SIDE", 50)
    picture = Picture.from_array(flat(0.5, 100, 200))
    assert before_after(picture, picture).width == 2 * 50 + 3 * GAP


@pytest.mark.parametrize(
    ("images", "labels"),
    [([], []), ([flat(0), flat(0, 61)], ["a", "b"]), ([flat(0)], ["a", "b"])],
)
def test_wrong_sheets(images, labels):
    with pytest.raises(ConfigError):
        contact_sheet(images, labels)

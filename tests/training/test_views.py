"""Where discriminators look: shapes, places, draws."""

import pytest
import torch
from torch.nn import functional as F

from facemend.faces.template import TEMPLATE
from facemend.training.views import draw_look


def look(view, side, seed=0):
    return draw_look(view, (side, side), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("side", "window"), [(64, 32), (256, 128), (512, 256), (1024, 256)])
def test_shapes(side, window):
    image = torch.zeros(2, 3, side, side)
    shapes = {view: look(view, side)(image).shape[2:] for view in ("whole", "half", "window", "features")}
    assert shapes == {
        "whole": (side, side),
        "half": (side // 2, side // 2),
        "window": (window, window),
        "features": (window, window),
    }


def test_whole_and_half_are_the_picture_and_its_area_average():
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(look("whole", 64)(image), image)
    half = look("half", 64)(image)
    torch.testing.assert_close(half, F.interpolate(image, scale_factor=0.5, mode="area"))


def test_a_place_is_the_same_for_every_picture_and_drawn_from_the_generator():
    places = torch.arange(512 * 512).view(1, 1, 512, 512)
    for view in ("window", "features"):
        one = look(view, 512, 7)
        assert torch.equal(one(places), one(places))
        assert torch.equal(one(places), look(view, 512, 7)(places))
        assert len({int(look(view, 512, seed)(places)[0, 0, 0, 0]) for seed in range(10)}) > 5


def test_windows_go_everywhere_and_those_on_features_hold_eyes_and_mouth():
    points = TEMPLATE * 512
    starts = []
    for seed in range(300):
        anywhere, features = look("window", 512, seed), look("features", 512, seed)
        starts.append((anywhere.rows.start, anywhere.columns.start))
        assert (points[:, 1] > features.rows.start).all()
        assert (points[:, 1] < features.rows.stop).all()
        assert (points[:, 0] > features.columns.start).all()
        assert (points[:, 0] < features.columns.stop).all()
    rows, columns = zip(*starts, strict=True)
    for values in (rows, columns):
        # The outermost pixels are looked at half as often as the middle, not in one window of 257.
        assert min(values) == 0
        assert max(values) == 256
        assert 50 < values.count(0) < 100
        assert 50 < values.count(256) < 100


@pytest.mark.parametrize("view", ["whole", "half"])
def test_nothing_is_drawn_for_a_view_of_all(view):
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    draw_look(view, (64, 64), generator)
    assert torch.equal(generator.get_state(), before)

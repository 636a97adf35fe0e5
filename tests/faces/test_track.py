"""Matching, the One-Euro filter, motion between frames and cuts, against closed forms."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemend.faces.motion import is_cut, motion, thumbnail
from facemend.faces.track import OneEuro, Smoothed, iou, match, moved, share, smooth
from facemend.faces.warp import compose, invert, transform
from facemend.types import Box, Face

SLOW = OneEuro(least=1.0, slope=0.0)


def turn(degrees, scale=1.0, shift=(0.0, 0.0), about=(80.0, 60.0)):
    a = np.radians(degrees)
    linear = scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return np.column_stack([linear, np.array(about) + shift - linear @ np.array(about)])


def blobs(rng, height=120, width=160):
    base = cv2.GaussianBlur(rng.random((height, width)), (0, 0), 2)
    return (255 * (base - base.min()) / np.ptp(base)).astype(np.uint8)


def test_iou_of_known_boxes():
    box = Box(0, 0, 10, 10)
    others = [box, Box(5, 0, 15, 10), Box(20, 20, 30, 30), Box(0, 0, 5, 10), Box(3, 3, 3, 3)]
    assert iou([box], others)[0] == pytest.approx([1, 1 / 3, 0, 0.5, 0])
    assert iou([], others).shape == (0, 5)


def test_match_takes_the_largest_overlaps_and_each_box_once():
    known = [Box(0, 0, 10, 10), Box(4, 0, 14, 10)]
    found = [Box(3, 0, 13, 10), Box(100, 0, 110, 10)]
    assert match(known, found, 0.3) == [(1, 0)]
    assert match(known, [*found, Box(1, 0, 11, 10)], 0.3) == [(0, 2), (1, 0)]
    assert match([], found, 0.3) == []


corner = st.integers(0, 30)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(corner, corner), max_size=4), st.lists(st.tuples(corner, corner), max_size=4))
def test_match_is_greedy_by_brute_force(a, b):
    known, found = ([Box(x, y, x + 10, y + 10) for x, y in boxes] for boxes in (a, b))
    overlap, free, wanted = iou(known, found), set(itertools.product(range(len(a)), range(len(b)))), []
    while free:
        best = max(sorted(free), key=lambda pair: overlap[pair])
        if overlap[best] < 0.3:
            break
        wanted.append(best)
        free = {pair for pair in free if pair[0] != best[0] and pair[1] != best[1]}
    assert match(known, found, 0.3) == wanted


def test_share_is_that_of_a_first_order_low_pass():
    # An RC low-pass of time constant 1 / (2 pi f), stepped implicitly.
    tau, dt = 1 / (2 * np.pi * 3.0), 0.04
    assert share(3.0, dt) == pytest.approx(dt / (tau + dt))


def test_a_filter_at_rest_follows_a_step_geometrically():
    state, target = Smoothed.at(np.zeros((5, 2))), np.full((5, 2), 10.0)
    follow = share(SLOW.least, 0.04)
    for n in range(1, 20):
        state = smooth(state, target, 0.04, SLOW)
        assert state.points == pytest.approx(10 * (1 - (1 - follow) ** n))


def test_what_stands_still_stays_and_noise_shrinks_as_the_formula_says(rng):
    state = Smoothed.at(np.full((5, 2), 7.0))
    assert smooth(state, state.points, 0.04, OneEuro(1, 1)).points == pytest.approx(7)
    track = []
    for _ in range(4000):
        state = smooth(state, 7 + rng.standard_normal((5, 2)), 0.04, SLOW)
        track.append(state.points)
    a = share(SLOW.least, 0.04)
    assert np.std(track[100:]) == pytest.approx(np.sqrt(a / (2 - a)), rel=0.05)


def test_speed_opens_the_filter_and_the_unit_scales_it():
    def lag(settings, unit=1.0):
        state = Smoothed.at(np.zeros((5, 2)))
        for n in range(1, 60):
            state = smooth(state, np.full((5, 2), 4.0 * n), 0.04, settings, unit)
        return 4.0 * 59 - state.points[0, 0]

    slow, quick = lag(OneEuro(0.7, 0)), lag(OneEuro(0.7, 0.5))
    assert quick < slow / 5
    assert lag(OneEuro(0.7, 0.5), unit=100.0) == pytest.approx(lag(OneEuro(0.7, 0.005)))


def test_moved_carries_landmarks_and_box():
    face = Face(Box(60, 40, 100, 80), np.array([[70, 50], [90, 50], [80, 60], [72, 70], [88, 70.0]]), 0.9)
    matrix = turn(30, 2.0, (3, -4))
    there = moved(face, matrix)
    assert there.landmarks == pytest.approx(transform(matrix, face.landmarks), abs=1e-4)
    assert (there.box.width, there.box.height) == pytest.approx((80, 80))
    middle = ((there.box.x1 + there.box.x2) / 2, (there.box.y1 + there.box.y2) / 2)
    assert middle == pytest.approx(tuple(transform(matrix, np.array([[80.0, 60.0]]))[0]))


@pytest.mark.parametrize("box", [Box(50, 30, 110, 90), Box(2, 2, 150, 115)])
def test_motion_finds_a_known_similarity(rng, box):
    frame = blobs(rng)
    for matrix in (turn(0, 1, (2.3, -1.6)), turn(3), turn(-2, 1.03, (1, 1))):
        after = cv2.warpAffine(
            frame, matrix, (160, 120), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        found = motion(frame, after, box)
        points = np.array([(box.x1, box.y1), (box.x2, box.y1), (box.x2, box.y2), (80, 60)])
        assert np.abs(transform(found, points) - transform(matrix, points)).max() < 0.3
        assert motion(frame, after, box) == pytest.approx(found, abs=0)  # the same in every run


def test_motion_there_and_back_is_none(rng):
    frame = blobs(rng)
    after = cv2.warpAffine(frame, turn(2), (160, 120), borderMode=cv2.BORDER_REFLECT)
    box = Box(40, 20, 120, 100)
    both = compose(motion(after, frame, box), motion(frame, after, box))
    assert both == pytest.approx(np.array([[1, 0, 0], [0, 1, 0.0]]), abs=0.1)
    assert compose(both, invert(both)) == pytest.approx(np.eye(2, 3), abs=1e-9)


def test_motion_is_none_where_nothing_can_be_followed(rng):
    box = Box(50, 30, 110, 90)
    assert motion(blobs(rng), blobs(np.random.default_rng(9)), box) is None
    assert motion(blobs(rng), blobs(rng), Box(400, 400, 450, 450)) is None


def change(before, after):
    return float(np.abs(thumbnail(after) - thumbnail(before)).mean())


def test_a_cut_stands_out(rng):
    wide = cv2.GaussianBlur(rng.random((120, 400)), (0, 0), 25)
    wide = (255 * (wide - wide.min()) / np.ptp(wide)).astype(np.uint8)
    pan = [wide[:, i : i + 160] for i in (0, 3, 6)]
    usual = change(pan[0], pan[1])
    assert not is_cut(change(pan[1], pan[2]), usual)
    assert is_cut(change(pan[2], 255 - pan[2]), usual)
    assert not is_cut(0.2, usual=0.15)  # where every frame changes that much

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemend.errors import ConfigError
from facemend.faces.select import plausible, select
from facemend.faces.template import template_points
from facemend.types import Box, Face


def face(x: float, y: float, side: float) -> Face:
    points = (template_points(100) / 100 * side + (x, y)).astype(np.float32)
    return Face(Box(x, y, x + side, y + side), points, 1.0)


FACES = [face(0, 0, 10), face(40, 40, 20), face(70, 70, 30)]


def test_selection() -> None:
    size = (101, 101)
    assert select(FACES, "all", size=size) == FACES
    assert select(FACES, "largest", size=size) == [FACES[2]]
    assert select(FACES, "center", size=size) == [FACES[1]]
    assert select([], "largest", size=size) == []


def test_unknown_selection() -> None:
    with pytest.raises(ConfigError, match="largest"):
        select(FACES, "smallest", size=(9, 9))  # type: ignore[arg-type]


@given(st.floats(-np.pi, np.pi), st.floats(0.05, 20), st.floats(-100, 100))
def test_the_template_is_a_face_at_any_turn_and_size(angle: float, scale: float, shift: float) -> None:
    points = template_points(100) - 50
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert plausible((points @ turn.T * scale + shift).astype(np.float32))


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p[[0, 1, 2, 4, 3]],  # mouth corners swapped
        lambda p: p[[3, 4, 2, 0, 1]],  # mouth above the eyes
        lambda p: p[[1, 0, 2, 3, 4]],  # eyes swapped
        lambda p: p * (1, 0.2),  # squashed
        lambda p: p * (0.2, 1),
        lambda p: np.vstack([p[:2], np.add(p[3:4], (0, 60)), p[3:]]),  # nose below the mouth
        lambda p: p * 0,
        lambda p: p * np.nan,
    ],
)
def test_what_is_no_face(change) -> None:  # type: ignore[no-untyped-def]
    assert not plausible(change(template_points(100)).astype(np.float32))

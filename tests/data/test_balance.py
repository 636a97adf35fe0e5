"""Sampling weights from a table of pictures."""

import numpy as np
import pytest

from facemend.data.balance import weighted
from facemend.data.faces import FaceSet
from facemend.errors import ConfigError, InputError

TABLE = """folder,file,source,yaw
a,front.png,studio,0.05
a,left.png,web,-0.7
a,half.png,web,0.25
a,unknown.png,studio,
b,other.png,elsewhere,0.9
"""
NAMES = ("a/front.png", "a/left.png", "a/half.png", "a/unknown.png", "a/missing.png")


@pytest.fixture
def faces():
    picture = np.zeros((8, 8, 3), np.uint8)
    return FaceSet(NAMES, (picture,) * 5, np.array([1.0, 1.0, 1.0, 0.5, 1.0]))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(TABLE)
    return path


def test_turned_faces_weigh_more(faces, table):
    found = weighted(faces, table, 3.0, {})
    np.testing.assert_allclose(found.weights, [1, 3, 2, 0.5, 1])
    assert found.names == faces.names
    np.testing.assert_allclose(faces.weights, [1, 1, 1, 0.5, 1])


def test_sources_multiply(faces, table):
    found = weighted(faces, table, 3.0, {"web": 2.0, "studio": 0.0})
    np.testing.assert_allclose(found.weights, [0, 6, 4, 0, 1])


def test_unknown_source_and_no_picture_left(faces, table):
    with pytest.raises(ConfigError, match="no picture of wbe in"):
        weighted(faces, table, 1.0, {"wbe": 2.0})
    only = FaceSet(NAMES[:1], faces.pictures[:1], np.ones(1))
    with pytest.raises(ConfigError, match="weight 0"):
        weighted(only, table, 1.0, {"studio": 0.0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,yaw\nfront.png,0\n", "columns folder and file"),
        ("folder,file\nz,front.png\n", "none of its rows"),
        (TABLE.replace("-0.7", "left"), "yaw of a/left.png is not a number: 'left'"),
        ("", "columns folder and file"),
    ],
)
def test_tables_that_do_not_fit_are_named(text, message, faces, table):
    table.write_text(text)
    with pytest.raises(InputError, match=message):
        weighted(faces, table, 2.0, {})


def test_a_missing_table_is_named(faces, tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv: cannot read"):
        weighted(faces, tmp_path / "nowhere.csv", 2.0, {})

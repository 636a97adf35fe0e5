"""Sampling weights from a table of pictures."""

from pathlib import Path

import numpy as np
import pytest

from facemend.data.balance import weighted
from facemend.data.face_cache import FaceCache
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


def named(names, weights):
    files = tuple(Path(name) for name in names)  # only their names count
    return FaceSet(tuple(names), files, np.full(len(names), 8), np.array(weights), 8, FaceCache(0))


@pytest.fixture
def faces():
    return named(NAMES, [1.0, 1.0, 1.0, 0.5, 1.0])


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(TABLE)
    return path


def test_turned_faces_weigh_more_and_sources_multiply(faces, table):
    found = weighted(faces, table, 3.0, {})
    np.testing.assert_allclose(found.weights, [1, 3, 2, 0.5, 1])
    assert found.names == faces.names
    np.testing.assert_allclose(faces.weights, [1, 1, 1, 0.5, 1])
    found = weighted(faces, table, 3.0, {"web": 2.0, "studio": 0.0})
    np.testing.assert_allclose(found.weights, [0, 6, 4, 0, 1])


def test_unknown_source_and_no_picture_left(faces, table):
    with pytest.raises(ConfigError, match=r"no row of wbe in .*; its sources: elsewhere, studio, web$"):
        weighted(faces, table, 1.0, {"wbe": 2.0, "web": 1.0})
    with pytest.raises(ConfigError, match="weight 0"):
        weighted(faces.part([0]), table, 1.0, {"studio": 0.0})
    # One that the table knows may be missing among the pictures: a few of them, or another folder.
    np.testing.assert_allclose(weighted(faces, table, 1.0, {"elsewhere": 2.0}).weights, faces.weights)


def test_the_same_picture_in_another_folder(table):
    """A row is found by its file where its folder is another, unless two rows have that file."""
    with table.open("a") as file:
        file.write("c,left.png,studio,0.9\n")
    faces = named(
        ["large/half.png", "large/left.png", "a/left.png", "c/left.png", "large/new.png"], [1.0] * 5
    )
    found = weighted(faces, table, 3.0, {"web": 10.0, "studio": 0.5})
    np.testing.assert_allclose(found.weights, [20, 1, 30, 1.5, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,yaw\nfront.png,0\n", "no column 'folder'"),
        ("folder,file\na,nobody.png\n", "none of its rows"),
        (TABLE.replace("-0.7", "left"), "yaw of a/left.png is not a number: 'left'"),
        (TABLE.replace("-0.7", "nan"), "yaw of a/left.png is not a number: 'nan'"),
        ("", "no column 'folder'"),
    ],
)
def test_tables_that_do_not_fit_are_named(text, message, faces, table):
    table.write_text(text)
    with pytest.raises(InputError, match=message):
        weighted(faces, table, 2.0, {})
    with pytest.raises(InputError, match=r"nowhere\.csv: cannot be read"):
        weighted(faces, table.with_name("nowhere.csv"), 2.0, {})

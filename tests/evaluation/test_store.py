import os

import pytest

from facemend.errors import OutputError
from facemend.evaluation.store import FILE, Store, canonical

RUN = {"faces": ["a"], "w": 0.5}
ROWS = {"a.png": {"lpips": 0.1 + 0.2, "psnr": None}, "b.png": {"lpips": 1e-300, "psnr": 12345.678901234567}}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path, RUN)
    for name, row in ROWS.items():
        store.add(name, row)
    return store


def test_what_was_added_comes_back_exactly_and_anything_that_differs_makes_another_run(store, tmp_path):
    assert Store(tmp_path, dict(reversed(RUN.items()))).done == store.done == ROWS
    for other in (RUN | {"w": 0.25}, RUN | {"faces": ["a", "b"]}, {}):
        with pytest.raises(OutputError, match="another evaluation"):
            Store(tmp_path, other)
    assert Store(tmp_path, RUN, overwrite=True).done == ROWS  # the same run is never thrown away


def test_each_case_is_on_the_disk_before_the_next(tmp_path, monkeypatch):
    synced = []

    def fsync(number):
        synced.append((tmp_path / FILE).read_text().count("\n"))

    monkeypatch.setattr(os, "fsync", fsync)
    store = Store(tmp_path, RUN)
    store.add("a", {"x": 1})
    store.add("b", {"x": 2})
    assert synced == [2, 3]  # the head, and every case so far


def test_a_line_that_was_cut_off_is_forgotten(store, tmp_path):
    path = tmp_path / FILE
    whole = path.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    for end in (last, last + 1, (last + len(whole)) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        again = Store(tmp_path, RUN)
        assert list(again.done) == ["a.png"]
        again.add("b.png", ROWS["b.png"])
        assert path.read_bytes() == whole


@pytest.mark.parametrize("damage", [b"{", b"[1]", b"\xff\xfe", b'{"name": "x"}', b""])
def test_what_follows_a_damaged_line_is_measured_again(store, tmp_path, damage):
    path = tmp_path / FILE
    lines = path.read_bytes().split(b"\n")
    lines[1] = damage
    path.write_bytes(b"\n".join(lines))
    assert Store(tmp_path, RUN).done == {}
    assert path.read_bytes() == lines[0] + b"\n"


@pytest.mark.parametrize("text", [b'{"run": "0"}\n', b"something else\n", b"no line feed"])
def test_another_run_is_refused_and_kept_until_it_may_be_replaced(tmp_path, text):
    path = tmp_path / FILE
    path.write_bytes(text)
    with pytest.raises(OutputError, match="holds another evaluation") as caught:
        Store(tmp_path, RUN)
    assert str(tmp_path) in str(caught.value)
    assert path.read_bytes() == text
    assert Store(tmp_path, RUN, overwrite=True).done == {}
    assert Store(tmp_path, RUN).done == {}


def test_folders_that_cannot_be_used_are_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: cannot be used"):
        Store(tmp_path / "file", RUN)
    store = Store(tmp_path / "gone", RUN)
    store.path.unlink()
    store.path.parent.rmdir()
    with pytest.raises(OutputError, match="cannot be written"):
        store.add("a", {})


def test_text_is_the_same_for_equal_values_and_never_nan():
    assert canonical({"b": 1, "a": [0.1]}) == canonical({"a": [0.1], "b": 1}) == '{"a": [0.1], "b": 1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical({"a": float("nan")})

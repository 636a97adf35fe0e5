"""Names and files of uploads: what a client says is never a path."""

import os
import tempfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemend.errors import ConfigError, OutputError
from facemend.server.store import JobStore, temporary_store
from facemend.server.uploads import attachment, display_name


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\me\\a b.png", "a b.png"),
        ("할머니.jpg", "할머니.jpg"),
        ("a\r\nSet-Cookie: x.jpg", "aSet-Cookie: x.jpg"),
        ("\u202egpj.exe", "gpj.exe"),
        ("..", "photo"),
        ("", "photo"),
        (None, "photo"),
        ("/", "photo"),
        (".htaccess", "htaccess"),
        ("x" * 300 + ".jpeg", "x" * 100 + ".jpeg"),
    ],
)
def test_names_are_shown_without_their_path(given, shown):
    assert display_name(given) == shown


@given(st.text(max_size=400))
def test_no_name_can_do_harm(given):
    shown = display_name(given)
    assert 0 < len(shown) <= 110
    assert not set(shown) & set("/\\\r\n\0\t")
    assert shown.isprintable()
    assert not shown.startswith(".")
    header = attachment(shown)
    assert header.isascii()
    assert header.isprintable()
    header.encode("latin-1")


def test_names_in_other_alphabets_reach_the_browser():
    assert attachment("a_restored.jpg") == 'attachment; filename="a_restored.jpg"'
    assert attachment('a"b.jpg') == "attachment; filename*=UTF-8''a%22b.jpg"
    assert attachment("é.jpg") == "attachment; filename*=UTF-8''%C3%A9.jpg"


def test_folders_of_no_job_are_deleted_once_they_are_old(tmp_path):
    store = JobStore(tmp_path)
    for job in ("known", "old", "new"):
        store.make(job)
        store.input(job).write_bytes(b"x")
    long_ago = time.time() - 3600
    for job in ("known", "old"):
        os.utime(store.input(job).parent, (long_ago, long_ago))
    store.remove_orphans({"known"})
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == ["known", "new"]


def test_temporary_stores_of_killed_servers_go_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed = tmp_path / "facemend-serve-killed"
    (killed / "jobs").mkdir(parents=True)
    (killed / "lock").touch()
    (tmp_path / "facemend-serve-file").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "facemend-serve-link").symlink_to(tmp_path / "elsewhere")
    others = {"facemend-serve-file", "elsewhere", "facemend-serve-link"}
    with temporary_store() as first:
        (first / "photo").touch()
        with temporary_store() as second:
            assert {path.name for path in tmp_path.iterdir()} == {*others, first.name, second.name}
            assert (first / "photo").exists()
    assert {path.name for path in tmp_path.iterdir()} == others
    with pytest.raises(OSError, match="mine"), temporary_store():
        raise OSError("mine")


def test_the_store_is_for_this_user_alone(tmp_path):
    JobStore(tmp_path / "store").make("a")
    for folder in (tmp_path / "store", tmp_path / "store/jobs", tmp_path / "store/jobs/a"):
        assert folder.stat().st_mode & 0o077 == 0


def test_a_full_disk_and_a_file_in_the_way_are_told(tmp_path, monkeypatch):
    store = JobStore(tmp_path / "store")
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage())
    with pytest.raises(OutputError, match="disk is full"):
        store.make("a")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used as a store"):
        JobStore(tmp_path / "file")


class _Usage:
    free = 1000

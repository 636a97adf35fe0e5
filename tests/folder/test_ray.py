"""What a worker of a cluster does, and what the driver plans; without a cluster."""

import json
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

from facemend.errors import BackendError, ConfigError, InputError
from facemend.folder import ray as cluster
from facemend.folder.ray import Cluster, PhotoWorker, plan_cluster
from facemend.folder.records import Stamp
from facemend.folder.urls import UrlStore, as_url
from facemend.imaging import read_picture, write_picture
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import Restorer
from picture_files import file_with_secrets, secrets_in


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    """Makes the URL of a folder: on the disk, or in an object store of this process."""
    if request.param == "folder":
        return lambda name: str(tmp_path / name)
    files = fsspec.filesystem("memory")
    files.store.clear()
    return lambda name: f"memory://{name}"


@pytest.fixture
def photos(place, portrait, tmp_path):
    """Three photos, one in a folder below and without a face, one that is none; and a text."""
    store = UrlStore(place("in"))
    for name, picture in (
        ("a.jpg", portrait),
        ("sub/b.png", portrait.with_pixels(np.full((40, 50, 3), 0.5, np.float32))),
        ("sub/c.webp", portrait),
    ):
        path = tmp_path / f"made{Path(name).suffix}"
        write_picture(path, picture)
        store.write(name, path.read_bytes())
    store.write("z.jpg", b"none")
    store.write("notes.txt", b"hello")
    return place("in")


@pytest.fixture
def options(tiny_model):
    return RestoreOptions(model=str(tiny_model), threads=1)


def work(photos, output, options, *, overwrite=False, w=0.5):
    rows, _ = plan_cluster(photos, output)
    columns = {
        name: np.array([row[name] for row in rows]) for name in ("source", "output")
    }  # as Ray gives them
    worker = PhotoWorker(photos, output, options, {"w": w}, overwrite=overwrite)
    return {Path(report["source"]).name: report for report in map(json.loads, worker(columns)["report"])}


def test_the_plan_keeps_the_tree(photos, place):
    rows, ignored = plan_cluster(photos, place("out"))
    assert [row["source"] for row in rows] == ["a.jpg", "sub/b.png", "sub/c.webp", "z.jpg"]
    assert [row["output"] for row in rows] == ["a.jpg", "sub/b.png", "sub/c.webp", "z.jpg"]
    assert ignored == ["notes.txt"]


def test_plans_that_would_lose_something(photos, place):
    for output in (photos, f"{photos}/sub/out"):
        with pytest.raises(ConfigError, match="lies in the folder of photos"):
            plan_cluster(photos, output)
    plan_cluster(photos, f"{photos}-2")
    UrlStore(photos).write("a.gif", b"x")
    UrlStore(photos).write("a.png", b"x")
    with pytest.raises(ConfigError, match=r"a\.gif and a\.png would both become a\.png"):
        plan_cluster(photos, place("out"))


def test_no_photo_is_an_output_and_what_systems_leave_is_no_photo(tmp_path):
    names = ["in/z.png", "z.png", "._z.png", "@eaDir/z.png"]
    for name in names:
        path = tmp_path / "out/in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"out/in/z\.png: is an input and would be overwritten"):
        plan_cluster(str(tmp_path / "out/in"), str(tmp_path / "out"))
    rows, ignored = plan_cluster(str(tmp_path / "out/in"), str(tmp_path / "made"))
    assert [row["source"] for row in rows] == ["in/z.png", "z.png"]
    assert ignored == []


def test_folders_that_are_not_there(place):
    with pytest.raises(InputError, match="no such folder"):
        plan_cluster(place("nothing"), place("out"))
    UrlStore(place("in")).write("a.jpg", b"photo")
    with pytest.raises(InputError, match=r"a\.jpg: is a file: give its folder"):
        plan_cluster(place("in") + "/a.jpg", place("out"))
    with pytest.raises(ConfigError, match="nonsense"):
        UrlStore("nonsense://bucket/in")


def test_a_batch(photos, place, options, portrait, tmp_path):
    reports = work(photos, place("out"), options)
    assert {name: report["error"] is None for name, report in reports.items()} == {
        "a.jpg": True, "b.png": True, "c.webp": True, "z.jpg": False,
    }  # fmt: skip
    assert f"{photos}/z.jpg: not a picture" in reports["z.jpg"]["error"]
    assert reports["a.jpg"]["source"] == f"{photos}/a.jpg"
    assert len(reports["a.jpg"]["faces"]) == 1
    assert "no face found" in reports["b.png"]["notes"][0]
    data = UrlStore(place("out")).read("a.jpg", 10**7)
    before = UrlStore(photos).read("a.jpg", 10**7)
    expected = Restorer(options).restore(read_picture(before)).picture
    write_picture(tmp_path / "expected.jpg", expected)
    assert data == (tmp_path / "expected.jpg").read_bytes()  # as one by one
    assert UrlStore(place("out")).stamp("z.jpg") is None


def test_a_photo_without_a_face_is_copied(photos, place, options, portrait, tmp_path):
    flat = tmp_path / "flat.jpg"
    write_picture(flat, portrait.with_pixels(np.full((40, 50, 3), 0.5, np.float32)))
    UrlStore(photos).write("flat.jpg", flat.read_bytes() + b"rest")
    report = work(photos, place("out"), options)["flat.jpg"]
    assert UrlStore(place("out")).read("flat.jpg", 10**6) == flat.read_bytes() + b"rest"
    assert "no face found" in report["notes"][0]


def test_what_is_replaced_counts_as_done_once_it_is(photos, place, options, monkeypatch):
    work(photos, place("out"), options)
    write = UrlStore.write

    def full(self, path, data):
        if path.startswith(".facemend"):
            write(self, path, data)
        else:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(UrlStore, "write", full)
    failed = work(photos, place("out"), options, w=0.7, overwrite=True)
    assert all(failed[name]["error"] for name in ("a.jpg", "b.png", "c.webp"))
    monkeypatch.undo()
    again = work(photos, place("out"), options, w=0.7, overwrite=True)
    assert not any(again[name]["done_before"] for name in ("a.jpg", "b.png", "c.webp"))


def test_metadata_can_be_left_out(photos, place, options, portrait):
    UrlStore(photos).write("a.jpg", file_with_secrets("jpeg", portrait.pixels))
    for strip in (False, True):
        out = place(f"out{strip}")
        work(photos, out, replace(options, strip_metadata=strip))
        assert bool(secrets_in(UrlStore(out).read("a.jpg", 10**7))) != strip


def test_a_batch_that_is_tried_again_does_only_what_is_missing(photos, place, options):
    first = work(photos, place("out"), options)
    store = UrlStore(place("out"))
    stamps = {name: store.stamp(name) for name in ("a.jpg", "sub/b.png")}
    store._files.rm(store._full("sub/c.webp"))  # as if killed before it was written
    again = work(photos, place("out"), options)
    assert [again[name]["done_before"] for name in ("a.jpg", "b.png", "c.webp")] == [True, True, False]
    assert again["a.jpg"]["faces"] == first["a.jpg"]["faces"]
    assert {name: store.stamp(name) for name in stamps} == stamps
    assert store.stamp("sub/c.webp") is not None


def test_what_no_record_explains_is_left_alone(photos, place, options):
    store = UrlStore(place("out"))
    store.write("a.jpg", b"mine")
    assert "a.jpg: exists already" in work(photos, place("out"), options)["a.jpg"]["error"]
    assert store.read("a.jpg", 10) == b"mine"
    assert work(photos, place("out"), options, overwrite=True)["a.jpg"]["error"] is None
    other = work(photos, place("out"), options, w=0.7)
    assert all(other[name]["other_options"] == "w 0.5, now 0.7" for name in ("a.jpg", "b.png", "c.webp"))
    assert work(photos, place("out"), options, w=0.7, overwrite=True)["a.jpg"]["error"] is None


def test_restored_photos_are_an_input_like_others(photos, place, options):
    work(photos, place("out"), options)
    UrlStore(place("out")).write("facemend.jsonl", b"{}\n")
    rows, ignored = plan_cluster(place("out"), place("again"))
    assert len(rows) == 3
    assert ignored == []


def test_one_photo_too_large_spares_the_others_of_its_batch(photos, place, tiny_model, portrait):
    small = RestoreOptions(model=str(tiny_model), threads=1, max_pixels=3000)
    reports = work(photos, place("out"), small)
    assert "over the limit" in reports["a.jpg"]["error"]
    assert reports["b.png"]["error"] is None


def test_a_photo_that_vanishes_is_one_photos_error(photos, place, options, monkeypatch):
    rows = {"source": ["gone.jpg", "a.jpg"], "output": ["gone.jpg", "a.jpg"]}
    worker = PhotoWorker(photos, place("out"), options, "digest", overwrite=False)
    gone, there = map(json.loads, worker(rows)["report"])
    assert "gone.jpg: no such file" in gone["error"]
    assert there["error"] is None


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("s3://bucket/in", "s3://bucket/in"),
        ("gs://bucket", "gs://bucket"),
        ("file:///srv/in", "file:///srv/in"),
        ("/srv/in", "/srv/in"),
        ("in:out/x", "in:out/x"),
        ("c:/photos", "c:/photos"),
    ],
)
def test_paths_that_are_urls(given, url):
    assert as_url(Path(given)) == url


def test_folders_of_this_machine_are_known_by_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in (str(tmp_path / "out"), "out", as_url(Path(f"file://{tmp_path}/out"))):
        assert UrlStore(url).folder == tmp_path / "out"
    assert UrlStore("memory://out").folder is None


def test_too_large_a_file_is_not_read(place):
    store = UrlStore(place("in"))
    store.write("x", b"12345")
    assert store.read("x", 5) == b"12345"
    with pytest.raises(OSError, match="more than"):
        store.read("x", 4)


class FakeRay:
    def __init__(self, **resources):
        self.cluster_resources = lambda: resources


def test_room_for_workers():
    needs = {"num_cpus": 2, "num_gpus": 0}
    assert cluster._room(FakeRay(CPU=9.0), needs) == 4
    assert cluster._room(FakeRay(CPU=64.0, GPU=3.0), {"num_cpus": 1, "num_gpus": 1}) == 3
    with pytest.raises(BackendError, match="no room for a worker"):
        cluster._room(FakeRay(CPU=64.0), {"num_cpus": 1, "num_gpus": 1})
    assert Cluster(device="cuda").on_gpu
    assert not Cluster(device="openvino").on_gpu


def test_stamps_are_of_what_the_store_tells():
    assert UrlStore("memory://x").stamp("none") is None
    from facemend.folder.urls import _stamp

    assert _stamp({"size": 3, "ETag": "abc", "mtime": 1}) == Stamp(3, "abc")
    assert _stamp({"size": 3}) == Stamp(3, "")

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from facemend.folder.plan import plan_batch
from facemend.folder.run import report_text, run_batch
from facemend.imaging import Outputs, Picture, read_picture, write_picture
from facemend.photo.file import do_file
from facemend.photo.networks import share_cores
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import Restorer, RestoreResult
from facemend.weights.models import read_model


@pytest.fixture(scope="session")
def restorer(tiny_model):
    return Restorer(model=str(tiny_model), threads=1)


@pytest.fixture
def folder(tmp_path, portrait):
    """Two photos, a broken one, a flat one without a face, a text."""
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    write_picture(root / "a.jpg", portrait)
    write_picture(root / "sub/d.png", portrait.with_pixels(np.full((40, 50, 3), 0.5, np.float32)))
    write_picture(root / "sub/e.webp", portrait)
    (root / "b.jpg").write_bytes((root / "a.jpg").read_bytes()[:3000])
    (root / "notes.txt").write_text("hello")
    return root


def run(folder, out, restorer, *, overwrite=False, **options):
    batch = plan_batch([folder], out)
    outputs = Outputs(batch.inputs, overwrite=overwrite)
    return batch, list(run_batch(batch, restorer.restore, outputs, **options))


def test_a_folder_run_goes_on_and_tells_what_happened(folder, tmp_path, restorer):
    batch, reports = run(folder, tmp_path / "out", restorer)
    assert [report.source.name for report in reports] == ["a.jpg", "b.jpg", "d.png", "e.webp"]
    good, broken, flat, _ = reports
    assert good.error is None
    assert len(good.faces) == 1
    assert good.seconds["total"] >= good.seconds["detect"] > 0
    assert str(folder / "b.jpg") in broken.error
    assert "\n" not in broken.error
    assert any("no face found" in note for note in flat.notes)
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["a.jpg", "sub/d.png", "sub/e.webp"]

    report = json.loads(report_text(reports, batch, restorer.options))
    assert (report["restored"], report["failed"]) == (3, 1)
    assert report["files"][1]["error"] == broken.error
    assert len(report["files"][0]["faces"][0]["box"]) == 4
    assert report["ignored"] == [str(folder / "notes.txt")]
    assert report["options"]["w"] == restorer.options.w


def test_a_second_run_overwrites_only_when_asked(folder, tmp_path, restorer):
    run(folder, tmp_path / "out", restorer)
    before = (tmp_path / "out/a.jpg").read_bytes()
    (tmp_path / "out/a.jpg").write_bytes(b"mine")
    _, reports = run(folder, tmp_path / "out", restorer)
    assert all(report.error for report in reports)
    assert (tmp_path / "out/a.jpg").read_bytes() == b"mine"
    _, reports = run(folder, tmp_path / "out", restorer, overwrite=True)
    assert [report.source.name for report in reports if report.error] == ["b.jpg"]
    assert (tmp_path / "out/a.jpg").read_bytes() == before


def test_inputs_are_safe_even_with_overwrite(folder, restorer):
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    _, reports = run(folder, folder, restorer, overwrite=True)
    assert all("is an input" in report.error for report in reports)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_an_unexpected_error_is_one_files_error(folder, tmp_path, restorer, monkeypatch, caplog):
    def broken(picture):
        raise ZeroDivisionError("no\nreason")

    monkeypatch.setattr(restorer, "restore", broken)
    _, reports = run(folder, tmp_path / "out", restorer)
    assert len(reports) == 4
    assert reports[0].error.endswith("unexpected ZeroDivisionError: no reason")
    assert str(folder / "a.jpg") in reports[0].error
    assert "Traceback" in caplog.text


def test_errors_of_the_restoration_name_the_file(photo, tiny_model):
    small = Restorer(model=str(tiny_model), threads=1, max_pixels=1000)
    with pytest.raises(Exception, match=r"photo\.jpg: 320x400 .*megapixels"):
        do_file(small.restore, photo)


class Counting:
    """A restorer that counts the pictures in flight; the first is slow, so that others overtake it."""

    def __init__(self, limit=0):
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.begun = []
        self.together = threading.Barrier(limit, timeout=20) if limit else None
        self.options = RestoreOptions()

    def read(self, path):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.begun.append(path.name)
        return Picture(np.zeros((4, 4, 3), np.uint8))

    def restore(self, picture):
        if self.together is not None:
            self.together.wait()  # passes only when so many are worked on at once
        return RestoreResult(replace(picture), (), (), (), {}, "none", 0.5, 1, None)

    def save(self, path, picture):
        time.sleep(0.02 if path.name == "00.png" else 0)
        with self.lock:
            self.now -= 1


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """Runs 24 made-up photos, so many at a time; the fake that counted, and the reports."""

    def run(jobs, **how):
        fake = Counting(**how)
        monkeypatch.setattr("facemend.photo.file.read_picture", fake.read)
        monkeypatch.setattr(Outputs, "save_content", lambda outputs, *what: fake.save(*what))
        files = [tmp_path / f"{number:02}.png" for number in range(24)]
        batch = plan_batch(files, tmp_path / "out")
        outputs = Outputs(batch.inputs, overwrite=False)
        return fake, run_batch(batch, fake.restore, outputs, jobs=jobs)

    return run


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_never_more_pictures_are_held_than_jobs(counted, jobs):
    fake, reports = counted(jobs, limit=jobs)  # and as many as jobs are: the barrier needs them
    reports = list(reports)
    assert [report.error for report in reports] == [None] * 24
    assert [report.source.name for report in reports] == [f"{number:02}.png" for number in range(24)]
    assert fake.most == jobs
    assert fake.now == 0


def test_a_consumer_that_is_slow_stops_the_reading(counted):
    fake, reports = counted(2)
    next(reports)
    time.sleep(0.3)
    assert len(fake.begun) <= 6  # the window, not the whole folder
    reports.close()


def test_a_run_that_is_left_early_finishes_what_was_begun(counted):
    fake, reports = counted(2)
    next(reports)
    reports.close()
    begun = list(fake.begun)
    assert fake.now == 0  # all that were read were written
    assert len(begun) < 24
    time.sleep(0.05)
    assert fake.begun == begun
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("facemend")]


def test_ctrl_c_tells_what_is_done_and_waits_for_nothing(counted, monkeypatch):
    fake, reports = counted(2)
    slow, done = threading.Event(), threading.Event()
    save = fake.save

    def stuck(path, picture):
        (done.set if path.name == "02.png" else lambda: None)()
        if path.name == "01.png":
            slow.wait(20)
        save(path, picture)

    monkeypatch.setattr(fake, "save", stuck)
    assert next(reports).source.name == "00.png"
    assert done.wait(20)
    time.sleep(0.1)
    assert reports.throw(KeyboardInterrupt).source.name == "02.png"  # 01.png is not done
    rest = []
    with pytest.raises(KeyboardInterrupt):
        rest.extend(reports)
    slow.set()
    assert len(fake.begun) < 24


def test_several_at_a_time_do_what_one_does(folder, tmp_path, restorer):
    _, one = run(folder, tmp_path / "one", restorer)
    _, many = run(folder, tmp_path / "many", restorer, jobs=3)
    assert [(r.source, r.faces, r.notes) for r in one] == [(r.source, r.faces, r.notes) for r in many]
    assert [bool(r.error) for r in one] == [bool(r.error) for r in many] == [False, True, False, False]
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "many" / path.relative_to(tmp_path / "one")).read_bytes()


def test_of_two_with_one_output_the_first_gets_it_whoever_is_faster(tmp_path, portrait, restorer):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    write_picture(tmp_path / "x/a.png", portrait)
    write_picture(tmp_path / "y/a.png", portrait.resized(0.2))
    batch = plan_batch([tmp_path / "x", tmp_path / "y"], tmp_path / "out")
    first, second = run_batch(batch, restorer.restore, Outputs(batch.inputs, overwrite=True), jobs=2)
    assert first.error is None
    assert "another picture" in second.error
    assert read_picture(tmp_path / "out/a.png").width == portrait.width


@pytest.mark.parametrize(
    ("cores", "photos", "jobs", "threads", "expected"),
    [
        (1, 9, 0, 0, (1, 1)),
        (2, 9, 0, 0, (1, 2)),
        (2, 1, 0, 0, (2, 1)),
        (8, 9, 0, 0, (2, 4)),
        (8, 3, 0, 0, (2, 3)),
        (8, 0, 0, 0, (8, 1)),
        (8, 9, 0, 5, (5, 4)),
        (8, 9, 16, 0, (1, 16)),
        (8, 9, 1, 0, (8, 1)),
    ],
)
def test_cores_are_shared(tiny_model, monkeypatch, cores, photos, jobs, threads, expected):
    monkeypatch.setattr("facemend.photo.networks.usable_cores", lambda: cores)
    options = RestoreOptions(threads=threads)
    shared, at_a_time = share_cores(options, read_model(tiny_model), photos, jobs)
    assert (shared.threads, at_a_time) == expected


def test_large_networks_run_one_at_a_time_unless_asked(tiny_model, monkeypatch):
    monkeypatch.setattr("facemend.photo.networks.usable_cores", lambda: 4)
    monkeypatch.setattr("facemend.photo.networks.SMALL_BYTES", 0)
    model = read_model(tiny_model)
    assert share_cores(RestoreOptions(), model, 9)[1] == 1
    assert share_cores(RestoreOptions(), model, 9, 3)[1] == 3

import json

import numpy as np
import pytest

from facemend.imaging import read_picture, write_picture
from facemend.pipeline.batch import Outputs, plan_batch
from facemend.pipeline.folder import report_text, restore_file, run_batch
from facemend.pipeline.image import Restorer


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
    return batch, list(run_batch(batch, restorer, Outputs(batch.inputs, overwrite=overwrite), **options))


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


def test_compare_and_crops(folder, tmp_path, restorer, portrait):
    run(folder, tmp_path / "out", restorer, compare=True, crops=tmp_path / "crops")
    sheet = read_picture(tmp_path / "out/a_compare.jpg")
    assert sheet.width > 2 * portrait.width
    names = sorted(str(path.relative_to(tmp_path / "crops")) for path in (tmp_path / "crops").rglob("*.png"))
    assert names == [
        "a_face1_after.png",
        "a_face1_before.png",
        "sub/e_face1_after.png",
        "sub/e_face1_before.png",
    ]


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


def test_two_inputs_of_one_name_do_not_overwrite_each_other(tmp_path, portrait, restorer):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        write_picture(tmp_path / name / "a.jpg", portrait)
    batch = plan_batch([tmp_path / "x", tmp_path / "y"], tmp_path / "out")
    first, second = run_batch(batch, restorer, Outputs(batch.inputs, overwrite=True))
    assert first.error is None
    assert "another picture" in second.error


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
        restore_file(small, photo)

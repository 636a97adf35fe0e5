"""Folders as people have them: names that differ in little, links, what systems leave behind."""

import os
from pathlib import Path

import numpy as np
import pytest

from facemend.errors import ConfigError, InputError, OutputError
from facemend.files import place
from facemend.folder.plan import plan_batch
from facemend.folder.records import FolderStore
from facemend.folder.run import run_batch
from facemend.imaging import Outputs, read_picture, write_picture
from facemend.photo.restore import Restorer


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def planned(tmp_path: Path, *files: str) -> dict[str, str]:
    """Output and label of each picture of a folder, by its name."""
    touch(*(tmp_path / "in" / name for name in files))
    batch = plan_batch([tmp_path / "in"], tmp_path / "out")
    return {
        job.relative.as_posix(): f"{job.output.relative_to(tmp_path / 'out').as_posix()} {job.label}"
        for job in batch.jobs
    }


def test_names_that_differ_in_their_suffix_only(tmp_path):
    assert planned(tmp_path, "a.jpg", "a.png", "A.TIF", "b.jpg", "sub/b.png") == {
        "A.TIF": "A.TIF A_tif",
        "a.jpg": "a.jpg a_jpg",
        "a.png": "a.png a_png",
        "b.jpg": "b.jpg b",
        "sub/b.png": "sub/b.png b",
    }


def test_pictures_that_become_png_do_not_fight_for_a_name(tmp_path):
    assert planned(tmp_path, "s.gif", "s.png", "s.ppm", "t.gif") == {
        "s.gif": "s_gif.png s_gif",
        "s.png": "s.png s_png",
        "s.ppm": "s_ppm.png s_ppm",
        "t.gif": "t.png t",
    }


def test_the_run_writes_them_all(tmp_path, portrait, tiny_model):
    (tmp_path / "in").mkdir()
    for suffix in ("jpg", "png", "tif"):
        write_picture(tmp_path / f"in/IMG_1.{suffix}", portrait)
    batch = plan_batch([tmp_path / "in"], tmp_path / "out")
    outputs = Outputs(batch.inputs, overwrite=False)
    work = Restorer(model=str(tiny_model), threads=1).restore
    reports = list(run_batch(batch, work, outputs, compare=True, crops=tmp_path / "crops"))
    assert [report.error for report in reports] == [None] * 3
    assert len(list((tmp_path / "out").iterdir())) == len(list((tmp_path / "crops").iterdir())) == 6


def test_what_systems_leave_behind_is_no_photo(tmp_path):
    files = (
        "a.jpg",
        "._a.jpg",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "@eaDir/a.jpg/SYNO.jpg",
        "__MACOSX/._a.jpg",
    )
    assert list(planned(tmp_path, *files)) == ["a.jpg"]
    assert plan_batch([tmp_path / "in"], tmp_path / "out").ignored == ()


def test_a_linked_folder_is_read_once(tmp_path):
    touch(tmp_path / "album/a.jpg", tmp_path / "in/b.jpg")
    for name in ("one", "two"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "album", target_is_directory=True)
    (tmp_path / "in/round").symlink_to(tmp_path / "in", target_is_directory=True)
    assert list(planned(tmp_path)) == ["b.jpg", "one/a.jpg"]


def test_a_link_in_a_circle_is_one_files_error(tmp_path, portrait, tiny_model):
    write_picture(tmp_path / "a.png", portrait)
    (tmp_path / "in").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "in/a.png")
    (tmp_path / "in/loop.png").symlink_to("loop.png")
    assert FolderStore(tmp_path / "in").stamp("loop.png") is None
    batch = plan_batch([tmp_path / "in"], tmp_path / "out")
    work = Restorer(model=str(tiny_model), threads=1).restore
    good, loop = run_batch(batch, work, Outputs(batch.inputs, overwrite=False))
    assert good.error is None
    assert "loop.png" in loop.error


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    touch(tmp_path / "in/a.jpg", tmp_path / "in/shut/b.jpg")
    listed = os.scandir

    def scandir(path):
        if Path(path).name == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    shut = "shut"
    batch = plan_batch([tmp_path / "in"], tmp_path / "out")
    assert (len(batch.jobs), batch.unlisted) == (1, (tmp_path / "in/shut",))
    shut = "in"
    with pytest.raises(InputError, match="in: cannot be listed"):
        plan_batch([tmp_path / "in"], tmp_path / "out")


@pytest.mark.parametrize("name", ["x" * 250 + ".jpg", "写" * 82 + ".jpg", "\udcff" * 60 + ".jpg"])
def test_long_and_odd_names_are_written(tmp_path, name):
    place(tmp_path / name, b"x", overwrite=False)
    assert (tmp_path / name).read_bytes() == b"x"


@pytest.mark.parametrize("output", ["o.xyz", "o.mp4", "o.gif"])
def test_a_suffix_that_nothing_can_write_is_no_folder(tmp_path, output):
    touch(tmp_path / "a.gif")
    with pytest.raises(ConfigError, match=rf"{output}: \.\w+ is nothing that photos can be written as"):
        plan_batch([tmp_path / "a.gif"], tmp_path / output)
    (tmp_path / output).mkdir()
    assert plan_batch([tmp_path / "a.gif"], tmp_path / output).jobs[0].output == tmp_path / output / "a.png"


def test_a_folder_of_photos_goes_to_a_folder_of_any_name(tmp_path):
    touch(tmp_path / "in/a.jpg")
    (job,) = plan_batch([tmp_path / "in"], tmp_path / "out.v2").jobs
    assert job.output == tmp_path / "out.v2/a.jpg"


def test_results_of_an_earlier_run_are_no_input(tmp_path):
    for name in ("in/a.jpg", "in/restored/a.jpg", "in/restored/.facemend/records.jsonl"):
        touch(tmp_path / name)
    batch = plan_batch([tmp_path / "in"], tmp_path / "out")
    assert [job.relative.as_posix() for job in batch.jobs] == ["a.jpg"]
    assert batch.earlier == (tmp_path / "in/restored",)
    assert len(plan_batch([tmp_path / "in/restored"], tmp_path / "out").jobs) == 1  # as it is named


def test_a_root_needs_a_folder_for_the_results():
    with pytest.raises(ConfigError, match=r"^/: has no folder beside it"):
        plan_batch([Path("/")], None)


def test_addresses_are_not_written_to(tmp_path):
    with pytest.raises(ConfigError, match=r"^s3://bucket/out: is no folder of this computer"):
        plan_batch([tmp_path], Path("s3://bucket/out"))


def test_addresses_are_not_fetched():
    with pytest.raises(InputError, match=r"https://example\.org/a\.jpg: addresses are not fetched"):
        plan_batch([Path("https://example.org/a.jpg")], None)


def test_a_report_is_not_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "r.jsonl").symlink_to(tmp_path / "elsewhere")
    outputs = Outputs([], overwrite=True)
    with (
        pytest.raises(OutputError, match=r"r\.jsonl: is a link"),
        outputs.lines(tmp_path / "r.jsonl", append=True),
    ):
        pass
    assert (tmp_path / "elsewhere").read_text() == "precious"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_photo_without_a_face_is_copied_byte_by_byte(tmp_path, portrait, tiny_model, suffix):
    flat = portrait.with_pixels(np.full((40, 50, 3), 0.5, np.float32))
    source = tmp_path / f"a.{suffix}"
    write_picture(source, flat)
    source.write_bytes(source.read_bytes() + b"rest")
    for upscale, output, same in ((1, f"b.{suffix}", True), (2, f"c.{suffix}", False), (1, "d.tif", False)):
        batch = plan_batch([source], tmp_path / output)
        work = Restorer(model=str(tiny_model), threads=1, upscale=upscale).restore
        (report,) = run_batch(batch, work, Outputs([source], overwrite=False))
        assert any("no face found" in note for note in report.notes)
        assert ((tmp_path / output).read_bytes() == source.read_bytes()) is same
    assert read_picture(tmp_path / f"c.{suffix}").width == 100

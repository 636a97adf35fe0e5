from pathlib import Path

import pytest

from facemend.errors import ConfigError, OutputError
from facemend.folder.plan import plan_batch
from facemend.imaging import Outputs, Picture


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(batch, root):
    return [str(job.output.relative_to(root)) for job in batch.jobs]


def test_folder_is_walked_sorted_and_its_tree_is_kept(tmp_path):
    touch(*(tmp_path / "in" / name for name in ("b.jpg", "a.PNG", "deep/er/c.webp", "notes.txt", "x.gif")))
    batch = plan_batch([tmp_path / "in"], tmp_path / "out")
    assert names(batch, tmp_path) == ["out/a.PNG", "out/b.jpg", "out/x.png", "out/deep/er/c.webp"]
    assert [path.name for path in batch.ignored] == ["notes.txt"]
    assert str(batch.jobs[-1].relative) == "deep/er/c.webp"


def test_without_output_the_results_lie_beside_the_inputs(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "in/b.png")
    batch = plan_batch([tmp_path / "a.jpg", tmp_path / "in"], None)
    assert names(batch, tmp_path) == ["a_restored.jpg", "in_restored/b.png"]


def test_output_is_a_file_for_one_file_and_else_a_folder(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert names(plan_batch([tmp_path / "a.jpg"], tmp_path / "new.png"), tmp_path) == ["new.png"]
    assert names(plan_batch([tmp_path / "a.jpg"], tmp_path / "out"), tmp_path) == ["out/a.jpg"]
    (tmp_path / "odd.png").mkdir()
    assert names(plan_batch([tmp_path / "a.jpg"], tmp_path / "odd.png"), tmp_path) == ["odd.png/a.jpg"]
    with pytest.raises(ConfigError, match="folder"):
        plan_batch([tmp_path / "a.jpg", tmp_path / "b.jpg"], tmp_path / "new.png")
    with pytest.raises(ConfigError, match="folder"):
        plan_batch([tmp_path], tmp_path / "new.png")
    touch(tmp_path / "plain")
    with pytest.raises(ConfigError, match="is a file"):
        plan_batch([tmp_path], tmp_path / "plain")


def test_an_output_folder_inside_the_input_is_not_read(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "out/a.jpg", tmp_path / "other/b.jpg")
    assert names(plan_batch([tmp_path], tmp_path / "out"), tmp_path) == ["out/a.jpg", "out/other/b.jpg"]


def test_a_named_file_is_a_job_whatever_it_is(tmp_path):
    batch = plan_batch([tmp_path / "notes.txt", tmp_path / "missing.jpg"], tmp_path / "out")
    assert names(batch, tmp_path) == ["out/notes.png", "out/missing.jpg"]


def test_masks_are_found_by_name(tmp_path):
    photos = tmp_path / "in"
    touch(*(photos / name for name in ("a.jpg", "b.png", "deep/c.webp", "d.jpg", "e.jpg")))
    masks = photos / "masks"
    touch(*(masks / name for name in ("a.png", "a.jpg", "b.jpg", "deep/c.tiff", "d.jpg", "notes.txt")))
    batch = plan_batch([photos], tmp_path / "out", masks=masks)
    # Masks inside the folder of photos are no photos; a missing one is missed when its turn comes.
    expected = ["a.png", "b.jpg", "d.jpg", "e.png", "deep/c.tiff"]
    assert [str(job.mask.relative_to(masks)) for job in batch.jobs] == expected
    assert set(batch.inputs) == {job.source for job in batch.jobs} | {job.mask for job in batch.jobs}
    assert batch.ignored == ()


def test_one_mask_is_for_all(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "mask.png")
    photos = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    batch = plan_batch(photos, tmp_path / "out", masks=tmp_path / "mask.png")
    assert [job.mask for job in batch.jobs] == 2 * [tmp_path / "mask.png"]
    assert batch.inputs == (*photos, tmp_path / "mask.png")
    assert all(job.mask is None for job in plan_batch(photos, None).jobs)


def test_extension_can_be_set(tmp_path):
    touch(tmp_path / "in/a.jpg", tmp_path / "b.webp")
    batch = plan_batch([tmp_path / "in", tmp_path / "b.webp"], tmp_path / "out", extension=".png")
    assert names(batch, tmp_path) == ["out/a.png", "out/b.png"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_an_output(tmp_path, overwrite):
    touch(tmp_path / "a.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    outputs = Outputs([tmp_path / "a.jpg"], overwrite=overwrite)
    for path in (tmp_path / "a.jpg", tmp_path / "sub/../a.jpg", tmp_path / "link.jpg"):
        with pytest.raises(OutputError, match="is an input"):
            outputs.claim(path)


def test_names_that_a_file_system_takes_for_one(tmp_path):
    touch(tmp_path / "IMG_1.JPG", tmp_path / "img_1.jpg")
    Outputs([tmp_path / "IMG_1.JPG"], overwrite=True).claim(tmp_path / "img_1.jpg")  # here they are two
    outputs = Outputs([tmp_path / "IMG_1.JPG", tmp_path / "img_1.jpg"], overwrite=True)
    for name in ("IMG_1.JPG", "img_1.jpg"):
        assert outputs.is_input(tmp_path / name)
    (tmp_path / "Img_1.jpg").hardlink_to(tmp_path / "IMG_1.JPG")  # as they are one elsewhere
    with pytest.raises(OutputError, match=r"Img_1\.jpg: is an input and would be overwritten"):
        outputs.claim(tmp_path / "Img_1.jpg")


def test_two_outputs_cannot_share_a_name(tmp_path):
    outputs = Outputs([], overwrite=True)
    outputs.claim(tmp_path / "a.jpg")
    with pytest.raises(OutputError, match="another picture"):
        outputs.claim(tmp_path / "sub" / ".." / "a.jpg")


def test_existing_files_need_overwrite(tmp_path):
    touch(tmp_path / "a.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    for name in ("a.png", "dangling.png"):
        with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
            Outputs([], overwrite=False).claim(tmp_path / name)
    outputs = Outputs([], overwrite=True)
    outputs.claim(tmp_path / "a.png")
    outputs.save_text(tmp_path / "a.png", "new")
    assert (tmp_path / "a.png").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "dangling.png"]


def test_folders_are_made_and_nothing_is_left_behind(tmp_path, rng):
    picture = Picture.from_array(rng.random((8, 8, 3)))
    outputs = Outputs([], overwrite=False)
    outputs.save(tmp_path / "x/y/a.png", picture)
    outputs.save_text(tmp_path / "x/z/report.json", "{}")
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["x/y/a.png", "x/z/report.json"]


def test_unwritable_places_are_output_errors(tmp_path, rng):
    touch(tmp_path / "file")
    outputs = Outputs([], overwrite=False)
    with pytest.raises(OutputError, match="folder"):
        outputs.save(tmp_path / "file/a.png", Picture.from_array(rng.random((8, 8, 3))))
    with pytest.raises(OutputError, match="folder"):
        outputs.save_text(tmp_path / "file/a.txt", "text")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        Outputs([], overwrite=True).save_text(tmp_path / "folder.txt", "text")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]

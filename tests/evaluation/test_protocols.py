"""Protocols by name, what they find wrong with a folder, and their page in the documentation."""

import dataclasses
import re
from pathlib import Path

import pytest
from PIL import Image

from facemend.degradations import preset
from facemend.errors import ConfigError
from facemend.evaluation.protocols import NAMED, check_layout, protocol, protocols

DOCS = Path(__file__).parents[2] / "docs/evaluation.md"
FULL = ("psnr", "ssim", "ms_ssim", "lpips", "lpips_vgg", "dists", "ids", "ids_degrees", "lmd", "niqe")
FULL += ("fd_alex", "kd_alex")


def _pictures(folder, names, size=(512, 512)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size).save(folder / name)


def _of(name, count):
    return dataclasses.replace(protocol(name), count=count)


@pytest.mark.parametrize(
    ("name", "kind", "count", "size"),
    [
        ("facemend-small", "full-reference", None, 256),
        ("CelebA-Test", "full-reference", 3000, 512),
        ("LFW-Test", "no-reference", 1711, 512),
        ("WebPhoto-Test", "no-reference", 407, 512),
        ("WIDER-Test", "no-reference", 970, 512),
        ("CelebChild", "no-reference", 180, 512),
    ],
)
def test_protocols_have_the_sizes_of_the_published_sets(name, kind, count, size):
    found = protocol(name)
    assert (found.kind, found.count, found.size) == (kind, count, size)
    assert found.metrics == (FULL if kind == "full-reference" else ("niqe",))
    assert found.notes


def test_there_are_six_of_them():
    assert len(protocols()) == 6
    assert all(name == found.name for name, found in protocols().items())


def test_only_our_own_protocol_degrades_and_its_preset_exists():
    small = protocol("facemend-small")
    assert (small.degradation, small.seed) == ("heavy", 0)
    assert preset(small.degradation)
    assert not small.paired
    others = [found for found in protocols().values() if found is not small]
    assert all(found.degradation is None and found.seed is None for found in others)
    assert [found.name for found in others if found.paired] == ["CelebA-Test"]
    assert all(found.papers for found in others)


def test_celeba_says_that_its_name_stands_for_several_sets():
    assert "four different sets" in " ".join(protocol("CelebA-Test").notes)


def test_an_unknown_name_lists_the_known_ones():
    assert protocol("celeba-test").name == "CelebA-Test"
    with pytest.raises(ConfigError) as error:
        protocol("CelebA")
    assert all(name in str(error.value) for name in protocols())


def test_a_missing_folder_is_told_with_what_is_needed(tmp_path):
    layout = check_layout(protocol("LFW-Test"), tmp_path / "none")
    assert (layout.hq, layout.lq) == ((), ())
    assert "no such folder" in layout.problems[0]
    assert protocol("LFW-Test").layout in layout.problems[0]


def test_whole_pairs_have_no_problem_and_keep_their_order(tmp_path):
    _pictures(tmp_path / "hq", ["b.png", "a.png", "c.png"])
    _pictures(tmp_path / "lq", ["c.jpg", "a.png", "b.png"])
    layout = check_layout(_of("CelebA-Test", 3), tmp_path)
    assert layout.problems == ()
    assert [path.name for path in layout.hq] == ["a.png", "b.png", "c.png"]
    assert [path.name for path in layout.lq] == ["a.png", "b.png", "c.jpg"]
    assert {path.parent.name for path in layout.hq} == {"hq"}


def test_pairs_in_sub_folders_go_by_their_whole_name(tmp_path):
    for folder in ("hq/x", "hq/y", "lq/x"):
        _pictures(tmp_path / folder, ["a.png"])
    layout = check_layout(dataclasses.replace(protocol("CelebA-Test"), count=None), tmp_path)
    assert layout.hq == (tmp_path / "hq/x/a.png",)
    assert layout.lq == (tmp_path / "lq/x/a.png",)
    (problem,) = layout.problems
    assert "1 of the pictures in hq: y/a.png;" in problem


def test_missing_partners_are_named_on_both_sides_and_left_out(tmp_path):
    _pictures(tmp_path / "hq", ["a.png", "b.png"])
    _pictures(tmp_path / "lq", ["b.png", "x.png"])
    layout = check_layout(_of("CelebA-Test", 2), tmp_path)
    assert [path.stem for path in (*layout.hq, *layout.lq)] == ["b", "b"]
    assert len(layout.problems) == 2
    assert f"{tmp_path / 'lq'}: no partner for 1 of the pictures in hq: a.png;" in layout.problems[0]
    assert f"{tmp_path / 'hq'}: no partner for 1 of the pictures in lq: x.png;" in layout.problems[1]


def test_pairs_need_both_folders(tmp_path):
    _pictures(tmp_path / "hq", ["a.png"])
    layout = check_layout(_of("CelebA-Test", 1), tmp_path)
    assert (layout.hq, layout.lq) == ((), ())
    assert len(layout.problems) == 1
    assert str(tmp_path / "lq") in layout.problems[0]


def test_two_pictures_of_one_name_cannot_be_paired(tmp_path):
    _pictures(tmp_path / "hq", ["a.jpg", "a.png"])
    _pictures(tmp_path / "lq", ["a.png"])
    problems = check_layout(dataclasses.replace(protocol("CelebA-Test"), count=None), tmp_path).problems
    assert len(problems) == 1
    assert "a.jpg: another picture has the same name" in problems[0]


@pytest.mark.parametrize(
    ("there", "what"), [(1, "get the missing ones"), (3, "take out those of other sets")]
)
def test_a_wrong_count_is_told_with_the_right_one(tmp_path, there, what):
    _pictures(tmp_path, [f"{i}.png" for i in range(there)])
    layout = check_layout(_of("WIDER-Test", 2), tmp_path)
    assert len(layout.lq) == there
    assert layout.hq == ()
    assert len(layout.problems) == 1
    assert f"{there} pictures, but WIDER-Test has 2; {what}" in layout.problems[0]


def test_wrong_sizes_are_named_with_their_size_and_the_rest_is_counted(tmp_path):
    _pictures(tmp_path, ["good.png"])
    _pictures(tmp_path, [f"{i:02}.png" for i in range(NAMED + 2)], size=(512, 300))
    (problem,) = check_layout(_of("CelebChild", NAMED + 3), tmp_path).problems
    assert f"{NAMED + 2} of the pictures are not 512 x 512 px" in problem
    assert "00.png (512 x 300), 01.png (512 x 300)" in problem
    assert f"{NAMED - 1:02}.png" in problem
    assert f"{NAMED:02}.png" not in problem
    assert problem.endswith("and 2 more")
    assert "good.png" not in problem


def test_damaged_pictures_are_named(tmp_path):
    _pictures(tmp_path, ["good.png"])
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    (problem,) = check_layout(_of("LFW-Test", 2), tmp_path).problems
    assert "1 cannot be read: bad.png; replace" in problem


def test_real_faces_may_lie_in_lq_and_other_files_do_not_count(tmp_path):
    _pictures(tmp_path / "lq", ["a.PNG"])
    _pictures(tmp_path / "lq/more", ["b.png"])
    _pictures(tmp_path, ["sheet.png"])
    (tmp_path / "lq/readme.txt").write_text("x", encoding="utf-8")
    (tmp_path / "lq/folder.png").mkdir()
    layout = check_layout(_of("LFW-Test", 2), tmp_path)
    assert layout.problems == ()
    assert [path.name for path in layout.lq] == ["a.PNG", "b.png"]


def test_an_empty_folder_is_a_problem_for_a_set_of_any_length(tmp_path):
    (problem,) = check_layout(protocol("facemend-small"), tmp_path).problems
    assert "no pictures in it" in problem


def test_small_takes_square_faces_of_256_px_and_larger(tmp_path):
    faces = tmp_path / "faces"
    _pictures(faces, ["a.png"], size=(256, 256))
    _pictures(faces, ["b.png"], size=(512, 512))
    layout = check_layout(protocol("facemend-small"), faces)
    assert layout.problems == ()
    assert [path.name for path in layout.hq] == ["a.png", "b.png"]
    assert layout.lq == ()
    _pictures(faces, ["c.png"], size=(255, 255))
    _pictures(faces, ["d.png"], size=(256, 300))
    (problem,) = check_layout(protocol("facemend-small"), faces).problems
    assert "2 of the pictures are not square and at least 256 px" in problem
    assert "c.png (255 x 255), d.png (256 x 300)" in problem


def test_the_table_beside_the_faces_is_checked(tmp_path, monkeypatch):
    faces = tmp_path / "faces"
    _pictures(faces, ["a.png"], size=(256, 256))
    small, table = protocol("facemend-small"), tmp_path / "faces.csv"
    table.write_text("file,source,licence,kind,yaw\na.png,s,cc0,real,0.1\n", encoding="utf-8")
    assert check_layout(small, faces).problems == ()
    table.write_text("file,source\na.png,s\ngone.png,s\n", encoding="utf-8")
    (problem,) = check_layout(small, faces).problems
    assert "1 of the pictures that faces.csv lists are missing: gone.png" in problem
    monkeypatch.chdir(faces)
    assert len(check_layout(small, Path()).problems) == 1
    table.write_text("name,source\na.png,s\n", encoding="utf-8")
    (problem,) = check_layout(small, faces).problems
    assert "faces.csv: no column 'file'" in problem
    table.write_bytes(b"\xff\xfe\x00")
    (problem,) = check_layout(small, faces).problems
    assert "faces.csv: cannot be read as a table" in problem


def test_every_figure_is_explained_in_two_sentences():
    section = DOCS.read_text(encoding="utf-8").split("## What each figure means")[1].split("\n## ")[0]
    entries = re.findall(r"^- \*\*(.+?)\*\*: (.+?)(?=\n- |\n\n|\Z)", section, re.MULTILINE | re.DOTALL)
    for label, text in entries:
        assert len(re.findall(r"[.!?](?=\s|$)", text.strip())) == 2, label
    labels = " ".join(label for label, _ in entries)
    for key in FULL:
        assert f"`{key}`" in labels
    for other in ("musiq", "95 % interval", "Slices", "Speed", "FID"):
        assert other in labels


def test_every_protocol_is_in_the_documentation():
    text = DOCS.read_text(encoding="utf-8")
    for name, found in protocols().items():
        count = f"{found.count:,}" if found.count else "any"
        assert re.search(rf"^\| `{name}` +\| {count} +\|", text, re.MULTILINE), name

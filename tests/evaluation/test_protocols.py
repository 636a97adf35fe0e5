"""Protocols by name, what they find wrong with a folder, and their page in the documentation."""

import dataclasses
import re
from pathlib import Path

import pytest
from PIL import Image

from facemend.degradations import preset
from facemend.errors import ConfigError
from facemend.evaluation.protocols import NAMED, check_layout, protocol, protocols
from facemend.metrics import METRICS

DOCS = Path(__file__).parents[2] / "docs/evaluation.md"
SIZES = {
    "facemend-small": ("full-reference", None, 256),
    "CelebA-Test": ("full-reference", 3000, 512),
    "LFW-Test": ("no-reference", 1711, 512),
    "WebPhoto-Test": ("no-reference", 407, 512),
    "WIDER-Test": ("no-reference", 970, 512),
    "CelebChild": ("no-reference", 180, 512),
}


def _pictures(folder, *names, size=(512, 512)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size).save(folder / name)


def problems(name, folder, count=None):
    """What is wrong with a folder, for a protocol of another number of faces."""
    return check_layout(dataclasses.replace(protocol(name), count=count), folder)


def test_protocols_have_the_sizes_of_the_published_sets():
    assert {name: (p.kind, p.count, p.size) for name, p in protocols().items()} == SIZES
    small, *others = protocols().values()
    assert (small.degradation, small.seed, small.paired) == ("heavy", 0, False)
    assert preset(small.degradation)
    assert all(found.degradation is None and found.seed is None and found.papers for found in others)
    assert [found.name for found in others if found.paired] == ["CelebA-Test"]
    assert "four different sets" in " ".join(protocol("CelebA-Test").notes)


def test_an_unknown_name_lists_the_known_ones():
    assert protocol("celeba-test").name == "CelebA-Test"
    with pytest.raises(ConfigError) as error:
        protocol("CelebA")
    assert all(name in str(error.value) for name in protocols())


def test_missing_and_empty_folders_are_told_with_what_is_needed(tmp_path):
    (problem,) = problems("LFW-Test", tmp_path / "none")
    assert "no such folder" in problem
    assert protocol("LFW-Test").layout in problem
    (problem,) = problems("facemend-small", tmp_path)
    assert "no pictures in it" in problem
    _pictures(tmp_path / "hq", "a.png")
    (problem,) = problems("CelebA-Test", tmp_path)
    assert str(tmp_path / "lq") in problem


def test_pairs_go_by_their_name_without_suffix_in_sub_folders_too(tmp_path):
    _pictures(tmp_path / "hq", "b.png", "a.png", "c.png")
    _pictures(tmp_path / "lq", "c.jpg", "a.png", "b.png")
    assert problems("CelebA-Test", tmp_path, 3) == []
    _pictures(tmp_path / "hq/y", "a.png")
    (tmp_path / "hq/b.png").unlink()
    below, above = problems("CelebA-Test", tmp_path, 3)[-2:]
    assert f"{tmp_path / 'lq'}: no partner for 1 of the pictures in hq: y/a.png;" in below
    assert f"{tmp_path / 'hq'}: no partner for 1 of the pictures in lq: b.png;" in above


def test_two_pictures_of_one_name_cannot_be_paired(tmp_path):
    _pictures(tmp_path / "hq", "a.jpg", "a.png")
    _pictures(tmp_path / "lq", "a.png")
    (problem,) = problems("CelebA-Test", tmp_path)
    assert "a.jpg: another picture has the same name" in problem


@pytest.mark.parametrize(
    ("there", "what"), [(1, "get the missing ones"), (3, "take out those of other sets")]
)
def test_a_wrong_count_is_told_with_the_right_one(tmp_path, there, what):
    _pictures(tmp_path, *(f"{i}.png" for i in range(there)))
    (problem,) = problems("WIDER-Test", tmp_path, 2)
    assert f"{there} pictures, but WIDER-Test has 2; {what}" in problem


def test_wrong_sizes_are_named_with_their_size_and_the_rest_is_counted(tmp_path):
    _pictures(tmp_path, "good.png")
    _pictures(tmp_path, *(f"{i:02}.png" for i in range(NAMED + 2)), size=(512, 300))
    (problem,) = problems("CelebChild", tmp_path)
    assert f"{NAMED + 2} of the pictures are not 512 x 512 px" in problem
    assert "00.png (512 x 300), 01.png (512 x 300)" in problem
    assert f"{NAMED - 1:02}.png" in problem
    assert f"{NAMED:02}.png" not in problem
    assert problem.endswith("and 2 more")
    assert "good.png" not in problem


def test_real_faces_may_lie_in_lq_where_damaged_pictures_are_named_and_other_files_do_not_count(tmp_path):
    _pictures(tmp_path / "lq", "a.PNG")
    _pictures(tmp_path / "lq/more", "b.png")
    _pictures(tmp_path, "sheet.png")
    (tmp_path / "lq/readme.txt").write_text("x", encoding="utf-8")
    (tmp_path / "lq/folder.png").mkdir()
    assert problems("LFW-Test", tmp_path, 2) == []
    (tmp_path / "lq/bad.png").write_bytes(b"not a picture")
    (problem,) = problems("LFW-Test", tmp_path, 3)
    assert "1 cannot be read: bad.png; replace" in problem


def test_small_takes_square_faces_of_256_px_and_larger(tmp_path):
    _pictures(tmp_path, "a.png", size=(256, 256))
    _pictures(tmp_path, "b.png")
    assert problems("facemend-small", tmp_path) == []
    _pictures(tmp_path, "c.png", size=(255, 255))
    _pictures(tmp_path, "d.png", size=(256, 300))
    (problem,) = problems("facemend-small", tmp_path)
    assert "2 of the pictures are not square and at least 256 px" in problem
    assert "c.png (255 x 255), d.png (256 x 300)" in problem


def test_the_table_beside_the_faces_is_checked(tmp_path, monkeypatch):
    faces, table = tmp_path / "faces", tmp_path / "faces.csv"
    _pictures(faces, "a.png", size=(256, 256))
    table.write_text("file,source,licence,kind,yaw\na.png,s,cc0,real,0.1\n", encoding="utf-8")
    assert problems("facemend-small", faces) == []
    for content, message in (
        (b"name,source\na.png,s\n", "faces.csv: no column 'file'"),
        (b"\xff\xfe\x00", "faces.csv: cannot be read as a table"),
        (b"file\na.png\ngone.png\n", "1 of the pictures that faces.csv lists are missing: gone.png"),
    ):
        table.write_bytes(content)
        (problem,) = problems("facemend-small", faces)
        assert message in problem
    monkeypatch.chdir(faces)
    assert len(problems("facemend-small", Path())) == 1


def test_the_documentation_explains_every_figure_in_two_sentences_and_names_every_protocol():
    text = DOCS.read_text(encoding="utf-8")
    section = text.split("## What each figure means")[1].split("\n## ")[0]
    entries = re.findall(r"^- \*\*(.+?)\*\*: (.+?)(?=\n- |\n\n|\Z)", section, re.MULTILINE | re.DOTALL)
    for label, words in entries:
        assert len(re.findall(r"[.!?](?=\s|$)", words.strip())) == 2, label
    labels = " ".join(label for label, _ in entries)
    wanted = [*(f"`{key}`" for key in (*METRICS, "lmd")), "95 % interval", "Slices", "Speed"]
    assert [name for name in wanted if name not in labels] == []
    for name, found in protocols().items():
        count = f"{found.count:,}" if found.count else "any"
        assert re.search(rf"^\| `{name}` +\| {count} +\|", text, re.MULTILINE), name

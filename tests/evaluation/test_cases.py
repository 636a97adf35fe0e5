import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.errors import ConfigError, InputError
from facemend.evaluation.cases import by_stem, common_size, describe, find_entries, load_case, read_face
from facemend.evaluation.options import EvaluationOptions
from facemend.imaging import read_picture, read_rgb


def write_lq(folder, names, size=96, suffix=".jpg"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (size, size), (40 * number, 80, 120)).save(folder / f"{name}{suffix}")
    return folder


def test_cases_are_damaged_as_degrade_damages_the_folder(own_faces, options, tmp_path):
    """Also where sub-folders, which sort among the files, could change the order and so the seeds."""
    (own_faces / "b").mkdir()
    (own_faces / "b/z.png").write_bytes((own_faces / "obama.png").read_bytes())
    result = CliRunner().invoke(app, ["degrade", str(own_faces), "-o", str(tmp_path / "lq"), "--seed", "7"])
    assert result.exit_code == 0, result.output
    entries = find_entries(options(seed=7))
    assert [entry.name for entry in entries] == ["biden.png", "obama.png", "obama2.png", "b/z.png"]
    assert [entry.seed for entry in entries] == [7, 8, 9, 10]
    digests = set()
    for entry in entries:
        case = load_case(entry, options(seed=7))
        assert np.array_equal(case.lq, read_picture(tmp_path / "lq" / entry.name).pixels)
        assert np.array_equal(case.hq, read_picture(entry.face).pixels)
        assert case.plan.startswith("192 px")
        digests.add(case.digest)
    assert len(digests) == 4


def test_labels_come_from_the_table_beside_the_folder_and_seeds_from_the_full_list(own_faces, options):
    entries = find_entries(options(every=2, seed=3))
    assert [(entry.name, entry.seed) for entry in entries] == [("biden.png", 3), ("obama2.png", 5)]
    assert [entry.labels for entry in entries] == [
        {"source": "white_house", "kind": "real", "pose": "turned"},
        {"source": "other", "kind": "synthetic", "pose": "frontal"},
    ]
    own_faces.with_suffix(".csv").unlink()
    assert [entry.labels for entry in find_entries(options())] == [{}, {}, {}]


def test_the_named_table_wins_and_may_come_from_excel(options, tmp_path):
    table = tmp_path / "excel.csv"
    rows = ("file,yaw,kind,wears", "obama.png,,drawn,", "obama2.png,,,glasses", "unknown.png,,,hat", "")
    table.write_text("\r\n".join(rows), encoding="utf-8-sig")
    labels = [dict(entry.labels) for entry in find_entries(options(table=table))]
    assert labels == [{}, {"kind": "drawn"}, {"wears": "glasses"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name,yaw\na.png,1\n", "no column 'file'"),
        (b"file,yaw\nobama.png,left\n", "yaw of obama.png is 'left'"),
        (b"file,yaw\nobama.png,nan\n", "yaw of obama.png is 'nan'"),
        (b"file\n\xff\xfe\n", "cannot be read as a table"),
        (None, "cannot be read as a table"),
    ],
)
def test_a_wrong_table_is_named(options, tmp_path, text, message):
    table = tmp_path / "table.csv"
    if text is not None:
        table.write_bytes(text)
    with pytest.raises(InputError, match=message) as caught:
        find_entries(options(table=table))
    assert "table.csv" in str(caught.value)


def test_given_damaged_pictures_may_have_other_suffixes_and_sizes(options, tmp_path):
    lq = write_lq(tmp_path / "lq", ["obama2", "obama", "biden"])
    chosen = options(lq=lq)
    entries = find_entries(chosen)
    assert [entry.lq.name for entry in entries] == ["biden.jpg", "obama.jpg", "obama2.jpg"]
    case = load_case(entries[0], chosen)
    assert case.lq.shape == case.hq.shape == (192, 192, 3)
    assert case.plan is None
    assert np.abs(case.lq.astype(int) - [80, 80, 120]).max() <= 3  # the third colour of write_lq


def test_missing_partners_are_named_or_left_out(options, tmp_path):
    lq = write_lq(tmp_path / "lq", ["obama"])
    with pytest.raises(InputError, match=r"no picture for biden\.png, obama2\.png"):
        find_entries(options(lq=lq))
    entries = find_entries(options(lq=lq, incomplete=True))
    assert [entry.name for entry in entries] == ["obama.png"]
    with pytest.raises(InputError, match="no picture for"):
        find_entries(options(lq=write_lq(tmp_path / "empty", []), incomplete=True))


def test_partners_must_be_certain(own_faces, options, tmp_path):
    lq = write_lq(tmp_path / "lq", ["biden", "obama", "obama2"])
    Image.new("RGB", (96, 96)).save(lq / "obama.png")
    with pytest.raises(InputError, match="which of them is meant"):
        by_stem(lq)
    (lq / "obama.png").unlink()
    Image.new("RGB", (192, 192)).save(own_faces / "obama.bmp")
    with pytest.raises(InputError, match="which of them is meant"):
        find_entries(options(lq=lq))
    assert len(find_entries(options())) == 4  # alone, two files are two faces


def test_folders_without_pictures_are_refused(options, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/readme.txt").write_text("x")
    with pytest.raises(InputError, match="no pictures found"):
        find_entries(options(faces=tmp_path / "notes"))
    with pytest.raises(InputError, match="no such folder"):
        find_entries(options(faces=tmp_path / "nowhere"))
    with pytest.raises(InputError, match="no such folder"):
        find_entries(options(lq=tmp_path / "nowhere"))


def test_what_is_no_aligned_face_is_refused_by_name(tmp_path):
    for name, size, message in (
        ("wide.png", (200, 192), "200x192 is not square"),
        ("small.png", (63, 63), "63 pixels are too few"),
    ):
        Image.new("RGB", size).save(tmp_path / name)
        with pytest.raises(InputError, match=message) as caught:
            read_face(tmp_path / name, None)
        assert name in str(caught.value)
    assert read_face(tmp_path / "small.png", 64).shape == (64, 64, 3)
    (tmp_path / "bad.png").write_text("x")
    with pytest.raises(InputError, match=r"bad\.png"):
        read_face(tmp_path / "bad.png", None)


def test_colours_are_those_of_the_profile(tmp_path):
    with Image.open(Path(__file__).parents[1] / "data/cases/adobergb.jpg") as opened:
        face = opened.crop((0, 0, 64, 64))
        face.save(tmp_path / "face.png", icc_profile=opened.info["icc_profile"])
    read = read_face(tmp_path / "face.png", None)
    assert np.array_equal(read, read_rgb(tmp_path / "face.png"))
    assert not np.array_equal(read, np.asarray(face))


def test_faces_are_brought_to_a_size_before_they_are_damaged(options):
    chosen = options(size=128)
    case = load_case(find_entries(chosen)[0], chosen)
    assert case.hq.shape == case.lq.shape == (128, 128, 3)
    assert case.plan.startswith("128 px")


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_without_reference_the_picture_itself_is_the_input(own_faces, options):
    chosen = options(reference=False)
    entry = find_entries(chosen)[0]
    case = load_case(entry, chosen)
    assert (case.hq, case.plan) == (None, None)
    assert np.array_equal(case.lq, read_picture(own_faces / "biden.png").pixels)
    row = describe(entry, chosen)
    assert (row["hq"], row["lq"], row["seed"]) == (None, sha(own_faces / "biden.png"), None)


def test_rows_tell_files_and_seeds_apart(own_faces, options, tmp_path):
    lq = write_lq(tmp_path / "lq", ["biden", "obama", "obama2"])
    digest = sha(own_faces / "obama.png")
    for chosen, expected in (
        (options(seed=5), ("obama.png", digest, None, 6)),
        (options(lq=lq), ("obama.png", digest, sha(lq / "obama.jpg"), None)),
    ):
        row = describe(find_entries(chosen)[1], chosen)
        assert (row["name"], row["hq"], row["lq"], row["seed"]) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"every": 0}, "--every"),
        ({"seed": -1}, "--seed"),
        ({"size": 63}, "--size"),
        ({"size": 2049}, "--size"),
        ({"preset": "worse"}, "worse"),
        ({"models": ("m",), "ws": (1.5,)}, "w must be"),
        ({"models": ("m",), "ws": (float("nan"),)}, "w must be"),
        ({"models": ("m",), "ws": ()}, "at least one weight"),
        ({"ws": (0.5, 0.5)}, "same weight twice"),
        ({"models": ("m", "m")}, "same model twice"),
        ({"peers": ("bicubic", "bicubic")}, "same peer twice"),
        ({"restored": {"a/b": "x"}}, "--restored a/b"),
        ({"restored": {"": "x"}}, "a label has"),
        ({"reference": False, "lq": "x"}, "--lq needs originals"),
    ],
)
def test_options_out_of_range_are_refused(options, changes, message):
    with pytest.raises(ConfigError, match=message):
        options(**changes)


def test_faces_of_several_sizes_are_brought_to_the_smallest(tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    for side in (96, 64, 128):
        Image.new("RGB", (side, side)).save(faces / f"{side}.png")
    options = EvaluationOptions(faces=faces, out=tmp_path / "out")
    entries = find_entries(options)
    assert common_size(entries, options) == 64
    assert common_size(entries, replace(options, size=100)) == 100
    assert common_size(entries, replace(options, reference=False)) is None
    (faces / "96.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"96\.png"):
        common_size(entries, options)

"""Photos to training faces, with the real detector: gates, copies, going on, tables."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from facemend.data import prepare as module
from facemend.data.balance import weighted
from facemend.data.faces import Folder, read_faces
from facemend.data.prepare import (
    PrepareOptions,
    find_photos,
    finish,
    prepare,
    read_labels,
    read_record,
)
from facemend.data.quality import Gates, Measures, duplicates, fingerprint, mirrored, yaw_of
from facemend.errors import ConfigError, InputError, OutputError
from facemend.faces.template import template_points
from facemend.imaging import read_picture
from facemend.predictors.detector import FaceDetector

PORTRAIT = Path(__file__).parent / "portrait.jpg"
GATES = Gates(min_native=100)
OPTIONS = PrepareOptions(size=128, gates=GATES, labels={"source": "web", "licence": "cc0"})
COPIES = {"good.jpg", "copy.jpg", "more/good.jpg"}
GOOD = Measures(native_px=600, inside=1.0, yaw=0.1, sharpness=200.0, score=0.99, contrast=0.2)


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(threads=1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A portrait in many states, two photos of one name, a text, a file that is broken."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    with Image.open(PORTRAIT) as opened:
        portrait = opened.convert("RGB")
    portrait.save(folder / "good.jpg", quality=95)
    portrait.save(folder / "copy.jpg", quality=50)
    ImageOps.mirror(portrait).save(folder / "more" / "good.jpg", quality=60)
    portrait.resize((portrait.width // 6, portrait.height // 6)).save(folder / "small.png")
    portrait.filter(ImageFilter.GaussianBlur(portrait.width / 60)).save(folder / "blurred.png")
    Image.new("RGB", (300, 300), (90, 120, 80)).save(folder / "meadow.png")
    (folder / "broken.jpg").write_bytes(PORTRAIT.read_bytes()[:900])
    (folder / "notes.txt").write_text("no picture")
    return folder


def run(photos, out, detector, options=OPTIONS, table=None):
    problems = [p for p in prepare(find_photos([photos], out), out, options, table, detector) if p]
    return finish(out, table), problems


@pytest.fixture(scope="module")
def done(photos, detector, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "out"
    summary, problems = run(photos, out, detector)
    return out, summary, problems


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_kept_and_why_the_rest_is_not(done):
    out, summary, problems = done
    (kept,) = table(out / "manifest.csv")
    assert kept["original"] in COPIES
    reasons = {row["original"]: row["reason"] for row in table(out / "rejected.csv")}
    others = {
        "small.png": "small",
        "blurred.png": "blurred",
        "meadow.png": "no face",
        "broken.jpg": "unreadable",
    }
    assert reasons == dict.fromkeys(COPIES - {kept["original"]}, "duplicate") | others
    assert (summary.photos, summary.kept) == (7, 1)
    assert summary.rejected == {"duplicate": 2} | dict.fromkeys(others.values(), 1)
    assert [("broken.jpg" in problem) for problem in problems] == [True]
    # The manifest says what is known.
    assert (kept["source"], kept["licence"], kept["kind"]) == ("web", "cc0", "")
    assert float(kept["inside"]) > 0.9
    assert abs(float(kept["yaw"])) < 0.3
    assert int(kept["native_px"]) > 100
    assert len(kept["original_sha256"]) == 64
    assert read_picture(out / kept["folder"] / kept["file"]).pixels.shape == (128, 128, 3)
    assert [p.name for p in (out / "faces").iterdir()] == [kept["file"]]


def test_the_face_lies_on_the_template_for_training_and_sheets_show_it(done, detector):
    out, _, _ = done
    faces = read_faces([Folder(out / "faces")], 128)
    np.testing.assert_allclose(weighted(faces, out / "manifest.csv", 1.0, {"web": 3.0}).weights, [3.0])
    face = max(detector.detect(read_picture(faces.files[0]).as_float()), key=lambda found: found.score)
    assert np.abs(face.landmarks - template_points(128)).max() < 8
    for name in ("contact.jpg", "rejected.jpg"):
        assert read_picture(out / name).width > 300


def test_a_second_run_does_nothing_again(photos, done, detector, monkeypatch, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    before = {path: path.read_bytes() for path in out.rglob("*.csv")}
    seen = []
    monkeypatch.setattr(module, "_faces", lambda photo, *rest: seen.append(photo.name) or [])
    summary, _ = run(photos, out, detector)
    assert seen == ["broken.jpg"]  # what could not be read is tried again
    assert summary.kept == 1
    assert before[out / "manifest.csv"] == (out / "manifest.csv").read_bytes()


def test_a_stopped_run_goes_on(photos, done, detector, tmp_path):
    out = tmp_path / "out"
    working = prepare(find_photos([photos], out), out, OPTIONS, None, detector)
    for _ in range(3):
        next(working)
    working.close()
    record = out / "progress.jsonl"
    record.write_text(record.read_text() + '{"name": "good.jpg", "sha2')  # cut off while it was written
    run(photos, out, detector)
    for name in ("manifest.csv", "rejected.csv"):
        assert (out / name).read_text() == (done[0] / name).read_text()


def test_a_better_copy_that_comes_later_takes_the_place(detector, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    with Image.open(PORTRAIT) as opened:
        portrait = opened.convert("RGB")
    soft = portrait.filter(ImageFilter.GaussianBlur(2))
    soft.save(folder / "soft.png")
    run(folder, out, detector)
    assert [row["original"] for row in table(out / "manifest.csv")] == ["soft.png"]
    portrait.save(folder / "sharp.png")
    run(folder, out, detector)
    assert [row["original"] for row in table(out / "manifest.csv")] == ["sharp.png"]
    assert len(list((out / "faces").iterdir())) == len(list((out / "duplicates").iterdir())) == 1


def test_other_options_and_other_folders_are_refused(photos, done, detector, tmp_path):
    with pytest.raises(ConfigError, match=r"other options \(size \d+, .*\): give the same"):
        run(photos, done[0], detector, PrepareOptions(size=256, gates=GATES))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        run(photos, tmp_path, detector)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(OutputError, match=r"mine\.txt: cannot be written"):
        run(photos, tmp_path / "mine.txt", detector)


def test_labels_by_table(detector, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(PORTRAIT, tmp_path / "in/a;b.jpg")
    path = tmp_path / "labels.csv"
    path.write_text("file,source,licence\na;b.jpg,museum,pd\n")
    run(tmp_path / "in", tmp_path / "out", detector, table=read_labels(path))
    (row,) = table(tmp_path / "out" / "manifest.csv")
    assert (row["source"], row["licence"], row["file"][:4]) == ("museum", "pd", "a_b-")
    path.write_text("file,source,licence\na;b.jpg,archive,cc0\n")  # finished photos too
    run(tmp_path / "in", tmp_path / "out", detector, table=read_labels(path))
    assert [row["source"] for row in table(tmp_path / "out" / "manifest.csv")] == ["archive"]
    path.write_text("file\nelsewhere/a;b.jpg\n")
    with pytest.raises(InputError, match=r"names none of the photos: .* such as a;b\.jpg"):
        run(tmp_path / "in", tmp_path / "out", detector, table=read_labels(path))
    path.write_text("name\nx\n")
    with pytest.raises(InputError, match="no column 'file'"):
        read_labels(path)
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_labels(tmp_path / "nowhere.csv")


def test_photos_of_folders(photos, tmp_path):
    assert len(find_photos([photos, photos / "more"], tmp_path)) == 7  # one in two given folders is one
    mine = photos / "prepared"
    (mine / "faces").mkdir(parents=True)
    shutil.copy(PORTRAIT, mine / "faces/face.jpg")
    (photos / "._good.jpg").write_bytes(b"of a Mac")
    assert len(find_photos([photos], mine)) == 7
    assert len(find_photos([photos], tmp_path)) == 8
    shutil.rmtree(mine)
    (photos / "._good.jpg").unlink()
    with pytest.raises(InputError, match="no such folder"):
        find_photos([tmp_path / "nowhere"], tmp_path)
    with pytest.raises(InputError, match="no pictures in"):
        find_photos([tmp_path], tmp_path / "out")


@pytest.mark.parametrize("change", [{"size": 16}, {"format": "jpg"}])
def test_impossible_options(change):
    with pytest.raises(ConfigError):
        PrepareOptions(**change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"native_px": 200}, "small"),
        ({"score": 0.9}, "unsure"),
        ({"inside": 0.7}, "cut off"),
        ({"contrast": 0.01}, "flat"),
        ({"sharpness": 5.0}, "blurred"),
        ({"yaw": -0.9}, "turned"),
    ],
)
def test_every_gate_rejects_what_it_is_for(change, reason):
    gates = Gates(max_yaw=0.8)
    assert gates.fault(GOOD) is None
    name, figure = gates.fault(Measures(**{**GOOD.__dict__, **change}))
    assert (name, figure) == (reason, abs(next(iter(change.values()))))


def test_yaw_of_turned_landmarks():
    frontal = template_points(256)
    assert abs(yaw_of(frontal)) < 0.02
    turned = frontal.copy()
    turned[2, 0] += 20
    assert 0.2 < yaw_of(turned) < 1
    turned[2, 0] -= 40
    assert -1 < yaw_of(turned) < -0.2
    turned[2, 0] = 1e6
    assert yaw_of(turned) == 1


def test_copies_are_found_and_others_are_not(rng):
    """Three different pictures, one of them again brighter, one mirrored."""
    pictures = [np.kron(rng.random((16, 16, 3)), np.ones((8, 8, 1))).astype(np.float32) for _ in range(3)]
    shown = [*pictures, pictures[0] * 0.7, np.ascontiguousarray(pictures[1][:, ::-1])]
    prints = np.array([fingerprint(picture) for picture in shown])
    assert duplicates(prints, [(5,), (5,), (5,), (1,), (9,)]) == {3: 0, 1: 4}
    assert duplicates(prints[:0], []) == {}
    assert np.array_equal(mirrored(mirrored(prints)), prints)


def test_the_record_takes_the_last_word(tmp_path):
    lines = [
        {"name": "a", "sha256": "", "error": "unreadable"},
        {"name": "a", "sha256": "1", "faces": []},
        {"name": "b", "sha256": "", "error": "unreadable"},
    ]
    (tmp_path / "progress.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    assert [(line["name"], line["sha256"]) for line in read_record(tmp_path)] == [("a", "1"), ("b", "")]


def test_names_are_safe():
    name = module._plain("a b;rm -rf~..")
    assert (len(name), name.strip("_")) == (13, "a_b_rm_-rf")


def test_prepare_needs_no_torch():
    code = "import sys, facemend.data.prepare; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_photo_in_two_folders_leaves_one_face(detector, tmp_path):
    for name in ("a/x.jpg", "b/x.jpg", "a b.jpg", "a_b.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PORTRAIT, tmp_path / "photos" / name)
    for _ in range(2):  # again, and it stays so
        summary, _ = run(tmp_path / "photos", tmp_path / "out", detector)
        assert (summary.kept, summary.rejected) == (1, {"duplicate": 3})
        (kept,) = table(tmp_path / "out/manifest.csv")
        assert [path.name for path in (tmp_path / "out/faces").iterdir()] == [kept["file"]]
        assert len(list((tmp_path / "out/duplicates").iterdir())) == 3


def test_training_faces_are_srgb(detector, tmp_path):
    (tmp_path / "photos").mkdir()
    shutil.copyfile(Path(__file__).parents[1] / "data/cases/adobergb.jpg", tmp_path / "photos/wide.jpg")
    options = PrepareOptions(size=128, gates=Gates(min_native=1, min_sharpness=0, min_score=0))
    run(tmp_path / "photos", tmp_path / "out", detector, options)
    (face,) = (tmp_path / "out/faces").iterdir()
    colour = read_picture(face).pixels.mean((0, 1))
    np.testing.assert_allclose(colour, (159.5, 140.1, 119.3), atol=2)  # 154.1, 140.0, 121.1 as stored

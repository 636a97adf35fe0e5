"""`facemend colorize` and `facemend inpaint` from the outside."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.files import file_sha256
from facemend.imaging import Picture, luma, read_picture, write_picture
from facemend.photo.options import DEFAULT_MODEL
from facemend.weights.models import cached_models
from picture_files import file_with_secrets, secrets_in


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))


def run(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


def problem(result, number: int | None = None) -> str:
    """The one line of an error; or one of several."""
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    lines = result.stderr.splitlines()
    assert number is not None or len(lines) == 1
    return lines[number or 0]


@pytest.fixture
def colours(task_model):
    return task_model("colorization", tint=(0.3, -0.1, -0.2))


@pytest.fixture
def filler(task_model):
    return task_model("inpainting", tint=(-0.6, -1.0, -1.2))


@pytest.fixture
def gray_photo(tmp_path, portrait):
    plane = (luma(portrait.as_float()) * 255).round().astype(np.uint8)
    path = tmp_path / "gray.png"
    write_picture(path, Picture.from_array(plane))
    return path


@pytest.fixture
def hole(portrait) -> np.ndarray:
    """A stroke over the nose, and a spot far below the face."""
    mask = np.zeros((portrait.height, portrait.width), np.uint8)
    cv2.line(mask, (160, 80), (190, 110), 255, 12)
    cv2.circle(mask, (60, 380), 12, 255, -1)
    return mask


@pytest.fixture
def mask(tmp_path, hole):
    path = tmp_path / "mask.png"
    write_picture(path, Picture.from_array(hole))
    return path


def test_colorize_file_to_file(gray_photo, tmp_path, colours):
    result = run("colorize", gray_photo, "-o", tmp_path / "new/out.png", "--model", colours)
    assert result.exit_code == 0, result.output
    assert "out.png: 1 face" in result.stdout
    assert "only faces get colour" in result.stderr
    before, after = read_picture(gray_photo), read_picture(tmp_path / "new/out.png")
    assert (before.gray, after.gray) == (True, False)
    assert np.abs(luma(after.as_float()) - luma(before.as_float())).max() <= 0.5 / 255 + 1e-6
    assert np.ptp(after.pixels.astype(int), axis=2).max() > 20


def test_inpaint_file_to_file(tmp_path, portrait, mask, hole, filler):
    write_picture(tmp_path / "photo.png", portrait)
    result = run("inpaint", tmp_path / "photo.png", "--mask", mask, "--model", filler)
    assert result.exit_code == 0, result.output
    after = read_picture(tmp_path / "photo_inpainted.png").pixels
    assert np.array_equal(after[hole == 0], portrait.pixels[hole == 0])
    face = (hole > 0) & (np.arange(portrait.height) < 200)[:, None]
    assert (after[face] != portrait.pixels[face]).any(1).mean() > 0.9
    assert np.array_equal(after[300:], portrait.pixels[300:])
    assert "of what the mask covers lies outside the faces" in result.stderr


def test_metadata_can_be_left_out(tmp_path, portrait, mask, colours, filler):
    lying = np.ascontiguousarray(np.rot90(portrait.pixels))
    (tmp_path / "photo.png").write_bytes(file_with_secrets("png", lying))
    for words in (("colorize", "--model", colours), ("inpaint", "--mask", mask, "--model", filler)):
        for more in ((), ("--strip-metadata",)):
            out = tmp_path / f"{words[0]}{len(more)}.png"
            result = run(*words, tmp_path / "photo.png", "-o", out, *more)
            assert result.exit_code == 0, result.output
            assert bool(secrets_in(out.read_bytes())) != bool(more)


def test_the_dial_of_inpaint(tmp_path, portrait, mask, task_model):
    write_picture(tmp_path / "photo.png", portrait)
    words = ("inpaint", tmp_path / "photo.png", "--mask", mask, "--model", task_model("inpainting"))
    for name, options in (("a", ()), ("b", ("-w", 1)), ("c", ("--w", 0.2))):
        assert run(*words, "-o", tmp_path / f"{name}.png", *options).exit_code == 0
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_folders_with_masks_of_their_own(tmp_path, portrait, hole, filler):
    for name in ("a.jpg", "deep/b.png", "c.png"):
        (tmp_path / "in/deep").mkdir(parents=True, exist_ok=True)
        write_picture(tmp_path / "in" / name, portrait)
    (tmp_path / "in/masks/deep").mkdir(parents=True)
    write_picture(tmp_path / "in/masks/a.png", Picture.from_array(hole))
    write_picture(tmp_path / "in/masks/deep/b.jpg", Picture.from_array(hole))
    (tmp_path / "in/notes.txt").write_text("x")
    words = ("--mask", tmp_path / "in/masks", "--model", filler, "--report", tmp_path / "report.json")
    result = run("inpaint", tmp_path / "in", *words, "-o", tmp_path / "out", "--compare")
    assert result.exit_code == 1
    assert "2 photos done (2 faces filled in), 1 failed" in result.stdout
    assert "masks/c.png: no such file" in result.stderr
    assert "notes.txt" in result.stderr
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert written == {"a.jpg", "a_compare.jpg", "deep/b.png", "deep/b_compare.jpg"}
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["restored"], report["failed"], len(report["files"])) == (2, 1, 3)


def test_one_mask_for_a_folder(tmp_path, portrait, mask, filler):
    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "in/a.png", portrait)
    write_picture(tmp_path / "in/b.png", portrait.resized(0.5))
    result = run("inpaint", tmp_path / "in", "--mask", mask, "--model", filler, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"b.png with mask {mask}: the mask is 320x400 and the photo 160x200" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_a_mask_is_an_input(tmp_path, photo, mask, filler):
    before = mask.read_bytes()
    words = ("--mask", mask, "--model", filler, "-o", mask, "--overwrite")
    assert "is an input" in run("inpaint", photo, *words).stderr
    assert mask.read_bytes() == before


def test_an_unusable_mask_is_one_line(photo, tmp_path, filler):
    mask = tmp_path / "mask.png"
    mask.write_text("text")
    result = run("inpaint", photo, "--mask", mask, "--model", filler, "-o", tmp_path / "out.png")
    assert f"{mask}: not a picture" in problem(result, 1)
    assert not (tmp_path / "out.png").exists()


def test_aligned_faces(tmp_path, portrait, hole, colours, filler):
    face = Picture(portrait.pixels[:300, :300].copy())
    write_picture(tmp_path / "face.png", face)
    write_picture(tmp_path / "mask.png", Picture.from_array(hole[:300, :300]))
    assert run("colorize", tmp_path / "face.png", "--aligned", "--model", colours).exit_code == 0
    coloured = read_picture(tmp_path / "face_colorized.png")
    assert np.abs(luma(coloured.as_float()) - luma(face.as_float())).max() <= 0.5 / 255 + 1e-6
    words = ("--aligned", "--mask", tmp_path / "mask.png", "--model", filler, "--crops", tmp_path / "crops")
    assert run("inpaint", tmp_path / "face.png", *words).exit_code == 0
    filled = read_picture(tmp_path / "face_inpainted.png").pixels
    assert np.array_equal(filled[hole[:300, :300] == 0], face.pixels[hole[:300, :300] == 0])
    assert (tmp_path / "crops/face_face1_after.png").is_file()


@pytest.mark.parametrize(
    ("words", "task"), [(("colorize",), "colorization"), (("inpaint", "--mask", "m.png"), "inpainting")]
)
def test_without_a_model_the_way_to_one_is_told(photo, tiny_model, tmp_path, whole_graph, words, task):
    line = problem(run(*words, photo))
    assert line.startswith(f"facemend: no model is there for {task}: bring the published file (https://")
    assert f"`facemend models import codeformer_{task}.pth`" in line
    line = problem(run(*words, photo, "--model", DEFAULT_MODEL))
    assert line.startswith(
        f"facemend: {DEFAULT_MODEL}: is for restoration, and a model for {task} is needed; use "
    )
    assert "`facemend restore`" in line
    assert f"codeformer_{task}.pth" in line
    for name in ("one", "two"):
        graph = whole_graph(tmp_path / f"{name}.onnx", factor=0.4 if name == "one" else 0.5)
        assert run("models", "import", graph, "--task", task).exit_code == 0
    line = problem(run(*words, photo))
    assert line == f"facemend: several models are there for {task}: choose with --model: one, two"


def test_a_weight_file_is_imported_for_the_task_of_the_command(photo, mask, tmp_path, whole_graph):
    graph = whole_graph(tmp_path / "net.onnx")
    for name in ("a", "b", "c"):  # in the end the one model that is there needs no naming
        words = ("--mask", mask, *(() if name == "c" else ("--model", graph)), "-o", tmp_path / f"{name}.png")
        result = run("inpaint", photo, *words)
        assert result.exit_code == 0, result.output
        assert ("importing" in result.stderr) == (name == "a")
        told = f"network: net, from net.onnx, sha256 {file_sha256(graph)}; licence: not stated"
        assert told in result.stderr.splitlines()
    assert [(model.name, model.task) for model in cached_models()[0]] == [("net", "inpainting")]
    line = problem(run("colorize", photo, "--model", graph))
    assert "is for inpainting, and a model for colorization is needed" in line


@pytest.mark.parametrize(
    "words",
    [
        ("colorize",),
        ("inpaint", "x.png"),
        ("colorize", "x.png", "--upscale", "2"),
        ("colorize", "x.png", "-w", "0.5"),
        ("colorize", "x.png", "--mask", "m.png"),
        ("inpaint", "x.png", "--mask", "m.png", "-w", "2"),
        ("inpaint", "x.png", "y.png", "--mask", "m.png", "-o", "z.png"),
        ("colorize", "x.png", "--faces", "some"),
    ],
)
def test_wrong_usage_is_exit_status_2(words, colours):
    more = ("--model", colours) if len(words) > 1 else ()
    result = run(*words, *more)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output


def test_a_mask_is_never_written_to(photo, mask, filler):
    before = mask.read_bytes()
    words = ["inpaint", "-", "--mask", str(mask), "-o", str(mask), "--overwrite", "--model", str(filler)]
    result = CliRunner().invoke(app, words, input=photo.read_bytes())
    assert result.exit_code == 1
    assert "is an input" in " ".join(result.output.split())
    assert mask.read_bytes() == before

"""`facemend restore` from the outside."""

import json
import os
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.imaging import Picture, read_picture, write_picture
from facemend.weights import models


@pytest.fixture
def cli(tiny_model):
    """Runs `facemend restore` with the tiny model in this process."""

    def run(*arguments):
        words = [str(word) for word in arguments]
        return CliRunner().invoke(app, ["restore", *words, "--model", str(tiny_model), "--threads", "1"])

    return run


def fresh(*arguments, **environment):
    """Runs `facemend` in a process of its own."""
    code = "from facemend.cli.app import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_file_to_file(cli, photo, tmp_path):
    result = cli(photo, "-o", tmp_path / "new/out.png", "--upscale", 2, "-w", 0)
    assert result.exit_code == 0, result.output
    assert "1 face" in result.stdout
    picture = read_picture(tmp_path / "new/out.png")
    assert (picture.width, picture.height) == (640, 800)


def test_without_output_the_result_lies_beside_the_photo(cli, photo, tmp_path):
    assert cli(photo).exit_code == 0
    assert (tmp_path / "photo_restored.jpg").is_file()


def test_folder_report_crops_and_compare(cli, photo, tmp_path):
    (tmp_path / "in/deep").mkdir(parents=True)
    photo.rename(tmp_path / "in/deep/photo.jpg")
    (tmp_path / "in/notes.txt").write_text("x")
    (tmp_path / "in/bad.png").write_text("x")
    options = ("--crops", tmp_path / "crops", "--compare", "--report", tmp_path / "report.json")
    result = cli(tmp_path / "in", "-o", tmp_path / "out", *options)
    assert result.exit_code == 1
    assert "1 photo done (1 face restored), 1 failed" in result.stdout
    assert "bad.png" in result.stderr
    assert "notes.txt" in result.stderr
    for name in ("out/deep/photo.jpg", "out/deep/photo_compare.jpg", "crops/deep/photo_face1_after.png"):
        assert (tmp_path / name).is_file()
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["restored"], report["failed"], len(report["ignored"])) == (1, 1, 1)


def test_an_existing_report_stops_the_run_before_it_starts(cli, photo, tmp_path):
    (tmp_path / "report.json").write_text("mine")
    result = cli(photo, "-o", tmp_path / "out.jpg", "--report", tmp_path / "report.json")
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert not (tmp_path / "out.jpg").exists()
    assert (tmp_path / "report.json").read_text() == "mine"


def test_aligned_keeps_the_size(cli, tmp_path, portrait):
    write_picture(tmp_path / "face.png", Picture(portrait.pixels[:300, :300].copy()))
    assert cli(tmp_path / "face.png", "-o", tmp_path / "out.png", "--aligned").exit_code == 0
    assert read_picture(tmp_path / "out.png").pixels.shape == (300, 300, 3)


def test_overwrite(cli, photo, tmp_path):
    out = tmp_path / "out.jpg"
    assert cli(photo, "-o", out).exit_code == 0
    assert cli(photo, "-o", out).exit_code == 1
    assert cli(photo, "-o", out, "--overwrite").exit_code == 0
    before = photo.read_bytes()
    assert cli(photo, "-o", photo, "--overwrite").exit_code == 1
    assert photo.read_bytes() == before


def test_an_empty_folder_is_a_failure(cli, tmp_path):
    (tmp_path / "in").mkdir()
    result = cli(tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "no photos found" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("-w", "1.5"),
        ("-w", "much"),
        ("--upscale", "3"),
        ("--faces", "some"),
        ("--weight", "0.5"),
    ],
)
def test_wrong_usage_is_exit_status_2(cli, photo, arguments):
    result = cli(photo, *arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_several_photos_cannot_go_into_one_file(cli, photo, tmp_path):
    result = cli(photo, photo, "-o", tmp_path / "out.jpg")
    assert result.exit_code == 2


def test_errors_are_one_line_without_traceback(photo, tmp_path):
    done = fresh("restore", photo, "-o", tmp_path / "out", "--model", "no-such-model")
    assert done.returncode == 1
    assert done.stderr.startswith("facemend: no model 'no-such-model'")
    assert done.stderr.count("\n") == 1
    for arguments, environment in ((("--debug",), {}), ((), {"FACEMEND_DEBUG": "1"})):
        words = (*arguments, "restore", photo, "-o", tmp_path / "out", "--model", "no-such-model")
        done = fresh(*words, **environment)
        assert done.returncode == 1
        assert "Traceback" in done.stderr


def test_the_exit_status_of_a_process(photo, tmp_path, tiny_model):
    (tmp_path / "bad.jpg").write_bytes(b"")
    done = fresh("restore", tmp_path / "bad.jpg", photo, "-o", tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 1
    assert (tmp_path / "out/photo.jpg").is_file()
    assert "bad.jpg: the file is empty" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr  # no progress bar where there is no terminal
    assert fresh("restore").returncode == 2


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    body = png_chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("text.jpg", lambda jpeg: b"this is no picture at all", "not a picture"),
        ("notes.txt", lambda jpeg: b"neither is this", "not a picture"),
        ("empty.png", lambda jpeg: b"", "empty"),
        ("cut.jpg", lambda jpeg: jpeg[: len(jpeg) // 2], "cut off"),
        ("huge.png", lambda jpeg: huge_png(), "megapixels"),
        ("missing.png", None, "no such file"),
    ],
)
def test_bad_files_are_one_line_and_the_run_goes_on(cli, photo, tmp_path, name, make, reason):
    if make is not None:
        (tmp_path / name).write_bytes(make(photo.read_bytes()))
    result = cli(tmp_path / name, photo, "-o", tmp_path / "out")
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if name in line]
    assert reason in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.jpg"]


def variants(portrait: Picture) -> dict[str, tuple[str, bytes]]:
    """Odd but right pictures: name -> (file name, content)."""
    import io

    image = Image.fromarray(portrait.pixels.copy())
    deep = (np.asarray(image.convert("L")).astype(np.uint16)) * 257
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    exif = Image.Exif()
    exif[0x0112] = 6
    made = {
        "gray": ("a.png", image.convert("L"), {}),
        "deep": ("a.png", Image.fromarray(deep), {}),
        "palette": ("a.png", image.convert("P"), {}),
        "cmyk": ("a.jpg", image.convert("CMYK"), {}),
        "alpha": ("a.png", alpha, {}),
        "animated": ("a.gif", image.convert("P"), {"save_all": True, "append_images": [image.convert("P")]}),
        "rotated": ("a.jpg", image.rotate(90, expand=True), {"exif": exif, "quality": 95}),
    }
    files = {}
    for key, (name, picture, options) in made.items():
        buffer = io.BytesIO()
        picture.save(buffer, {"png": "png", "jpg": "jpeg", "gif": "gif"}[name[-3:]], **options)
        files[key] = (name, buffer.getvalue())
    return files


@pytest.mark.parametrize("kind", ["gray", "deep", "palette", "cmyk", "alpha", "animated", "rotated"])
def test_odd_pictures_are_restored(cli, portrait, tmp_path, kind):
    name, data = variants(portrait)[kind]
    (tmp_path / name).write_bytes(data)
    result = cli(tmp_path / name, "-o", tmp_path / "out", "-w", 0)
    assert result.exit_code == 0, result.output
    assert "1 face" in result.stdout
    (path,) = (tmp_path / "out").iterdir()
    assert path.suffix == (".png" if name == "a.gif" else Path(name).suffix)
    picture = read_picture(path)
    assert (picture.width, picture.height) == (320, 400)
    assert picture.gray == (kind in ("gray", "deep"))
    assert picture.pixels.dtype == (np.uint16 if kind == "deep" else np.uint8)
    assert (picture.alpha is not None) == (kind == "alpha")


def test_one_pixel_is_saved_with_a_notice(cli, tmp_path):
    write_picture(tmp_path / "dot.png", Picture(np.full((1, 1, 3), 7, np.uint8)))
    result = cli(tmp_path / "dot.png", "-o", tmp_path / "out.png", "--upscale", 4)
    assert result.exit_code == 0
    assert "no face found" in result.stderr
    assert read_picture(tmp_path / "out.png").pixels.shape == (4, 4, 3)


def test_jobs_do_not_change_what_is_written(cli, photo, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.jpg").write_bytes(photo.read_bytes())
    (folder / "bad.jpg").write_bytes(b"bad")
    for jobs in (1, 3):
        out = tmp_path / f"out{jobs}"
        result = cli(folder, "-o", out, "--jobs", jobs, "--report", tmp_path / f"{jobs}.json")
        assert result.exit_code == 1
        assert "3 photos done (3 faces restored), 1 failed" in result.stdout
    one, three = (json.loads((tmp_path / f"{jobs}.json").read_text())["files"] for jobs in (1, 3))
    assert [Path(item["source"]).name for item in three] == ["a.jpg", "b.jpg", "bad.jpg", "c.jpg"]
    assert [item["faces"] for item in one] == [item["faces"] for item in three]
    assert (tmp_path / "out1/c.jpg").read_bytes() == (tmp_path / "out3/c.jpg").read_bytes()


def test_interrupted_runs_say_what_is_done_and_keep_it(cli, photo, tmp_path, monkeypatch):
    from facemend.cli._shared import photos as command

    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.jpg").write_bytes(photo.read_bytes())

    def tell(item, told):
        raise KeyboardInterrupt  # as Ctrl-C after the first photo

    monkeypatch.setattr(command, "_tell", tell)
    result = cli(folder, "-o", tmp_path / "out", "--jobs", 1, "--report", tmp_path / "report.json")
    assert result.exit_code == 130
    assert "stopped after 1 of 3 photos" in result.stderr
    assert json.loads((tmp_path / "report.json").read_text())["restored"] == 1
    assert read_picture(tmp_path / "out/a.jpg").width == 320
    assert not list((tmp_path / "out").rglob("*.part"))


def test_what_is_true_of_all_photos_is_said_once(cli, photo, tmp_path, monkeypatch):
    from facemend.photo.restore import Restorer

    monkeypatch.setattr(Restorer, "notes", ("cuda does not work: going on with cpu",))
    other = tmp_path / "b.jpg"
    other.write_bytes(photo.read_bytes())
    result = cli(photo, other, "-o", tmp_path / "out", "--report", tmp_path / "report.json")
    assert result.exit_code == 0
    assert result.stderr.count("going on with cpu") == 1
    files = json.loads((tmp_path / "report.json").read_text())["files"]
    assert all("going on with cpu" in item["notes"][0] for item in files)


def test_a_model_is_looked_up_and_checked_once_for_all_photos(cli, photo, tmp_path, monkeypatch):
    reads, sums = Counter(), Counter()
    read, checksum = models.read_model, models.file_sha256
    monkeypatch.setattr(models, "read_model", lambda folder: reads.update([folder.name]) or read(folder))
    monkeypatch.setattr(models, "file_sha256", lambda path: sums.update([path.name]) or checksum(path))
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / f"in/{name}.jpg").write_bytes(photo.read_bytes())
    assert cli(tmp_path / "in", "-o", tmp_path / "out").exit_code == 0
    assert reads == {"tiny": 1, "compact-256": 1}  # those that ship are looked through by their names
    assert sums == {"encode.onnx": 1, "decode.onnx": 1}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--device", "toaster"), 2, "device must be one of"),
        (("--device", "tensorrt"), 1, "it comes with onnxruntime-gpu and TensorRT"),
        (("--backend", "tf"), 2, "onnx or torch"),
        (("--precision", "bf16"), 2, "fp32 with onnx"),
        (("--jobs", "-1"), 2, "jobs"),
    ],
)
def test_devices_and_backends_that_are_not_there(cli, photo, tmp_path, arguments, status, message):
    result = cli(photo, "-o", tmp_path / "out.png", *arguments)
    assert result.exit_code == status
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out.png").exists()

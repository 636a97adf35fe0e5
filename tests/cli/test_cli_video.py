"""`facemend video`, and `facemend restore` with films, from the outside."""

import io
import os
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from facemend.cli._shared import films as video
from facemend.cli.app import app
from facemend.imaging import Picture
from film_files import make_film, packets, shown


@pytest.fixture
def cli(tiny_model):
    """Runs `facemend video`, or another command, with the tiny model in this process."""

    def run(*arguments, command="video"):
        words = [str(word) for word in arguments]
        return CliRunner().invoke(app, [command, *words, "--model", str(tiny_model), "--threads", "1"])

    return run


@pytest.fixture
def film(tmp_path, portrait: Picture):
    """A portrait that moves to the left, eight frames with sound."""
    small = portrait.resized(0.5).pixels
    frames = [np.ascontiguousarray(np.roll(small, -i, axis=1)) for i in range(8)]
    return make_film(tmp_path / "film.mp4", frames)


def test_a_film_becomes_a_film(cli, film, tmp_path):
    out = tmp_path / "new/out.mp4"
    result = cli(film, "-o", out, "-w", 0)
    assert result.exit_code == 0, result.output
    assert "8 frames, 1.0 faces a frame" in result.stdout
    before, after = shown(film), shown(out)
    assert [time for time, _ in after] == [time for time, _ in before]
    assert np.abs(after[4][1][50:120, 50:110].astype(int) - before[4][1][50:120, 50:110]).mean() > 4
    assert packets(out, "audio") == packets(film, "audio")


def test_w_is_that_of_films_unless_it_is_given(cli, film, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "facemend.video.restore.restore_video",
        lambda source, output, options, given, **more: (
            seen.append((output.name, options.w, given)) or _done(output)
        ),
    )
    assert cli(film).exit_code == 0
    assert cli(film, "-w", 0.5, "-o", tmp_path / "a.webm", "--crf", 30, "--fast").exit_code == 0
    assert cli(film, "--start", "1:02.5", "--end", "1:00:00", "--codec", "h265").exit_code == 0
    (name, w, _), (_, other, webm), (_, _, part) = seen
    assert (name, w, other) == ("film_restored.mp4", 0.7, 0.5)
    assert (webm.coding.codec, webm.coding.crf) == ("vp9", 30)
    assert webm.fast
    assert not part.fast
    assert (part.span.start, part.span.end, part.coding.codec) == (Fraction("62.5"), 3600, "h265")


def test_restore_takes_films_too_and_names_the_command_with_their_options(cli, film, tmp_path):
    result = cli(film, "-w", 0, "-o", tmp_path / "out.mp4", command="restore")
    assert result.exit_code == 0, result.output
    assert (
        result.stderr
        == "facemend: `facemend video` has the options of films: their part, codec and quality\n"
    )
    assert cli(film, "-w", 0, "-o", tmp_path / "same.mp4").stderr == ""
    frames, same = shown(tmp_path / "out.mp4"), shown(tmp_path / "same.mp4")
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(frames, same, strict=True))
    assert cli(film, "--start", "1", command="restore").exit_code == 2


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_an_animation_becomes_a_film_with_its_times(cli, tmp_path, portrait, suffix):
    small = portrait.resized(0.5).pixels
    frames = [Image.fromarray(np.roll(small, -8 * i, axis=1)) for i in range(4)]
    times = [100, 300, 50, 70]
    path = tmp_path / f"anim.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=times, loop=0)
    result = cli(path, "-o", tmp_path / "out.mp4", command="restore")
    assert result.exit_code == 0, result.output
    assert "4 frames, 1.0 faces a frame" in result.stdout
    assert "transparency" not in result.stderr
    made = shown(tmp_path / "out.mp4")
    assert [float(time) for time, _ in made] == [0, 0.1, 0.4, 0.45]
    with av.open(str(tmp_path / "out.mp4")) as film:
        assert film.duration == 520_000
    assert cli(path, "-o", tmp_path / "same.mp4").exit_code == 0


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("still.png", 0, "still.png: no animation that can be read"),
        ("anim.webp", 2, "anim.webp: no animation that can be read (FFmpeg knows no animated WebP"),
        ("photo.jpg", 0, ".mp4 is nothing that photos can be written as"),
    ],
)
def test_what_no_film_is_made_of(cli, tmp_path, portrait, name, more, message):
    image = Image.fromarray(portrait.pixels)
    frames = [image.transpose(Image.Transpose.ROTATE_180)] * more
    image.save(tmp_path / name, **({"save_all": True, "append_images": frames} if more else {}))
    result = cli(tmp_path / name, "-o", tmp_path / "out.mp4", command="restore")
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not list(tmp_path.glob("out*"))


def _done(output):
    from facemend.video.restore import VideoResult

    return VideoResult(output, 1, 1, 0, ())


def test_several_films_go_to_a_folder_and_one_failure_does_not_stop_the_rest(cli, film, tmp_path):
    (tmp_path / "bad.mkv").write_bytes(b"no film")
    result = cli(tmp_path / "bad.mkv", film, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "bad.mkv: no film that can be read" in result.stderr
    assert len(shown(tmp_path / "out/film.mp4")) == 8
    assert cli(film, film, "-o", tmp_path / "one.mp4").exit_code == 2


@pytest.fixture
def album(tmp_path, film, photo):
    """Two films that would become one, one in a folder below, and a photo."""
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.mkv").write_bytes(film.read_bytes())
    (folder / "a.avi").write_bytes(film.read_bytes())
    (folder / "sub/b.mp4").write_bytes(film.read_bytes())
    photo.rename(folder / "photo.jpg")
    return folder


def test_a_folder_of_films_goes_on_where_it_was(cli, album, tmp_path):
    out = tmp_path / "out"
    result = cli(album, "-o", out)
    assert result.exit_code == 0, result.output
    assert "3 films done, 0 done before, 0 failed" in result.stdout
    assert result.stdout.endswith(f"-> {out}\n")
    assert "skipped 1 file, by their names no films" in result.stderr
    made = {name: (out / name).stat().st_mtime_ns for name in ("a.mkv", "a_avi.mkv", "sub/b.mp4")}
    (out / "sub/b.mp4").unlink()
    assert "1 film done, 2 done before, 0 failed" in cli(album, "-o", out).stdout
    other = cli(album, "-o", out, "--crf", 30)
    assert other.exit_code == 1
    assert "3 films were made with other options (crf None, now 30): --overwrite makes them" in other.stderr
    assert all((out / name).stat().st_mtime_ns == made[name] for name in ("a.mkv", "a_avi.mkv"))
    assert "3 films done" in cli(album, "-o", out, "--crf", 30, "--overwrite").stdout
    assert cli(album, "-o", out, "--faces", "1").exit_code == 2


def test_a_named_film_and_a_folder_without_an_output(cli, album, film):
    result = cli(film, album)
    assert "4 films done" in result.stdout, result.output
    assert len(shown(film.with_name("film_restored.mp4"))) == 8
    assert "4 done before" in cli(film, album).stdout


def test_a_film_that_is_replaced_meanwhile_is_not_done(cli, album, film, tmp_path, monkeypatch):
    def replaces(source, output, options, given, **more):
        source.write_bytes(source.read_bytes() + b"newer")
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(b"film")
        return _done(output)

    monkeypatch.setattr("facemend.video.restore.restore_video", replaces)
    result = cli(album, "-o", tmp_path / "out")
    assert result.stderr.count("has changed meanwhile") == 3
    assert "3 films done, 0 done before" in cli(album, "-o", tmp_path / "out", "--overwrite").stdout


def test_a_film_that_cannot_be_read_spares_the_others(cli, album, tmp_path, monkeypatch):
    assert cli(album, "-o", tmp_path / "out").exit_code == 0
    os.utime(album / "a.mkv")

    def unreadable(path):
        raise PermissionError(13, "Permission denied") if path.name == "a.mkv" else AssertionError(path)

    monkeypatch.setattr("facemend.cli._shared.films.file_sha256", unreadable)
    result = cli(album, "-o", tmp_path / "out")
    assert "a.mkv: cannot be read (Permission denied)" in result.stderr
    assert "0 films done, 2 done before, 1 failed" in result.stdout


def test_restore_names_the_films_of_a_folder(cli, album, tmp_path):
    result = cli(album, "-o", tmp_path / "out", command="restore")
    assert result.exit_code == 0
    assert "3 films left out (`facemend video FOLDER` restores them): " in result.stderr
    assert "no pictures" not in result.stderr
    assert not list((tmp_path / "out").rglob("*.m*"))


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("restore", ["film.mp4", "photo.jpg"], "do not go together"),
        ("restore", ["film.mp4", "--compare"], "--compare"),
        ("restore", ["film.mp4", "--jobs", "2"], "--jobs"),
        (
            "restore",
            ["film.mp4", "--upscale", "2", "--background", "realesrgan"],
            "background must be lanczos",
        ),
        ("video", ["film.mp4", "photo.jpg"], "photo.jpg: is no film by its name"),
        ("video", ["film.mp4", "--start", "soon"], "no time"),
        ("video", ["film.mp4", "--start", "5", "--end", "4"], "start"),
        ("video", ["film.mp4", "--codec", "divx"], "divx"),
        ("video", ["film.mp4", "--upscale", "3"], "upscale must be"),
        ("video", ["film.mp4", "sub/film.mp4", "-o", "out"], "2 films would have that name"),
    ],
)
def test_wrong_uses_say_what_is_wrong(cli, film, photo, tmp_path, monkeypatch, command, arguments, message):
    monkeypatch.chdir(film.parent)
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))  # without the weights of the background
    result = cli(*arguments, command=command)
    assert result.exit_code in (1, 2)
    assert message in result.output


def test_ctrl_c_says_how_to_go_on(cli, film, tmp_path, monkeypatch):
    from facemend.video.encode import SegmentWriter

    def interrupted(self, frame):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "write", interrupted)
        result = cli(film, "-o", tmp_path / "out.mp4")
    assert result.exit_code == 130
    assert "nothing of it is kept; the same command begins it anew" in result.stderr
    assert not list(tmp_path.glob("out*"))
    assert cli(film, "-o", tmp_path / "out.mp4").exit_code == 0


def test_progress_shows_frames_a_second_and_time_left(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with video._progress("film.mp4") as on_frame:
        for done in range(101, 141):
            on_frame(done, 200)
        import time

        time.sleep(0.3)
        on_frame(141, 200)
    text = terminal.getvalue()
    assert "film.mp4" in text
    assert "fps" in text
    assert "141/200" in text

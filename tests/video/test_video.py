"""The whole film: what is kept, what changes, and that a run which was stopped ends as if it had not been."""

import signal
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from facemend.errors import ConfigError, FacemendError, InputError, OutputError, TooLargeError
from facemend.photo.networks import Networks
from facemend.photo.options import RestoreOptions
from facemend.types import Diagnosis
from facemend.video.encode import CODECS, FilmCoding
from facemend.video.frames import FilmState, FrameRestorer
from facemend.video.mux import Span
from facemend.video.restore import VideoOptions, load_networks, restore_video
from facemend.video.state import load_state, save_state
from fake_parts import diagnosis_row, make_face
from film_files import STEP, TB, make_film, packets, panning, shown, texture
from film_parts import film_parts, names

VFR = [STEP * i + (7000 if i > 9 else 0) + (311 if i % 3 == 1 else 0) for i in range(20)]
CHAPTERS = [
    {"id": 0, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}},
    {"id": 1, "start": 400, "end": 800, "time_base": Fraction(1, 1000), "metadata": {"title": "two"}},
]
LOSSLESS = FilmCoding("h264", 0)


def restore(source: Path, output: Path, *, networks=None, **settings):
    settings = {"segment": 7, **settings}
    options = settings.pop("options", RestoreOptions(w=0.2))
    video = {key: settings.pop(key) for key in ("span", "coding", "overwrite", "fast") if key in settings}
    return restore_video(
        source, output, options, VideoOptions(**video), networks=networks or film_parts(), **settings
    )


def step(restorer: FrameRestorer, state: FilmState, frame, canvas, seconds: float) -> FilmState:
    return restorer.show(state.faces, restorer.draw(restorer.see(state.scene, frame, seconds)), canvas)


def shaking(z):
    """A network whose result hangs on the slightest change of its input."""
    seeds = [int(abs(float(crop.sum())) * 1e4) % 2**32 for crop in z]
    return 0.2 * np.stack([np.random.default_rng(s).standard_normal(z.shape[1:]) for s in seeds]).astype("f4")


@pytest.fixture
def film(tmp_path, rng):
    return make_film(
        tmp_path / "film.mp4", panning(rng), pts=VFR, chapters=CHAPTERS, metadata={"title": "A film"}
    )


def test_only_the_faces_change_and_all_else_is_kept(tmp_path, film):
    result = restore(film, tmp_path / "out.mp4", coding=LOSSLESS)
    assert (result.frames, result.faces, result.resumed, result.notes) == (20, 20, 0, ())
    before, after = shown(film), shown(result.output)
    assert [time for time, _ in after] == [time for time, _ in before] == [i * TB for i in VFR]
    for (_, old), (_, new) in zip(before, after, strict=True):
        outside = np.ones(old.shape[:2], bool)
        outside[28:94, 38:104] = False
        assert (new[outside] == old[outside]).all()
        assert np.abs(new[45:80, 55:85].astype(int) - old[45:80, 55:85]).mean() > 3
    assert packets(result.output, "audio") == packets(film, "audio")
    with av.open(str(film)) as source, av.open(str(result.output)) as out:
        assert [c["metadata"] for c in out.chapters()] == [{"title": "one"}, {"title": "two"}]
        times = [[c["start"] * c["time_base"] for c in each.chapters()] for each in (source, out)]
        assert times[0] == times[1]
        assert out.metadata["title"] == "A film"
    assert names(tmp_path) == ["film.mp4", "out.mp4"]


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_and_colour_tags_are_kept(tmp_path, rng, rotation):
    film = make_film(
        tmp_path / "film.mp4",
        panning(rng, 5),
        rotation=rotation,
        colours=(9, 14, 9, 2),
        aspect=Fraction(4, 3),
    )
    # The picture stands upright before the network: the detector's face lies in a frame of 120 x 160 then.
    seen = []
    parts = film_parts(lambda frame: [make_face(30, 50, 60)])
    detect = parts.detector.detect
    parts.detector.detect = lambda image, **more: seen.append(image.shape) or detect(image, **more)
    for name in ("out.mp4", "out.mov", "out.mkv"):
        result = restore(film, tmp_path / name, networks=parts)
        assert result.faces == 5
        with av.open(str(result.output)) as out:
            frame = next(out.decode(video=0))
            assert frame.rotation == rotation or (abs(rotation) == 180 and abs(frame.rotation) == 180)
            tags = frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range
            assert tags == (9, 14, 9, 2)
            assert out.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    assert {shape[:2] for shape in seen} == {(120, 160) if abs(rotation) == 180 else (160, 120)}


@pytest.mark.parametrize(
    ("suffix", "settings"),
    [
        (".mkv", {"subtitles": True}),
        (".mp4", {"audio": None}),
        (".mp4", {"pixel_format": "yuv420p10le"}),
        (".mkv", {"pixel_format": "yuv422p", "codec": "ffv1", "options": {}}),
        (".avi", {"codec": "mpeg4", "audio": "libmp3lame", "options": {}, "time_base": Fraction(1, 25)}),
        (".ts", {}),
    ],
)
def test_films_of_all_kinds(tmp_path, rng, suffix, settings):
    film = make_film(tmp_path / f"film{suffix}", panning(rng, 12), **settings)
    result = restore(film, tmp_path / "out.mkv")
    before, after = shown(film), shown(result.output)
    assert len(before) == len(after) == result.frames == 12
    steps = [np.diff([float(time) for time, _ in each]) for each in (before, after)]
    assert steps[1] == pytest.approx(steps[0], abs=0.0021)  # Matroska counts milliseconds
    if settings.get("audio", "aac"):
        sound, kept = packets(film, "audio"), packets(result.output, "audio")
        assert len(sound) == len(kept)
        if suffix != ".ts":  # there each packet has a header of its own, which Matroska keeps once
            assert [data for data, _ in kept] == [data for data, _ in sound]
        gaps = [float(a[0][1]) - float(p[0][0]) for a, p in ((sound, before), (kept, after))]
        assert gaps[1] == pytest.approx(gaps[0], abs=0.003)  # in time with the pictures
    if settings.get("subtitles"):
        assert packets(result.output, "subtitles") == packets(film, "subtitles")
    with av.open(str(result.output)) as out:
        wanted = settings.get("pixel_format", "yuv420p")
        assert out.streams.video[0].codec_context.pix_fmt == wanted


def test_strength_is_the_share_of_the_change_and_auto_keeps_the_size(tmp_path, film):
    none, half, full = (
        shown(
            restore(
                film,
                tmp_path / f"{strength}.mp4",
                options=RestoreOptions(w=0.2, strength=strength),
                coding=LOSSLESS,
            ).output
        )[5][1].astype(int)
        for strength in (0, 0.5, 1)
    )
    assert np.array_equal(none, shown(film)[5][1])
    assert np.abs(full - none).max() > 12
    assert np.abs((half - none) - (full - none) / 2).max() <= 4  # chroma is stored coarsely


def test_w_auto_goes_slowly_over_a_track_and_on_after_a_stop(tmp_path, rng):
    """What is said of a face jumps after the first frame: w follows by a tenth of the way a frame."""
    jumps = iter([0.0, *[1.0] * 20])

    def says(z):
        w = next(jumps)
        lpips = np.abs(np.array(Diagnosis.WS) - w) / 10 + 0.1
        return np.stack([diagnosis_row(lpips=lpips)] * len(z))

    restorer = FrameRestorer(RestoreOptions(w="auto"), film_parts(says=says))
    state, ws = FilmState(), []
    frame = rng.integers(0, 255, (150, 200, 3), np.uint8)
    for number in range(6):
        state = step(restorer, state, frame, frame.copy(), number / 25)
        save_state(tmp_path / f"{number}.npz", state)
        state = load_state(tmp_path / f"{number}.npz")
        ws.append(state.faces[next(iter(state.faces))].choice.w)
    assert ws == pytest.approx([1 - 0.9**n for n in range(6)])


@pytest.mark.parametrize(("fast", "asked"), [(False, 10), (True, 3)])
def test_masks_and_with_fast_the_network_are_asked_every_fourth_frame(tmp_path, film, fast, asked):
    runs, masks = [], []
    parts = film_parts(change=lambda z: runs.append(len(z)) or 0.3 - 0.3 * z)
    make = parts.masker.mask
    parts.masker.mask = lambda crop, **more: masks.append(1) or make(crop, **more)
    options = RestoreOptions(w=0.2)
    restorer, state = FrameRestorer(options, parts, fast=fast), FilmState()
    frames = [pixels for _, pixels in shown(film)[:10]]
    for number, frame in enumerate(frames):
        canvas = frame.copy()
        state = step(restorer, state, frame, canvas, (number + 1) / 25)
        assert len(state.faces) == 1
        assert np.abs(canvas[45:80, 55:85].astype(int) - frame[45:80, 55:85]).mean() > 3
    assert (sum(runs), len(masks)) == (asked, 3)
    # A face that nothing is remembered of is drawn in any frame.
    step(restorer, FilmState(state.scene), frames[-1], frames[-1].copy(), 0.5)
    assert (sum(runs), len(masks)) == (asked + 1, 4)


def test_the_networks_of_a_film_share_the_cores(monkeypatch):
    taken = []
    monkeypatch.setattr("facemend.video.restore.usable_cores", lambda: 8)
    monkeypatch.setattr(Networks, "load", lambda options, model: taken.append(options.threads))
    for threads in (0, 3):
        load_networks(RestoreOptions(threads=threads))
    assert taken == [4, 3]


def test_odd_sides_are_handled(tmp_path, rng):
    frames = panning(rng, 3, height=121, width=161)
    film = make_film(tmp_path / "film.mkv", frames, codec="ffv1", options={})
    result = restore(film, tmp_path / "out.mp4")
    assert any("161x121" in note for note in result.notes)
    assert shown(result.output)[0][1].shape == (122, 162, 3)


def test_upscale_enlarges_all_of_it(tmp_path, film):
    options = RestoreOptions(w=0.2, upscale=2)
    large, faceless = (
        restore(film, tmp_path / f"{i}.mp4", options=options, networks=parts, coding=LOSSLESS).output
        for i, parts in enumerate((film_parts(), film_parts(lambda frame: [])))
    )
    (_, new), (_, plain), (_, small) = (shown(path)[5] for path in (large, faceless, film))
    assert new.shape == plain.shape == (240, 320, 3)
    assert np.abs(plain[::2, ::2].astype(int) - small).mean() < 6
    changed = np.abs(new.astype(int) - plain)
    assert changed[90:160, 110:170].mean() > 3
    changed[56:188, 76:208] = 0
    assert not changed.any()


def test_fonts_are_kept_in_matroska_and_left_out_elsewhere(tmp_path, rng):
    plain = make_film(tmp_path / "plain.mkv", panning(rng, 5))
    film = tmp_path / "film.mkv"
    with av.open(str(plain)) as source, av.open(str(film), "w") as out:
        copies = {s.index: out.add_stream_from_template(s) for s in source.streams}
        out.add_attachment("font.ttf", "font/ttf", b"glyphs")
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                out.mux(packet)
    with av.open(str(restore(film, tmp_path / "out.mkv").output)) as out:
        (font,) = out.streams.attachments
        assert (font.name, font.mimetype, font.data) == ("font.ttf", "font/ttf", b"glyphs")
    result = restore(film, tmp_path / "out.mp4")
    assert any(note.startswith("left out: attachment") for note in result.notes)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_tags_can_be_left_out(tmp_path, rng, suffix):
    """Of the film and its streams, and what is attached; languages, chapters and fonts stay."""
    film = tmp_path / f"film{suffix}"
    plain = make_film(tmp_path / "plain.mkv", panning(rng, 5))
    options = {"movflags": "use_metadata_tags"} if suffix == ".mp4" else {}
    with av.open(str(plain)) as source, av.open(str(film), "w", options=options) as out:
        copies = {s.index: out.add_stream_from_template(s) for s in source.streams}
        for copy in copies.values():
            copy.metadata.update({"language": "deu", "handler_name": "SECRET 1"})
        out.metadata.update(
            {"title": "SECRET 2", "location": "SECRET 3", "com.apple.quicktime.model": "SECRET 4"}
        )
        out.set_chapters(CHAPTERS[:1])
        if suffix == ".mkv":
            out.add_attachment("font.ttf", "font/ttf", b"glyphs")
            out.add_attachment("notes.txt", "text/plain", b"SECRET 5")
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                out.mux(packet)
    told = film.read_bytes().count(b"SECRET")
    assert told >= 3
    for strip in (False, True):
        options = RestoreOptions(w=0.2, strip_metadata=strip)
        output = restore(film, tmp_path / f"{strip}{suffix}", options=options).output
        assert (b"SECRET" in output.read_bytes()) != strip
        with av.open(str(output)) as out:
            assert {s.metadata["language"] for s in (*out.streams.video, *out.streams.audio)} == {"deu"}
            assert [c["metadata"] for c in out.chapters()] == [{"title": "one"}]
            names = [each.name for each in out.streams.attachments]
            assert names == (["font.ttf", "notes.txt"][: 2 - strip] if suffix == ".mkv" else [])


@pytest.mark.parametrize(("codec", "suffix"), [("h265", ".mp4"), ("av1", ".mkv"), ("vp9", ".webm")])
def test_every_codec_keeps_the_times_and_takes_its_crf(tmp_path, rng, codec, suffix):
    assert codec in CODECS
    film = make_film(tmp_path / "film.mkv", panning(rng, 12), audio="libopus" if suffix == ".webm" else None)
    made = [
        restore(film, tmp_path / f"{crf}{suffix}", coding=FilmCoding(codec, crf)).output for crf in (20, 50)
    ]
    times = [[time for time, _ in shown(path)] for path in (film, made[0])]
    offset = times[1][0] - times[0][0]
    assert [time - offset for time in times[1]] == pytest.approx(times[0], abs=0.002)
    assert made[1].stat().st_size < 0.7 * made[0].stat().st_size
    assert codec != "h265" or b"hvc1" in made[0].read_bytes()  # the tag that Apple wants


def test_a_part_of_a_film_begins_at_zero_with_its_sound(tmp_path, film):
    span = Span(Fraction(VFR[5], 90_000), Fraction(VFR[15], 90_000))
    result = restore(film, tmp_path / "out.mp4", span=span)
    assert [time for time, _ in shown(result.output)] == [(pts - VFR[5]) * TB for pts in VFR[5:15]]
    inside = [(d, t - span.start) for d, t in packets(film, "audio") if span.start <= t < span.end]
    kept = packets(result.output, "audio")
    assert [data for data, _ in kept] == [data for data, _ in inside]
    assert [float(t) for _, t in kept] == pytest.approx([float(t) for _, t in inside], abs=1e-4)
    with av.open(str(result.output)) as out:
        assert [round(float(c["start"] * c["time_base"]), 3) for c in out.chapters()] == [0, 0.2]


class Stop(BaseException):
    """Stands for a kill: nothing may clean up after it that the tests rely on."""


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("at", "fast"),
    [pytest.param(at, at == 8, marks=() if at in (7, 8) else LONG) for at in (1, 7, 8, 14, 19)],
)
def test_a_run_that_was_stopped_goes_on_and_gives_the_same(tmp_path, film, at, fast):
    def moving(frame):
        return [make_face(40 - frame // 2, 30, 60)]

    # The fake detector counts frames, so a run that goes on must begin to count where it was.
    def parts(begun=0):
        return film_parts(lambda frame: moving(frame + begun), change=shaking)

    whole = restore(film, tmp_path / "whole.mp4", networks=parts(), coding=LOSSLESS, fast=fast)

    def stop(done, total):
        assert total == 20
        if done == at:
            raise Stop

    out = tmp_path / "out.mp4"
    with pytest.raises(Stop):
        restore(film, out, networks=parts(), coding=LOSSLESS, fast=fast, on_frame=stop)
    assert not out.exists()
    begun = at // 7 * 7 if at % 7 else at - 7  # the segment of the frame was not finished yet
    told = []
    result = restore(
        film,
        out,
        networks=parts(begun),
        coding=LOSSLESS,
        fast=fast,
        on_frame=lambda done, total: told.append(done),
    )
    assert (result.resumed, result.frames, result.faces) == (begun, 20, 20)
    assert told == list(range(begun + 1, 21))
    for (time, a), (other, b) in zip(shown(whole.output), shown(out), strict=True):
        assert time == other
        assert (a == b).all()
    assert out.read_bytes() == whole.output.read_bytes()
    assert names(tmp_path) == ["film.mp4", "out.mp4", "whole.mp4"]


def test_a_run_with_other_settings_does_not_mix_in(tmp_path, film):
    def stop(done, total):
        if done == 10:
            raise Stop

    out = tmp_path / "out.mp4"
    with pytest.raises(Stop):
        restore(film, out, on_frame=stop)
    folder = tmp_path / "out.mp4.facemend"
    kept = names(folder)
    with pytest.raises(OutputError, match=r"another w.*--overwrite"):
        restore(film, out, options=RestoreOptions(w=0.9))
    assert names(folder) == kept
    assert restore(film, out, options=RestoreOptions(w=0.9), overwrite=True).resumed == 0
    assert not folder.exists()


def test_a_folder_of_that_name_that_is_not_ours_stays(tmp_path, film):
    folder = tmp_path / "out.mp4.facemend"
    folder.mkdir()
    (folder / "diary.txt").write_text("mine")
    with pytest.raises(OutputError, match="another tool"):
        restore(film, tmp_path / "out.mp4")
    assert names(folder) == ["diary.txt"]


def test_outputs_are_never_overwritten_unasked(tmp_path, film):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        restore(film, out)
    assert out.read_bytes() == b"mine"
    with pytest.raises(OutputError, match="is an input"):
        restore(film, film, overwrite=True)
    assert restore(film, out, overwrite=True).frames == 20
    assert len(shown(out)) == 20

    late = tmp_path / "late.mp4"
    with pytest.raises(OutputError, match="exists already"):
        restore(film, late, on_frame=lambda done, total: late.write_bytes(b"mine"))
    assert late.read_bytes() == b"mine"


def test_what_the_output_cannot_hold_is_said_before_the_work(tmp_path, rng):
    film = make_film(tmp_path / "film.mkv", panning(rng, 3), subtitles=True)
    told = []
    for output, settings, message in (
        ("out.mp4", {}, "subtitle .*: write to .mkv"),
        ("out.avi", {}, "cannot write this kind of film"),
        ("out.webm", {}, "--codec"),
        ("out.mkv", {"options": RestoreOptions(aligned=True)}, "aligned"),
        ("out.mkv", {"options": RestoreOptions(background="realesrgan", upscale=2)}, "background"),
        ("out.mkv", {"span": Span(Fraction(3), Fraction(2))}, "start"),
    ):
        with pytest.raises(FacemendError, match=message):
            restore(film, tmp_path / output, on_frame=lambda *frame: told.append(frame), **settings)
    assert told == []
    assert names(tmp_path) == ["film.mkv"]


def test_an_empty_part_and_a_large_output_are_refused(tmp_path, film, monkeypatch):
    with pytest.raises(InputError, match="--start"):
        restore(film, tmp_path / "out.mp4", span=Span(Fraction(100)))
    with pytest.raises(TooLargeError, match="upscale"):
        restore(film, tmp_path / "out.mp4", options=RestoreOptions(upscale=4, max_pixels=300_000))
    assert names(tmp_path) == ["film.mp4"]
    for bad in ({"codec": "divx"}, {"crf": 99}):
        with pytest.raises(ConfigError):
            FilmCoding(**bad)


def test_a_size_that_changes_on_the_way_leaves_no_output(tmp_path, rng):
    parts = [
        make_film(tmp_path / f"{i}.ts", [texture(rng, *size)] * 8, audio=None)
        for i, size in enumerate([(120, 160), (96, 128)])
    ]
    film = tmp_path / "film.ts"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(InputError, match="160x120 yuv420p to 128x96"):
        restore(film, tmp_path / "out.mp4")
    assert names(tmp_path) == ["0.ts", "1.ts", "film.ts"]


def test_a_full_disk_keeps_what_is_done(tmp_path, film, monkeypatch):
    from facemend.video import encode as film_writing

    write = film_writing.SegmentWriter.write

    written = []

    def full(self, frame):
        if len(written) == 9:
            raise OutputError("out.mp4: cannot be written (No space left on device)")
        written.append(frame)
        write(self, frame)

    monkeypatch.setattr(film_writing.SegmentWriter, "write", full)
    with pytest.raises(OutputError, match="No space"):
        restore(film, tmp_path / "out.mp4")
    monkeypatch.undo()
    assert restore(film, tmp_path / "out.mp4").resumed == 7


def run_python(code: str, *arguments, limit: float) -> str:
    """Run code in a process of its own, with the helpers of the tests."""
    folders = [Path(__file__).parent, Path(__file__).parents[1]]
    head = f"import sys; sys.path[:0] = {[str(folder) for folder in folders]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    if done.returncode < 0:
        raise subprocess.CalledProcessError(done.returncode, done.args)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


KILLED = """
    import os, signal
    from pathlib import Path
    from film_parts import film_parts
    from test_video import restore, shaking
    def kill(done, total):
        if done == 12:
            os.kill(os.getpid(), signal.SIGKILL)
    film, out = map(Path, sys.argv[1:])
    restore(film, out, networks=film_parts(change=shaking), on_frame=kill)
"""


@LONG
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
def test_a_run_that_was_killed_goes_on_and_gives_the_same(tmp_path, film):
    out = tmp_path / "out.mp4"
    with pytest.raises(subprocess.CalledProcessError) as killed:
        run_python(KILLED, film, out, limit=60)
    assert killed.value.returncode == -signal.SIGKILL
    assert not out.exists()
    result = restore(film, out, networks=film_parts(change=shaking))
    assert result.resumed == 7
    whole = restore(film, tmp_path / "whole.mp4", networks=film_parts(change=shaking))
    assert out.read_bytes() == whole.output.read_bytes()


MUTATE = """
    import random
    from pathlib import Path
    import av
    from film_parts import film_parts
    from facemend.errors import FacemendError
    from facemend.photo.options import RestoreOptions
    from facemend.video.restore import restore_video
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    sources = [path.read_bytes() for path in sorted(folder.glob("film.*"))]
    refused = 0
    for seed in range(count):
        chance = random.Random(seed)
        data = bytearray(sources[seed % len(sources)])
        for _ in range(chance.choice([1, 4, 30, 300])):
            kind, place = chance.randrange(4), chance.randrange(len(data))
            if kind == 0:
                data[place] = chance.randrange(256)
            elif kind == 1:
                data[place : place + 4] = chance.choice([b"\\xff" * 4, b"\\0" * 4, b"\\x7f\\xff\\xff\\xff"])
            elif kind == 2:
                data[place] ^= 1 << chance.randrange(8)
            elif chance.random() < 0.02:
                del data[place : place + chance.randrange(1, 2000)]
        path, out = folder / "mutant.bin", folder / "out.mkv"
        path.write_bytes(data)
        try:
            result = restore_video(path, out, RestoreOptions(w=0.2), networks=film_parts(), segment=7)
        except FacemendError as error:
            refused += 1
            assert "\\n" not in str(error), error
            assert str(folder) in str(error), error
            assert not out.exists(), error
        else:
            with av.open(str(out)) as film:
                assert len(list(film.decode(video=0))) == result.frames
            out.unlink()
        rest = {p.name for p in folder.iterdir()} - {"mutant.bin"}
        assert all(name.startswith("film.") for name in rest), rest
    print(refused)
"""


@pytest.mark.parametrize(("count", "limit"), [(12, 120), pytest.param(200, 1200, marks=LONG)])
def test_damaged_films_give_one_line_or_a_whole_film(tmp_path, rng, count, limit):
    frames, avi = panning(rng, 10), {"codec": "mpeg4", "options": {}, "time_base": Fraction(1, 25)}
    make_film(tmp_path / "film.mp4", frames, options={"movflags": "+faststart"})
    make_film(tmp_path / "film.mkv", frames, subtitles=True)
    make_film(tmp_path / "film.avi", frames, audio="libmp3lame", **avi)
    make_film(tmp_path / "film.ts", frames)
    assert 0 < int(run_python(MUTATE, tmp_path, count, limit=limit)) < count


MEASURE = """
    import resource
    from pathlib import Path
    from film_parts import film_parts
    from facemend.photo.options import RestoreOptions
    from facemend.video.restore import restore_video
    source, out = map(Path, sys.argv[1:])
    restore_video(source, out, RestoreOptions(w=0.2), networks=film_parts(), segment=40)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("counts", [(80, 320), pytest.param((500, 4000), marks=LONG)])
def test_memory_does_not_grow_with_the_film(tmp_path, rng, counts):
    frame, peaks = panning(rng, 40), []
    for count in counts:
        film = make_film(tmp_path / f"{count}.mp4", [frame[i % 40] for i in range(count)])
        peaks.append(int(run_python(MEASURE, film, tmp_path / f"{count}_out.mp4", limit=900)) / 1024)
    assert peaks[1] < peaks[0] + 15  # MB

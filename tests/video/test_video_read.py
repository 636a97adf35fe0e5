"""Reading films, and frames as RGB and back."""

import re
import struct
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from facemend.errors import InputError, MissingExtraError, OutputError, TooLargeError
from facemend.video import reader
from facemend.video.encode import FilmCoding
from facemend.video.kinds import VIDEO_SUFFIXES
from facemend.video.mux import Span
from facemend.video.pixels import add_change, output_form, stored, upright_rgb
from facemend.video.read import Colours, probe
from facemend.video.reader import FilmReader
from facemend.video.restore import VideoOptions, restore_video
from film_files import TB, make_film, panning, shown, texture
from film_parts import film_parts

VFR = [0, 3600, 7200, 20_000, 21_001, 40_000, 43_600, 47_200, 90_000, 90_001]


def test_probe_says_what_the_film_is(tmp_path, rng):
    path = make_film(
        tmp_path / "a.mp4", panning(rng, 10), colours=(9, 14, 9, 1), rotation=90, aspect=Fraction(4, 3)
    )
    info = probe(path)
    assert (info.width, info.height, info.pixel_format, info.rotation) == (160, 120, "yuv420p", 90)
    assert info.colours == Colours(9, 14, 9, 1)
    assert info.aspect == Fraction(4, 3)
    assert (info.time_base, info.rate, info.frames) == (TB, 25, 10)
    assert info.seconds == pytest.approx(0.36)
    assert info.stated == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize(
    ("across", "down", "degrees"),
    [(-1, -1, 180), (-1, 1, 0), (1, -1, 180)],
    ids=["turned", "mirrored", "flipped"],
)
def test_up_is_where_the_display_matrix_says(tmp_path, rng, across, down, degrees):
    path = make_film(tmp_path / "a.mp4", panning(rng, 3), rotation=180)
    matrix = [
        struct.pack(">9i", x << 16, 0, 0, 0, y << 16, 0, 0, 0, 1 << 30) for x, y in ((-1, -1), (across, down))
    ]
    path.write_bytes(path.read_bytes().replace(*matrix))
    info = probe(path)
    assert (info.display[0], info.display[4]) == (across << 16, down << 16)
    assert info.rotation % 360 == degrees


def test_frames_come_in_order_with_their_times(tmp_path, rng):
    info = probe(make_film(tmp_path / "a.mp4", panning(rng, 10), pts=VFR))
    frames = list(FilmReader(info).frames())
    assert [frame.pts for frame in frames] == VFR
    assert [f.pts for f in FilmReader(info).frames(Fraction(20_000, 90_000), Fraction(1))] == VFR[3:8]


def test_a_part_has_the_same_frames_as_the_whole(tmp_path, rng):
    info = probe(make_film(tmp_path / "a.mkv", panning(rng, 40), options={"g": "10", "bf": "2"}))
    whole = [(f.pts, f.pixels.to_ndarray()) for f in FilmReader(info).frames()]
    for start in (0, 7, 20, 39):
        part = [(f.pts, f.pixels.to_ndarray()) for f in FilmReader(info).frames(Fraction(start, 25))]
        assert [pts for pts, _ in part] == [pts for pts, _ in whole[start:]]
        assert all((a == b).all() for (_, a), (_, b) in zip(part, whole[start:], strict=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nother.mp4\n"),
        ("list.mkv", b"ffconcat version 1.0\nfile other.mp4\n"),
        ("text.mp4", b"no film at all " * 100),
        ("empty.mp4", b""),
    ],
)
def test_what_is_no_film_is_refused_and_no_other_file_is_read(tmp_path, rng, name, content):
    make_film(tmp_path / "other.mp4", panning(rng, 3))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        probe(tmp_path / name)


def test_a_missing_file_sound_alone_and_hdr_are_refused(tmp_path, rng):
    with pytest.raises(InputError, match="no such file"):
        probe(tmp_path / "missing.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as film:
        stream = film.add_stream("aac", rate=44_100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        frame.sample_rate = 44_100
        film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    with pytest.raises(InputError, match="no video"):
        probe(tmp_path / "sound.mp4")
    with pytest.raises(InputError, match="HDR"):
        probe(make_film(tmp_path / "hdr.mp4", panning(rng, 3), colours=(9, 16, 9, 1)))


def test_frames_over_the_limit_are_not_decoded(tmp_path, rng, monkeypatch):
    path = make_film(tmp_path / "a.mkv", panning(rng, 3), codec="mjpeg", pixel_format="yuvj420p", options={})
    monkeypatch.setattr("facemend.video.read.MAX_PIXELS", 160 * 120 - 1)
    with pytest.raises(TooLargeError, match=r"a\.mkv"):
        probe(path)


def test_a_film_that_lacks_a_little_of_its_end_says_so(tmp_path, rng):
    whole = make_film(tmp_path / "a.mkv", panning(rng, 100), audio=None)
    cut = tmp_path / "b.mkv"
    cut.write_bytes(whole.read_bytes()[: int(0.8 * whole.stat().st_size)])
    result = restore_video(cut, tmp_path / "out.mp4", networks=film_parts())
    (note,) = result.notes
    assert re.fullmatch(r"says it is 4\.0 s long, but ends at 3\.\d s: its end may be missing", note)
    assert restore_video(whole, tmp_path / "c.mp4", networks=film_parts()).notes == ()


def test_a_film_that_is_cut_off_is_refused_before_the_work(tmp_path, rng):
    whole = make_film(tmp_path / "a.mkv", panning(rng, 60), audio=None)
    cut = tmp_path / "b.mkv"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    told = []
    with pytest.raises(InputError, match=r"2\.4 s long, but .* --end 2") as caught:
        restore_video(cut, tmp_path / "out.mp4", networks=film_parts(), on_frame=lambda *f: told.append(f))
    assert told == []
    end = Fraction(str(caught.value).split("--end ")[1].split()[0])
    result = restore_video(
        cut, tmp_path / "out.mp4", video=VideoOptions(Span(end=end)), networks=film_parts()
    )
    assert 20 < result.frames < 50


def test_where_the_extra_is_missing_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr("facemend.errors.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"\[video\]"):
        restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4")


def test_pyav_is_loaded_with_the_first_film_only():
    code = "import sys, facemend.video.restore, facemend.cli._shared.films; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_films_are_known_by_their_names():
    from facemend.imaging import SUFFIXES

    assert {".mp4", ".mkv", ".mov", ".webm", ".avi"} <= VIDEO_SUFFIXES
    assert not VIDEO_SUFFIXES & set(SUFFIXES)


FORMATS = {
    # codec, pixel format of the source -> that of the output
    ("libx264", "yuv420p"): "yuv420p",
    ("libx264", "yuv422p"): "yuv422p",
    ("libx264", "yuv444p"): "yuv444p",
    ("libx264", "yuv420p10le"): "yuv420p10le",
    ("libx264", "yuv422p10le"): "yuv422p10le",
    ("libx264", "gray"): "yuv420p",
    ("mjpeg", "yuvj420p"): "yuv420p",
    ("ffv1", "yuv411p"): "yuv422p",
    ("ffv1", "yuv440p"): "yuv444p",
    ("ffv1", "yuv444p12le"): "yuv444p10le",
    ("ffv1", "bgr0"): "yuv420p",
    ("ffv1", "gray10le"): "yuv420p10le",
}


def content(frame):
    return [bytes(plane) for plane in frame.planes]


@pytest.mark.parametrize(("codec", "source"), FORMATS)
def test_frames_of_every_kind_come_back_as_they_were(tmp_path, rng, codec, source):
    path = make_film(
        tmp_path / "a.mkv", panning(rng, 2), codec=codec, pixel_format=source, audio=None, options={}
    )
    info = probe(path)
    form, _ = output_form(info, 1, FilmCoding().pixel_formats())
    assert form.pixel_format == FORMATS[codec, source]
    frame = next(FilmReader(info).frames()).pixels
    picture = stored(frame, form)
    before = upright_rgb(picture, form)
    assert before.dtype == (np.uint16 if "10" in form.pixel_format else np.uint8)
    top = np.iinfo(before.dtype).max
    reference = frame.to_ndarray(format="rgb24", src_colorspace=form.matrix, src_color_range=form.range)
    # The scaler's way of enlarging chroma is not the same for all.
    assert np.abs(before / top - reference / 255).mean() < 0.03

    after = before.copy()
    after[41:75, 31:90] = np.clip(after[41:75, 31:90].astype(float) * 0.7 + 0.1 * top, 0, top)
    planes = content(picture)
    add_change(picture, before, before, form)
    assert content(picture) == planes
    add_change(picture, before, after, form)
    now = upright_rgb(picture, form)
    outside = np.ones(before.shape[:2], bool)
    outside[38:78, 28:93] = False  # chroma reaches a little further
    assert (now[outside] == before[outside]).all()
    assert np.abs(now[45:71, 35:86].astype(float) - after[45:71, 35:86]).mean() / top < 0.01


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_rotated_frames_are_looked_at_upright(tmp_path, rng, rotation):
    frames = [texture(rng)] * 2
    frames[0][:20, :40] = (250, 10, 10)  # top left as stored
    info = probe(make_film(tmp_path / "a.mp4", frames, rotation=rotation, pixel_format="yuv444p"))
    form, _ = output_form(info, 1, FilmCoding().pixel_formats())
    picture = stored(next(FilmReader(info).frames()).pixels, form)
    upright = upright_rgb(picture, form)
    # Counter-clockwise: the top left corner goes to the bottom left, and so on.
    corner = {0: (0, 0), 90: (-1, 0), 180: (-1, -1), -90: (0, -1)}[rotation]
    assert upright[corner][0] > 200
    assert upright.shape[:2] == ((160, 120) if rotation in (90, -90) else (120, 160))
    before, after = upright, upright.copy()
    after[corner[0] * 10, corner[1] * 10] = 0
    planes = picture.to_ndarray().copy()
    add_change(picture, before, after, form)
    changed = np.argwhere(picture.to_ndarray() != planes)
    assert len(changed)
    assert changed[:, -2:].max() < 40


def test_odd_sides_get_one_more_row_or_column(tmp_path, rng):
    frames = panning(rng, 2, height=121, width=161)
    info = probe(make_film(tmp_path / "a.mkv", frames, codec="ffv1", options={}, audio=None))
    form, notes = output_form(info, 1, FilmCoding().pixel_formats())
    assert (form.width, form.height) == (162, 122)
    assert "161x121" in notes[0]
    rgb = upright_rgb(stored(next(FilmReader(info).frames()).pixels, form), form)
    assert np.abs(rgb[:121, :161].astype(int) - shown(info.path)[0][1]).mean() < 6
    assert (rgb[121].astype(int) - rgb[120] == 0).mean() > 0.9
    double, notes = output_form(info, 2, FilmCoding().pixel_formats())
    assert (double.width, double.height, notes) == (322, 242, ())


def test_an_encoder_that_takes_nothing_is_refused(tmp_path, rng):
    info = probe(make_film(tmp_path / "a.mp4", panning(rng, 2)))
    with pytest.raises(OutputError, match="--codec"):
        output_form(info, 1, ["pal8"])
    form, notes = output_form(info, 1, ["yuv444p"])
    assert (form.pixel_format, notes) == ("yuv444p", ())


def test_times_always_rise(tmp_path, rng):
    # AVI stores no times of showing, so those of B-frames must be found.
    options = {"bf": "2", "g": "12"}
    path = make_film(
        tmp_path / "a.avi",
        panning(rng, 12),
        codec="mpeg4",
        options=options,
        time_base=Fraction(1, 25),
        audio=None,
    )
    pts = [frame.pts for frame in FilmReader(probe(path)).frames()]
    assert len(pts) == 12
    assert pts == sorted(set(pts))


def test_damage_is_told_of_a_part_too(tmp_path, monkeypatch):
    info = probe(make_film(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 8))
    whole = reader.decoded
    monkeypatch.setattr(reader, "decoded", lambda *given: ((2, frame) for _, frame in whole(*given)))
    film = FilmReader(info)
    assert len(list(film.frames(end=Fraction(3, 25)))) == 3
    assert film.notes == ("damaged packets were left out: 2",)

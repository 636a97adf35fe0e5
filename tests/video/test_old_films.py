"""Films as they lie around: damaged packets, clocks that begin anew, last pictures that stand still."""

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from facemend.errors import InputError
from facemend.video.encode import FilmCoding
from facemend.video.read import probe
from facemend.video.restore import VideoOptions, restore_video
from film_parts import film_parts

RATES = {"mp2": 48_000, "wmav2": 44_100, "aac": 44_100}


def old_film(path: Path, sound: str, *, seconds: int = 3, event: float = 99, lost=(0, 0)) -> Path:
    """Dark and quiet but for a third of a second with flash and beep; `lost`: missing sound, seconds."""
    rate = RATES[sound]
    with av.open(str(path), "w", format={".vob": "vob", ".wmv": "asf"}.get(path.suffix)) as film:
        video = film.add_stream(
            {".vob": "mpeg2video"}.get(path.suffix, "mpeg4"), rate=25, width=64, height=64
        )
        video.pix_fmt = "yuv420p"
        audio = film.add_stream(sound, rate=rate, layout="mono")
        audio.bit_rate = 64_000
        length = audio.codec_context.frame_size or {"wmav2": 2048, "aac": 1024}.get(sound, 1152)
        format, top = ("s16", 32767) if sound == "mp2" else ("fltp", 1)
        count = 0
        for number in range(25 * seconds):
            lit = 240 if event <= number / 25 < event + 0.3 else 20
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), lit, np.uint8), "rgb24")
            frame.pts = number
            film.mux(video.encode(frame))
            while count / rate < number / 25:
                loud = 0.5 if event <= count / rate < event + 0.3 else 0.001
                wave = (np.sin(np.arange(length) * 0.1) * loud * top).astype(
                    "i2" if format == "s16" else "f4"
                )
                part = av.AudioFrame.from_ndarray(wave[None], format, "mono")
                part.sample_rate, part.pts = rate, count
                count += length
                for packet in audio.encode(part):
                    if not lost[0] <= float(packet.pts * packet.time_base) < lost[1]:
                        film.mux(packet)
        for stream in (video, audio):
            film.mux(stream.encode(None))
    return path


def events(path: Path) -> tuple[float, float]:
    """When flash and beep are, seconds."""
    with av.open(str(path)) as film:
        lit = (frame for frame in film.decode(video=0) if frame.to_ndarray(format="gray").mean() > 128)
        flash = float(next(lit).time)
    with av.open(str(path)) as film:
        for frame in film.decode(audio=0):
            wave = np.abs(frame.to_ndarray().astype(float)).mean()
            if wave / (32768 if frame.format.name.startswith("s16") else 1) > 0.1:
                return flash, float(frame.time)
    raise AssertionError("no beep")


def restored(source: Path, output: Path, **options):
    return restore_video(source, output, networks=film_parts(), **options)


@pytest.mark.parametrize("name", ["o.mkv", "o.mp4", "o.webm"])  # the last one encodes the sound anew
def test_sound_keeps_step_where_the_clock_begins_anew(tmp_path, name):
    """As in DVDs of several parts."""
    parts = [old_film(tmp_path / "1.vob", "mp2"), old_film(tmp_path / "2.vob", "mp2", event=1)]
    both = tmp_path / "both.vob"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    coding = FilmCoding(codec="vp9") if name == "o.webm" else FilmCoding()
    restored(both, tmp_path / name, video=VideoOptions(coding=coding))
    flash, beep = events(tmp_path / name)
    assert flash == pytest.approx(4, abs=0.1)
    assert beep == pytest.approx(flash, abs=0.12)


@pytest.mark.parametrize("name", ["o.mkv", "o.mp4"])
def test_lost_sound_stays_silent(tmp_path, name):
    source = old_film(tmp_path / "a.wmv", "wmav2", seconds=6, event=4.5, lost=(1.5, 3.5))
    restored(source, tmp_path / name)
    flash, beep = events(tmp_path / name)
    assert beep == pytest.approx(flash, abs=0.12)


def damaged(source: Path, target: Path) -> Path:
    """A film one of whose packets of sound cannot be decoded."""
    data = source.read_bytes()
    with av.open(str(source)) as film:
        packets = [bytes(packet) for packet in film.demux(audio=0) if packet.size]
    for seed, packet in enumerate(packets[len(packets) // 2 :]):
        at, broken = data.find(packet[:60]), bytearray(data)
        if at < 0:
            continue
        broken[at : at + 40] = np.random.default_rng(seed).bytes(40)
        target.write_bytes(broken)
        with av.open(str(target)) as film:
            for packet in film.demux(audio=0):
                try:
                    packet.decode()
                except av.error.InvalidDataError:
                    return target
    raise AssertionError("nothing could be damaged")


def test_damaged_sound_that_is_encoded_anew_is_left_out(tmp_path):
    source = damaged(old_film(tmp_path / "a.wmv", "wmav2", seconds=6, event=5.5), tmp_path / "b.wmv")
    result = restored(source, tmp_path / "o.mp4")
    assert any("damaged packets of sound" in note for note in result.notes)
    flash, beep = events(tmp_path / "o.mp4")
    assert beep == pytest.approx(flash, abs=0.12)


def test_what_is_drawn_stays_when_the_source_is_gone(tmp_path):
    source = old_film(tmp_path / "a.mkv", "aac", seconds=1, event=0.5)

    def unplug(done, _):
        if done == 25:
            source.rename(tmp_path / "elsewhere.mkv")

    with pytest.raises(InputError, match="no such file"):
        restored(source, tmp_path / "o.mkv", segment=10, on_frame=unplug)
    (tmp_path / "elsewhere.mkv").rename(source)
    assert restored(source, tmp_path / "o.mkv", segment=10).resumed >= 20
    assert not list(tmp_path.glob("*.facemend"))


def pausing_gif(path: Path) -> Path:
    shown = [Image.new("RGB", (64, 64), (30 * n, 90, 90)) for n in range(4)]
    shown[0].save(path, save_all=True, append_images=shown[1:], duration=[100, 100, 100, 3000])
    return path


def slides(path: Path) -> Path:
    """Three pictures of five seconds, with sound to the end."""
    with av.open(str(path), "w") as film:
        video = film.add_stream("libx264", rate=1, width=64, height=64)
        video.pix_fmt = "yuv420p"
        audio = film.add_stream("aac", rate=16_000, layout="mono")
        packets = []
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 60 * number, np.uint8), "rgb24")
            frame.pts, frame.time_base = 5 * number, Fraction(1)
            packets += video.encode(frame)
        film.mux([*packets, *video.encode(None)])
        for number in range(15 * 16_000 // 1024):
            part = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            part.sample_rate, part.pts = 16_000, 1024 * number
            film.mux(audio.encode(part))
        film.mux(audio.encode(None))
    return path


def test_last_pictures_that_stand_still_are_no_damage(tmp_path):
    for source, frames, seconds in (
        (pausing_gif(tmp_path / "a.gif"), 4, 3.3),
        (slides(tmp_path / "b.mkv"), 3, 14.9),
    ):
        assert probe(source).ends == pytest.approx(seconds, abs=0.2)
        assert restored(source, tmp_path / f"{source.stem}.mp4").frames == frames


def test_the_advice_for_a_film_that_is_cut_off_keeps_all_that_is_there(tmp_path):
    whole = old_film(tmp_path / "a.mkv", "aac", seconds=6)
    data = whole.read_bytes()
    cut = tmp_path / "b.mkv"
    cut.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(InputError, match="cut off or damaged") as caught:
        restored(cut, tmp_path / "o.mkv")
    told = int(str(caught.value).split("--end ")[1].split()[0])
    assert told == math.floor(probe(cut).ends) + 1

"""Sound and fields of old films: kept, encoded anew, or said before the work."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from facemend.errors import OutputError
from facemend.photo.options import RestoreOptions
from facemend.video.encode import FilmCoding
from facemend.video.restore import VideoOptions, restore_video
from film_files import make_film, packets, panning

CASES = Path(__file__).parents[1] / "data/cases"


def restored(source: Path, output: Path, model: Path, **coding) -> tuple[str, ...]:
    options = RestoreOptions(model=str(model), threads=1)
    return restore_video(source, output, options, VideoOptions(coding=FilmCoding(**coding))).notes


def sound(path: Path) -> tuple[float, float, str]:
    """Beginning and length in seconds, and layout."""
    with av.open(str(path)) as film:
        frames = list(film.decode(audio=0))
        seconds = sum(frame.samples for frame in frames) / frames[0].sample_rate
        return float(frames[0].pts * frames[0].time_base), seconds, frames[0].layout.name


@pytest.mark.parametrize(("name", "codec"), [("o.mkv", "aac"), ("o.mp4", "aac"), ("o.webm", "opus")])
def test_sound_that_the_container_cannot_hold_is_encoded_anew(tmp_path, tiny_model, name, codec):
    coding = {"codec": "vp9"} if name == "o.webm" else {}
    notes = restored(CASES / "old.wmv", tmp_path / name, tiny_model, **coding)
    assert f"its sound (wmav2) is encoded anew as {codec}" in notes
    (begin, seconds, layout), (was, length, _) = sound(tmp_path / name), sound(CASES / "old.wmv")
    assert abs(begin - was) < 0.06  # an encoder begins a little before
    assert abs((begin + seconds) - (was + length)) < 0.06
    assert layout == "mono"


@pytest.mark.parametrize(("was", "rate"), [(37_800, 44_100), (192_000, 96_000)])
def test_rates_that_the_codec_does_not_know_become_the_next_one(tmp_path, tiny_model, was, rate):
    source = stereo(tmp_path / "pcm.mkv", "pcm_u8", was)
    assert "its sound (pcm_u8) is encoded anew as aac" in restored(source, tmp_path / "o.mp4", tiny_model)
    with av.open(str(tmp_path / "o.mp4")) as film:
        assert film.streams.audio[0].sample_rate == rate
    assert sound(tmp_path / "o.mp4")[1] == pytest.approx(0.24, abs=0.06)


def test_packets_that_the_decoder_does_not_know_are_left_out(tmp_path, tiny_model, rng):
    source = make_film(tmp_path / "dd.mkv", panning(rng, 10), audio="eac3")
    packet, _ = packets(source, "audio")[5]
    strange = packet[:4] + bytes([packet[4] ^ 0xFF]) + packet[5:]
    with av.open(str(source)) as film, pytest.raises(av.error.PatchWelcomeError):
        film.streams.audio[0].codec_context.decode(av.Packet(strange))
    source.write_bytes(source.read_bytes().replace(packet, strange))
    notes = restored(source, tmp_path / "o.webm", tiny_model, codec="vp9")
    assert "damaged packets of sound or subtitles were left out: 1" in notes


def stereo(path: Path, codec: str, rate: int) -> Path:
    """Six frames with silence; of the channels AVI only says how many."""
    with av.open(str(path), "w") as film:
        video = film.add_stream("mjpeg", rate=25, width=64, height=64)
        video.pix_fmt = "yuvj420p"
        audio = film.add_stream(codec, rate=rate, layout="stereo")
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 9 * number, np.uint8), "rgb24")
            frame.pts = number
            film.mux(video.encode(frame))
            part = av.AudioFrame.from_ndarray(np.zeros((1, 2 * (rate // 25)), np.int16), "s16", "stereo")
            part.sample_rate, part.pts, part.time_base = rate, rate // 25 * number, Fraction(1, rate)
            film.mux(audio.encode(part))
        film.mux(video.encode(None))
    return path


def test_channels_get_their_names(tmp_path, tiny_model):
    source = stereo(tmp_path / "st.avi", "pcm_s16le", 48_000)
    assert sound(source)[2] == "2 channels"
    assert restored(source, tmp_path / "o.mp4", tiny_model) == ()
    assert sound(tmp_path / "o.mp4") == (0.0, pytest.approx(0.24), "stereo")


def test_what_cannot_be_written_is_found_before_the_work(tmp_path, tiny_model, monkeypatch):
    """The trial is the writing itself: where that fails, nothing is restored, and nothing is left."""
    source = stereo(tmp_path / "st.avi", "pcm_s16le", 48_000)
    monkeypatch.setattr("facemend.video.mux.name_layout", lambda stream: None)
    with pytest.raises(OutputError, match=r"o\.mp4: mp4 cannot hold this film .*: write to \.mkv") as caught:
        restored(source, tmp_path / "o.mp4", tiny_model)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["st.avi"]


def test_interlaced_stays_interlaced(tmp_path, tiny_model):
    source = CASES / "interl.mpg"
    for name, coding, kept in (("a.mkv", {}, True), ("b.mkv", {"codec": "vp9"}, False)):
        notes = restored(source, tmp_path / name, tiny_model, **coding)
        with av.open(str(tmp_path / name)) as film:
            assert next(film.decode(video=0)).interlaced_frame is kept
        assert any("does not keep that the film is interlaced" in note for note in notes) is not kept


def test_ten_bits_in_h264_have_a_note(tmp_path, tiny_model):
    path = tmp_path / "deep.mkv"
    with av.open(str(path), "w") as film:
        video = film.add_stream(
            "libx265", rate=25, width=64, height=64, options={"x265-params": "log-level=none"}
        )
        video.pix_fmt = "yuv420p10le"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 80, np.uint8), "rgb24")
            frame = frame.reformat(format="yuv420p10le")
            frame.pts = number
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
    assert any("--codec h265" in note for note in restored(path, tmp_path / "a.mp4", tiny_model))
    assert not any("--codec" in note for note in restored(path, tmp_path / "b.mp4", tiny_model, codec="h265"))

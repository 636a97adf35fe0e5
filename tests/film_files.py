"""Small films made on the spot."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

TB = Fraction(1, 90_000)
STEP = 3600  # 25 frames a second


@dataclass
class Recipe:
    """What a film is to be."""

    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    time_base: Fraction = TB
    pts: list[int] | None = None  # in units of the time base
    rotation: int | None = None
    audio: str | None = "aac"
    subtitles: bool = False
    chapters: list = field(default_factory=list)
    metadata: dict = field(default_factory=dict)
    options: dict = field(default_factory=lambda: {"preset": "ultrafast", "g": "8"})
    colours: tuple[int, int, int, int] = (1, 1, 1, 1)  # primaries, transfer, matrix, range
    aspect: Fraction | None = None


def texture(rng, height=120, width=160) -> np.ndarray:
    """(H, W, 3) uint8 blobs that motion can be told from."""
    base = cv2.GaussianBlur(rng.random((height, width, 3)), (0, 0), 3)
    return (255 * (base - base.min()) / np.ptp(base)).astype(np.uint8)


def panning(rng, count=20, height=120, width=160, by=1) -> list[np.ndarray]:
    """Frames of a texture that moves to the left."""
    wide = texture(rng, height, width + by * count)
    return [wide[:, by * i : by * i + width].copy() for i in range(count)]


def make_film(path: Path, frames: list[np.ndarray], **settings) -> Path:
    """Write a film; settings are those of `Recipe`."""
    recipe = Recipe(**settings)
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as film:
        film.metadata.update(recipe.metadata)
        if recipe.chapters:
            film.set_chapters(recipe.chapters)
        video = film.add_stream(recipe.codec, rate=25, width=width, height=height, options=recipe.options)
        video.pix_fmt = recipe.pixel_format
        context = video.codec_context
        context.time_base = recipe.time_base
        (
            context.color_primaries,
            context.color_trc,
            context.colorspace,
            context.color_range,
        ) = recipe.colours
        if recipe.aspect:
            context.sample_aspect_ratio = recipe.aspect
        if recipe.rotation:
            video.set_display_rotation(recipe.rotation)
        sound = film.add_stream(recipe.audio, rate=48_000) if recipe.audio else None
        words = film.add_mux_stream("subrip", time_base=Fraction(1, 1000)) if recipe.subtitles else None
        step = round(STEP * TB / recipe.time_base)
        pts = recipe.pts or [step * i for i in range(len(frames))]
        matrix = {1: 1, 9: 9}.get(recipe.colours[2], 5)
        for picture, time in zip(frames, pts, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(
                format=recipe.pixel_format, dst_colorspace=matrix, dst_color_range=recipe.colours[3] or 1
            )
            frame.pts, frame.time_base, frame.duration = time, recipe.time_base, step
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
        if sound is not None:
            _add_sound(film, sound, float((pts[-1] + step) * recipe.time_base))
        if words is not None:
            _add_words(film, words)
    return path


def _add_sound(film, stream, seconds: float) -> None:
    rng = np.random.default_rng(1)
    for i in range(int(seconds * 48_000 / 1024)):
        samples = (rng.standard_normal((2, 1024)) * 0.1).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
        frame.sample_rate, frame.pts = 48_000, i * 1024
        film.mux(stream.encode(frame))
    film.mux(stream.encode(None))


def _add_words(film, stream) -> None:
    for i, text in enumerate((b"Good evening.", b"And good night.")):
        packet = av.Packet(text)
        packet.pts = packet.dts = 100 + 300 * i
        packet.duration, packet.time_base, packet.stream = 200, Fraction(1, 1000), stream
        film.mux(packet)


def shown(path: Path, **how) -> list[tuple[Fraction, np.ndarray]]:
    """Time and RGB pixels of every frame, as stored."""
    with av.open(str(path)) as film:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format=how.get("format", "rgb24")))
            for frame in film.decode(video=0)
        ]


def packets(path: Path, kind: str) -> list[tuple[bytes, Fraction]]:
    """Content and time of every packet of the first stream of that kind."""
    with av.open(str(path)) as film:
        stream = getattr(film.streams, kind)[0]
        return [(bytes(p), p.pts * p.time_base) for p in film.demux(stream) if p.size]

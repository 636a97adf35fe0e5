"""Encoding the pictures of a film, one segment at a time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from facemend.errors import ConfigError, OutputError, one_line
from facemend.video.pixels import Form
from facemend.video.read import FilmInfo

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class Codec:
    """An encoder.

    Attributes:
        encoder: FFmpeg's name.
        crf: quality where none is asked for: hard to tell from the source.
        worst: largest crf.
        options: of the encoder.
    """

    encoder: str
    crf: int
    worst: int
    options: tuple[tuple[str, str], ...] = ()


_INTERLACED = 1 << 18 | 1 << 29  # FFmpeg's flags: DCT and motion of fields

CODECS = {
    "h264": Codec("libx264", 18, 51),
    "h265": Codec("libx265", 20, 51, (("x265-params", "log-level=none"),)),
    "av1": Codec("libsvtav1", 24, 63, (("preset", "6"),)),
    "vp9": Codec("libvpx-vp9", 24, 63, (("b", "0"), ("row-mt", "1"), ("cpu-used", "2"))),
}
"""What `--codec` may be."""


@dataclass(frozen=True)
class FilmCoding:
    """How the pictures are encoded; checked when made.

    Attributes:
        codec: a key of `CODECS`.
        crf: constant rate factor: smaller is better and larger files; None: the codec's own.

    Raises:
        ConfigError: a value is out of range.
    """

    codec: str = "h264"
    crf: int | None = None

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ConfigError(f"codec must be one of {', '.join(CODECS)}, got {self.codec!r}")
        worst = CODECS[self.codec].worst
        if self.crf is not None and not 0 <= self.crf <= worst:
            raise ConfigError(f"crf must be from 0 to {worst} with {self.codec}, got {self.crf!r}")

    def options(self, width: int) -> dict[str, str]:
        """For the encoder of frames of that width: the same frames give the same bits in every run."""
        codec = CODECS[self.codec]
        options = {"crf": str(codec.crf if self.crf is None else self.crf), **dict(codec.options)}
        if self.codec == "h264" and -(-width // 16) % 8:
            # Where a row is no multiple of 8 macroblocks (854 or 720 pixels), x264's mbtree reads memory that
            # was never set, and the bits differ from run to run.
            options["mbtree"] = "0"
        return options

    def pixel_formats(self) -> list[str]:
        """What the encoder takes.

        Raises:
            OutputError: this PyAV has no such encoder.
        """
        import av

        name = CODECS[self.codec].encoder
        try:
            return [format.name for format in av.Codec(name, "w").video_formats or ()]
        except (ValueError, av.FFmpegError):
            raise OutputError(f"this build of PyAV has no {name}: choose another --codec") from None


def add_encoder(container: OutputContainer, info: FilmInfo, form: Form, coding: FilmCoding) -> VideoStream:
    """Add the stream of the pictures to a container, tagged as the source is."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only: it would write to the terminal by itself
    stream: Any = container.add_stream(
        CODECS[coding.codec].encoder,
        rate=even_rate(info),
        options=coding.options(form.width),
        width=form.width,
        height=form.height,
    )
    stream.pix_fmt = form.pixel_format
    context = stream.codec_context
    context.time_base = 1 / even_rate(info)
    context.color_primaries, context.color_trc = info.colours.primaries, info.colours.transfer
    context.colorspace, context.color_range = info.colours.matrix, form.range
    if info.interlaced and coding.codec == "h264":
        context.flags |= _INTERLACED
    if info.aspect is not None:
        context.sample_aspect_ratio = info.aspect
    encoder: VideoStream = stream
    return encoder


def even_rate(info: FilmInfo) -> Fraction:
    """Frames a second as the encoder sees them."""
    return info.rate.limit_denominator(1001)


class SegmentWriter:
    """Encodes one segment of a film. Use it in a `with` block: the file is whole only after it.

    The encoder sees frames that are evenly spaced and counted from 0, so that no container has to keep odd
    times exactly. When each is shown is written beside it, in the `Segment`.

    Args:
        path: file to write.
        info: the film.
        form: of the frames.
        coding: how to encode.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, info: FilmInfo, form: Form, coding: FilmCoding) -> None:
        import av

        self._path, self._unit = path, 1 / even_rate(info)
        self._count, self._order = 0, list[int]()
        try:
            self._container = av.open(str(path), "w", format="nut")
            self._stream = add_encoder(self._container, info, form, coding)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise failed(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        import av

        try:
            if kind is None:
                self._mux(None)
            self._container.close()
        except (av.FFmpegError, OSError, ValueError) as error:
            if kind is None:
                raise failed(self._path, error) from error

    def write(self, frame: VideoFrame) -> None:
        """Encode one frame of the segment's form.

        Raises:
            OutputError: it cannot be written.
        """
        import av

        frame.pts, frame.time_base = self._count, self._unit
        self._count += 1
        try:
            self._mux(frame)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise failed(self._path, error) from error

    def _mux(self, frame: VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self._order.append(packet.pts or 0)
            self._container.mux(packet)

    @property
    def delay(self) -> int:
        """By how many places packets come later than their frames are shown; known at the end."""
        rank = {pts: place for place, pts in enumerate(sorted(self._order))}
        return max((place - rank[pts] for place, pts in enumerate(self._order)), default=0)


def failed(path: Path, error: Exception) -> OutputError:
    """The error for a film that cannot be written."""
    return OutputError(f"{path}: cannot be written ({one_line(error)})")

"""Reading a film: what it says of itself, and its frames one by one. PyAV comes with the extra `video`."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from facemend.errors import InputError, TooLargeError, one_line
from facemend.video.kinds import ANIMATIONS

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet as AnyPacket
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    Packet = AnyPacket[VideoStream]

MAX_PIXELS = 36_000_000
"""Largest frame, width x height: 8K."""

# A file may claim to be a playlist, which would make the reader open other files and addresses: only
# containers that hold their content themselves are read.
_CONTAINERS = "apng,asf,avi,dv,flv,gif,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mxf,nut,ogg"
_TOO_DAMAGED = 0.1  # share of the packets
_PQ = 16
_USUAL_RATE, _RATES = Fraction(25), (1, 1000)
_UPRIGHT = struct.pack("=9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


@dataclass(frozen=True)
class Colours:
    """How numbers become colours, in the codes of ITU-T H.273 that FFmpeg has too.

    Attributes:
        primaries: of the colours; 2: not said.
        transfer: curve; 2: not said.
        matrix: between RGB and luma and chroma; 2: not said.
        range: 1: black is 16 and white 235; 2: black is 0 and white 255; 0: not said.
    """

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    range: int = 0


@dataclass(frozen=True)
class FilmInfo:
    """What is to be known of a film before its frames are read.

    Attributes:
        path: the file.
        index: of the video stream in it.
        width: of a frame as it is stored, pixels.
        height: the same.
        pixel_format: FFmpeg's name.
        display: the display matrix, nine numbers as in an MP4 file; None: shown as it is stored.
        rotation: of the picture for showing it, degrees counter-clockwise.
        colours: of the numbers.
        aspect: shape of a pixel, width : height; None where it is not said.
        rate: frames a second, as the film says or on average.
        time_base: seconds of one unit of `FilmFrame.pts`.
        start: time at which it begins, seconds; often 0.
        frames: how many there seem to be.
        seconds: where its last frame is, from the beginning.
        ends: where the last of what is in it ends, pictures and sound.
        stated: how long it says it is, seconds; None where it does not.
        notes: what the user should know.
        interlaced: its frames are two fields each.
    """

    path: Path
    index: int
    width: int
    height: int
    pixel_format: str
    display: tuple[int, ...] | None
    rotation: int
    colours: Colours
    aspect: Fraction | None
    rate: Fraction
    time_base: Fraction
    start: Fraction
    frames: int
    seconds: float
    ends: float
    stated: float | None
    notes: tuple[str, ...] = ()
    interlaced: bool = False


def open_file(path: Path) -> InputContainer:
    """Open a film. Nothing but this file is read, whatever it says.

    Raises:
        InputError: no such file, or no film.
    """
    import av

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    closed = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        # Both limits hold while the file is opened, too: its first frames are decoded there.
        return av.open(
            str(path.resolve()), "r", options={"max_pixels": str(MAX_PIXELS)}, container_options=closed
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        suffix = path.suffix.lower()
        what = "animation" if suffix in ANIMATIONS else "film"
        webp = "FFmpeg knows no animated WebP: make it an APNG"
        reason = webp if suffix == ".webp" else one_line(error)
        raise InputError(f"{path}: no {what} that can be read ({reason})") from error


@dataclass(frozen=True)
class FilmSize:
    """What a container says of its pictures, without a frame of it decoded.

    Attributes:
        format: FFmpeg's name of the container, the first where it has several.
        width: of a frame as it is stored, pixels.
        height: the same.
        frames: how many there seem to be.
        seconds: how long the film is, or says that it is, whichever is longer.
    """

    format: str
    width: int
    height: int
    frames: int
    seconds: float


def measure(path: Path) -> FilmSize:
    """See how large a film is, before any work on it.

    Raises:
        InputError: no film, damaged, or of a kind that cannot be restored.
        TooLargeError: a frame has too many pixels.
    """
    with closing(open_file(path)) as container:
        stream = video_stream(path, container)
        start = Fraction(container.start_time or 0, 1_000_000)
        scan = _scanned(path)
        return FilmSize(
            format=container.format.name.split(",")[0],
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            frames=scan.frames,
            seconds=max(float(scan.last - start), _stated(container, stream) or 0.0),
        )


def probe(path: Path) -> FilmInfo:
    """Read what a film says of itself, its first frame, and where its packets end.

    Raises:
        InputError: no film, damaged, or of a kind that cannot be restored.
        TooLargeError: a frame has too many pixels.
    """
    with closing(open_file(path)) as container:
        stream = video_stream(path, container)
        first = next((frame for _, frame in decoded(path, container, stream)), None)
        if first is None:
            raise InputError(f"{path}: no frame can be decoded; the film is damaged")
        # As fractions: those of av 19 can neither be divided without a rest nor rounded.
        rate = Fraction(stream.guessed_rate or stream.average_rate or _USUAL_RATE)
        time_base = Fraction(stream.time_base or Fraction(1, 90_000))
        start = Fraction(container.start_time or 0, 1_000_000)
        scan = _scanned(path)
        display = _display(first)
        return FilmInfo(
            path=path,
            index=stream.index,
            width=first.width,
            height=first.height,
            pixel_format=first.format.name,
            display=display,
            rotation=0 if display is None else _rotation(display),
            colours=_colours(first),
            aspect=Fraction(stream.sample_aspect_ratio) if stream.sample_aspect_ratio else None,
            rate=rate if _RATES[0] <= rate <= _RATES[1] else _USUAL_RATE,
            time_base=time_base,
            start=start,
            frames=scan.frames,
            seconds=float(scan.last - start),
            ends=float(scan.end - start),
            stated=_stated(container, stream),
            notes=_checked(path, first),
            interlaced=bool(first.interlaced_frame),
        )


class _Scan(NamedTuple):
    """Times of packets, seconds."""

    frames: int
    last: Fraction  # picture
    end: Fraction  # of all streams: a last picture may stand still while the sound goes on


def _scanned(path: Path) -> _Scan:
    """How many packets the pictures have, and where all end; decodes nothing."""
    frames = last = 0
    ends: dict[int, int] = {}  # by stream, in its own units: fractions for each packet would take long
    with closing(open_file(path)) as container:
        stream = video_stream(path, container)
        for packet in _packets(path, container, *container.streams):
            time = packet.pts if packet.pts is not None else packet.dts
            if not packet.size or time is None:
                continue
            index = packet.stream_index
            ends[index] = max(ends.get(index, 0), time + (packet.duration or 0))
            if index == stream.index:
                frames, last = frames + 1, max(last, time)
        units = {each.index: Fraction(each.time_base or 0) for each in container.streams}
        end = max((ends[index] * units[index] for index in ends), default=Fraction(0))
        return _Scan(frames, last * units[stream.index], end)


def _stated(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration and container.duration > 0 else None


def video_stream(path: Path, container: InputContainer) -> VideoStream:
    """The pictures of a film; covers do not count.

    Raises:
        InputError: there are none, or none that can be decoded.
        TooLargeError: a frame has too many pixels.
    """
    from av.stream import Disposition

    films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not films:
        raise InputError(f"{path}: has no video")
    best: Any = container.streams.best("video")
    stream = best if best in films else films[0]
    if stream.codec_context is None:
        raise InputError(f"{path}: its video is of a kind that cannot be decoded")
    width, height = stream.codec_context.width, stream.codec_context.height
    if not 0 < width * height <= MAX_PIXELS:  # 0: a size over the limit is not even taken down
        raise TooLargeError(f"{path}: its frames are larger than 8K, or have no size: shrink the film first")
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def _colours(frame: VideoFrame) -> Colours:
    codes = frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range
    return Colours(*(int(code) for code in codes))


def _display(frame: VideoFrame) -> tuple[int, ...] | None:
    from av.sidedata.sidedata import Type

    side_data: Any = frame.side_data
    data = bytes(side_data.get(Type.DISPLAYMATRIX) or b"")[: len(_UPRIGHT)]
    return struct.unpack("=9i", data) if len(data) == len(_UPRIGHT) and data != _UPRIGHT else None


def _rotation(display: tuple[int, ...]) -> int:
    """From the vertical alone: FFmpeg's own takes a mirrored picture for one upside down."""
    return -round(math.degrees(math.atan2(display[1], display[4])))


def _checked(path: Path, frame: VideoFrame) -> tuple[str, ...]:
    """Refuse what cannot be restored; notes on the rest."""
    if min(frame.width, frame.height) < 16:
        raise InputError(f"{path}: frames of {frame.width}x{frame.height} are too small for faces")
    if int(frame.color_trc) == _PQ:
        raise InputError(f"{path}: HDR films (PQ) cannot be restored: convert it to SDR first")
    notes = []
    if frame.interlaced_frame:
        notes.append("the film is interlaced: deinterlace it first, or moving faces keep their combs")
    has_alpha = frame.format.name.startswith(("yuva", "gbrap", "rgba", "bgra", "argb", "abgr", "ya"))
    if has_alpha and frame.to_ndarray(format="rgba")[..., 3].min() < 255:  # GIF always says that it has
        notes.append("transparency is left out")
    return tuple(notes)


def decoded(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[tuple[int, VideoFrame]]:
    """Decode; each frame comes with the number of damaged packets before it."""
    import av

    damaged = packets = 0
    for packet in _packets(path, container, stream):
        packets += 1
        try:
            frames = packet.decode()
        except av.FFmpegError:  # invalid data, or arguments of the decoder that nothing valid has
            damaged += 1
            continue
        for frame in frames:
            yield damaged, frame
    if damaged > max(2, _TOO_DAMAGED * packets):
        raise InputError(f"{path}: {damaged} of {packets} packets are damaged: find a better copy")


def _packets(path: Path, container: InputContainer, *streams: Stream) -> Iterator[Any]:
    import av

    seconds = 0.0
    try:
        for packet in container.demux(*streams):
            seconds = float(packet.dts * packet.time_base) if packet.dts is not None else seconds
            yield packet
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read beyond {seconds:.1f} s ({one_line(error)}): the file is damaged"
        ) from error

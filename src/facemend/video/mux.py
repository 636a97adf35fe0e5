"""The finished film: encoded segments one after the other, and the rest of the source, packet by packet."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemend.errors import InputError, OutputError, one_line
from facemend.video.encode import FilmCoding, add_encoder, even_rate, failed
from facemend.video.pixels import Form
from facemend.video.read import FilmInfo, open_file
from facemend.video.sound import Recoder, name_layout

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet as AnyPacket
    from av.stream import Stream

    Packet = AnyPacket[Any]

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffixes that can be written -> FFmpeg's name of the container."""

_OF_THE_CONTAINER = ("major_brand", "minor_version", "compatible_brands", "encoder")
_OF_THE_CODING = ("encoder", "BPS", "DURATION", "NUMBER_OF_", "_STATISTICS", "vendor_id")
_OF_PLAYING = ("language", "filename", "mimetype")
"""Tags of streams that players need, with which fonts are found: they stay where all others are left out."""
_MP4 = (".mp4", ".m4v", ".mov")
_TRIED = 64  # packets of sound and subtitles that the trial before the work takes
_BACK = 1  # seconds; lesser steps back are those of old films, packet by packet
_SLACK = 30  # seconds by which streams may be stored apart in the source


class ContainerError(OutputError):
    """The container that was asked for cannot hold what the film has; another one may."""


@dataclass(frozen=True)
class Segment:
    """An encoded part of the film.

    Attributes:
        path: its file.
        delay: see `SegmentWriter.delay`.
        times: pts of its frames, units of the film's time base; in the file they are only counted.
        duration: of the last frame, 0 where it is not known.
    """

    path: Path
    delay: int
    times: tuple[int, ...]
    duration: int


@dataclass(frozen=True)
class Span:
    """The part of a film that is wanted, seconds from its beginning; None: no limit on that side."""

    start: Fraction | None = None
    end: Fraction | None = None


def container_of(output: Path) -> str:
    """The container that a path asks for by its suffix.

    Raises:
        OutputError: none of that suffix can be written.
    """
    try:
        return FORMATS[output.suffix.lower()]
    except KeyError:
        raise OutputError(
            f"{output}: cannot write this kind of film: use one of {' '.join(FORMATS)}"
        ) from None


def check_output(
    output: Path, info: FilmInfo, form: Form, coding: FilmCoding, *, strip: bool = False
) -> tuple[str, ...]:
    """Find out before the work whether the output can hold all that the film has.

    Args:
        output: what is to be written.
        info: the film.
        form: of the frames.
        coding: of the pictures.
        strip: leave out tags and attachments, see `join`.

    Returns:
        Notes on streams that are left out.

    Raises:
        ContainerError: it cannot; the message says what to do.
    """
    import av

    name = container_of(output)
    try:
        with closing(open_file(info.path)) as source, closing(av.open(BytesIO(), "w", format=name)) as target:
            add_encoder(target, info, form, coding)
            kept, notes = _add_others(target, source, info, output, strip=strip)
            target.start_encoding()
            for packet, stream in islice(_copied(source, kept, info, Span(), info.start), _TRIED):
                packet.stream = stream
                with suppress(av.error.InvalidDataError):
                    target.mux(packet)
    except (av.FFmpegError, OSError, ValueError) as error:
        other = "another --codec" if name == "matroska" else "write to .mkv, or try another --codec"
        raise ContainerError(
            f"{output}: {name} cannot hold this film ({one_line(error)}): {other}"
        ) from error
    return notes


def _add_others(
    target: OutputContainer, source: InputContainer, info: FilmInfo, output: Path, *, strip: bool
) -> tuple[dict[int, Stream | Recoder], tuple[str, ...]]:
    """Streams of the output for all but the pictures: index in the source -> stream; and notes.

    Sound that the container cannot hold is encoded anew, subtitles are left out.
    """
    kept: dict[int, Stream | Recoder] = {}
    left: list[str] = []
    notes: list[str] = []
    for stream in source.streams:
        known = stream.codec_context is not None
        name = f"{stream.type} {(stream.name if known or stream.type == 'data' else None) or '(unknown)'}"
        is_chapters = name == "data bin_data" and bool(source.chapters())
        if stream.index == info.index or is_chapters:  # how MP4 keeps chapters, which are copied as such
            continue
        fits = stream.type in ("audio", "subtitle") or (
            stream.type == "attachment"
            and target.format.name == "matroska"
            and (not strip or _is_font(stream.metadata.get("mimetype", "")))
        )
        if not fits or (stream.type != "attachment" and not known):
            left.append(name)
            continue
        try:
            copy: Any = target.add_stream_from_template(stream)
        except ValueError:
            if stream.type != "audio":
                raise ContainerError(_cannot(output, target.format.name, name)) from None
            recoder = Recoder(target, stream)
            notes.append(recoder.note)
            copy, kept[stream.index] = recoder.stream, recoder
        else:
            if stream.type == "audio":
                name_layout(copy)
            if stream.type != "attachment":
                kept[stream.index] = copy
        copy.metadata.update(_metadata(stream.metadata, (), strip=strip))
        copy.disposition = stream.disposition
    return kept, (*notes, *((f"left out: {', '.join(left)}",) if left else ()))


def _cannot(output: Path, container: str, name: str) -> str:
    advice = "take it out of the source first" if container == "matroska" else "write to .mkv"
    return f"{output}: {container} cannot hold the film's {name}: {advice}"


def _is_font(kind: str) -> bool:
    return "font" in kind or "opentype" in kind


def join(
    target_path: Path,
    output: Path,
    segments: Sequence[Segment],
    info: FilmInfo,
    span: Span,
    *,
    strip: bool = False,
) -> tuple[str, ...]:
    """Write the finished film. Nothing is encoded again; memory does not depend on its length.

    Args:
        target_path: file to write.
        output: what it will be called; the suffix says which container.
        segments: in order, at least one.
        info: the source.
        span: the part of it that the segments show.
        strip: leave out all tags but the languages, and attachments that are no fonts; chapters stay.

    Returns:
        Notes on what is left out.

    Raises:
        OutputError: it cannot be written.
        InputError: the source cannot be read.
    """
    import av

    # What is cut off at the front, and odd beginnings such as those of broadcasts, would only delay the film.
    origin = info.start + span.start if span.start is not None else max(info.start, Fraction(0))
    options = {"movie_timescale": str(info.time_base.denominator)} if output.suffix.lower() in _MP4 else {}
    try:
        with ExitStack() as stack:
            source = stack.enter_context(closing(open_file(info.path)))
            opened = av.open(str(target_path), "w", format=container_of(output), container_options=options)
            target = stack.enter_context(closing(opened))
            first = stack.enter_context(closing(av.open(str(segments[0].path), "r", format="nut")))
            pictures = _add_pictures(target, first.streams.video[0], source.streams[info.index], info, strip)
            kept, _ = _add_others(target, source, info, output, strip=strip)
            if not strip:
                target.metadata.update(_metadata(source.metadata, _OF_THE_CONTAINER))
            target.set_chapters(_chapters(source, info, span, origin))
            shown = _ended(_pictures(segments, info, origin), segments[-1], info, origin)
            damaged = 0
            for packet, stream in _merged(shown, _copied(source, kept, info, span, origin), pictures):
                packet.stream = stream
                try:
                    target.mux(packet)
                except av.error.InvalidDataError:
                    if stream is pictures:
                        raise
                    damaged += 1
            damaged += sum(track.damaged for track in kept.values() if isinstance(track, Recoder))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise failed(output, error) from error
    return (f"damaged packets of sound or subtitles were left out: {damaged}",) if damaged else ()


def _add_pictures(
    target: OutputContainer, encoded: Stream, source: Stream, info: FilmInfo, strip: bool
) -> Stream:
    stream: Any = target.add_stream_from_template(encoded, opaque=True)
    context = stream.codec_context
    context.color_primaries, context.color_trc = info.colours.primaries, info.colours.transfer
    context.colorspace = info.colours.matrix
    if info.colours.range:
        context.color_range = info.colours.range
    stream.time_base = info.time_base
    context.framerate = info.rate.limit_denominator(1001)
    if context.name == "hevc" and target.format.name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # the only one that Apple's players take
    stream.set_display_matrix(info.display)
    stream.metadata.update(_metadata(source.metadata, _OF_THE_CODING, strip=strip))
    stream.disposition = source.disposition
    pictures: Stream = stream
    return pictures


def _metadata(said: dict[str, str], without: Sequence[str], *, strip: bool = False) -> dict[str, str]:
    kept = (key for key in said if (key in _OF_PLAYING if strip else not key.startswith(tuple(without))))
    return {key: said[key] for key in kept}


def _chapters(source: InputContainer, info: FilmInfo, span: Span, origin: Fraction) -> list[Any]:
    """The chapters of the part that is kept, counted from its beginning."""
    kept = []
    end = None if span.end is None else info.start + span.end - origin
    for chapter in source.chapters():
        unit = chapter["time_base"] or Fraction(1, 1000)
        low, high = (chapter[side] * unit - origin for side in ("start", "end"))
        if high <= 0 or (end is not None and low >= end):
            continue
        low, high = max(low, Fraction(0)), high if end is None else min(high, end)
        kept.append({**chapter, "start": round(low / unit), "end": round(high / unit)})
    return kept


def _pictures(segments: Sequence[Segment], info: FilmInfo, origin: Fraction) -> Iterator[Packet]:
    """The packets of all segments with their times in the finished film.

    Decoding times are made anew: those of a segment know nothing of the one before. A packet is due when the
    frame is shown that stands `delay` places before it, which is as late as any encoder needs.
    """
    import av

    delay = max(segment.delay for segment in segments)
    step = _step(info)
    shift = round(origin / info.time_base)
    due: list[int] = []
    begin, place = 0, 0
    for segment in segments:
        with closing(av.open(str(segment.path), "r", format="nut")) as part:
            began: int | None = None
            for packet in part.demux(video=0):
                if packet.pts is None or not packet.size:
                    continue
                began = packet.pts if began is None else began  # the first is a key frame, shown first
                pts = segment.times[round((packet.pts - began) * packet.time_base * even_rate(info))]
                heapq.heappush(due, pts)
                begin = pts if place == 0 else begin
                dts = heapq.heappop(due) if place >= delay else begin - (delay - place) * step
                packet.duration = step
                packet.pts, packet.dts, packet.time_base = pts - shift, dts - shift, info.time_base
                place += 1
                yield packet


def _ended(packets: Iterator[Packet], last: Segment, info: FilmInfo, origin: Fraction) -> Iterator[Packet]:
    """The same; the last packet lasts to the end of the film, which containers take for its length."""
    end = last.times[-1] + (last.duration or _step(info)) - round(origin / info.time_base)
    held: Packet | None = None
    for packet in packets:
        if held is not None:
            yield held
        held = packet
    if held is not None and held.pts is not None:
        held.dts, held.duration = held.pts, end - held.pts  # nothing after it needs to be decoded earlier
        yield held


def _step(info: FilmInfo) -> int:
    """From frame to frame, units of the film's time base."""
    return max(1, round(1 / (info.rate * info.time_base)))


def _copied(
    source: InputContainer, kept: dict[int, Stream | Recoder], info: FilmInfo, span: Span, origin: Fraction
) -> Iterator[tuple[Packet, Stream]]:
    """The packets of the other streams, untouched but for the beginning of time; or encoded anew."""
    import av

    if not kept:
        return
    low = None if span.start is None else info.start + span.start
    high = None if span.end is None else info.start + span.end
    last: dict[int, int] = {}
    clock = _Clock()
    try:
        if low is not None:
            source.seek(int(low * 1_000_000))
        for packet in source.demux([source.streams[index] for index in kept]):
            time = packet.pts if packet.pts is not None else packet.dts
            if time is None or not packet.size:
                continue
            lag = clock.lag(packet, time * packet.time_base)
            seconds = time * packet.time_base + lag
            if high is not None and seconds > high + _SLACK:
                break
            if (low is not None and seconds < low) or (high is not None and seconds >= high):
                continue
            track = kept[packet.stream_index]
            if isinstance(track, Recoder):
                yield from ((made, track.stream) for made in track.take(packet, origin))
                continue
            index, shift = packet.stream_index, round((origin - lag) / packet.time_base)
            dts = (packet.dts if packet.dts is not None else time) - shift
            dts = max(dts, last.get(index, dts - 1) + 1)  # old films have times that step back
            last[index] = dts
            packet.pts, packet.dts = max(time - shift, dts), dts
            yield packet, track
        for track in kept.values():
            if isinstance(track, Recoder):
                yield from ((made, track.stream) for made in track.take(None, origin))
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{info.path}: its sound cannot be read to the end ({one_line(error)})") from error


class _Clock:
    """For films whose clock begins anew on the way, as those that were put together: it is to run on.

    The pictures do so by themselves (`FilmReader`); other streams keep step with the one that is there first.
    """

    def __init__(self) -> None:
        self._lags = [Fraction(0)]  # of each beginning, seconds
        self._now: dict[int, tuple[int, Fraction]] = {}  # stream -> which beginning, its last time

    def lag(self, packet: Packet, time: Fraction) -> Fraction:
        """What is to be added to the times of a packet, seconds."""
        which, last = self._now.get(packet.stream_index, (len(self._lags) - 1, time))
        if time < last - _BACK:
            which += 1
            if which == len(self._lags):
                length = (packet.duration or 0) * packet.time_base
                self._lags.append(self._lags[-1] + last + length - time)
        self._now[packet.stream_index] = which, time
        return self._lags[which]


def _merged(
    shown: Iterator[Packet], copied: Iterator[tuple[Packet, Stream]], pictures: Stream
) -> Iterator[tuple[Packet, Stream]]:
    """Both in order of time, so that the container need not hold many packets back."""
    other = next(copied, None)
    for packet in shown:
        while other is not None and _due(other[0]) <= _due(packet):
            yield other
            other = next(copied, None)
        yield packet, pictures
    while other is not None:
        yield other
        other = next(copied, None)


def _due(packet: Packet) -> Fraction:
    return (packet.dts or 0) * packet.time_base

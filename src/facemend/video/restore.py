"""The whole film: frames in, restored frames out, segment by segment, in memory that does not grow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemend.errors import ConfigError, InputError, TooLargeError, require_extra
from facemend.imaging import Outputs, Pixels
from facemend.photo.find import most_pixels
from facemend.photo.networks import Networks, find_named
from facemend.photo.options import RestoreOptions
from facemend.runtime.cores import usable_cores
from facemend.video.encode import FilmCoding, SegmentWriter
from facemend.video.frames import FilmState, FrameRestorer, Seen
from facemend.video.mux import Segment, Span, check_output, container_of, join
from facemend.video.overlap import ahead, side_by_side
from facemend.video.pixels import Form, add_change, output_form, stored, upright_rgb
from facemend.video.read import MAX_PIXELS, FilmInfo, probe
from facemend.video.reader import FilmFrame, FilmReader
from facemend.video.segments import Done, WorkFolder
from facemend.video.tracking import Scene
from facemend.weights.models import ModelInfo

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

DEFAULT_W = 0.7
"""Fidelity weight for films where none is asked for. See docs/video.md."""
SEGMENT = 240
"""Frames of a segment: what a kill costs at most."""

AT_ONCE = 2
"""Frames that the network works on at a time; beside them others are read, looked at, pasted and encoded."""

OnFrame = Callable[[int, int], None]
"""Told after each frame: frames done, those of an earlier run too, and about how many there are in all."""

# How much earlier than it says a film may end: seconds, or this share up to so many; and what a note tells.
_SHORT, _SHORT_SHARE, _SHORT_MOST, _TOLD = 1.0, 0.1, 30.0, 0.5


@dataclass(frozen=True)
class VideoOptions:
    """What is asked of a film beside how faces are restored.

    Attributes:
        span: the part wanted.
        coding: how the pictures are encoded.
        overwrite: whether the output may replace a file (never the source).
        fast: the network restores every fourth frame; those between go with them, see `video.smoothing`.
    """

    span: Span = field(default_factory=Span)
    coding: FilmCoding = field(default_factory=FilmCoding)
    overwrite: bool = False
    fast: bool = False


@dataclass(frozen=True)
class VideoResult:
    """What was done.

    Attributes:
        output: the film.
        frames: written.
        faces: restored, one for each face in each frame.
        resumed: frames that an earlier run had finished.
        notes: what the user should know.
    """

    output: Path
    frames: int
    faces: int
    resumed: int
    notes: tuple[str, ...]


def unheard(done: int, total: int) -> None:
    """Nobody wants to know."""


def restore_video(
    source: Path,
    output: Path,
    options: RestoreOptions | None = None,
    video: VideoOptions | None = None,
    *,
    networks: Networks | None = None,
    segment: int = SEGMENT,
    on_frame: OnFrame = unheard,
) -> VideoResult:
    """Restore the faces of a film; sound, subtitles, chapters and tags are copied.

    If it is stopped or killed, finished segments wait in the folder OUTPUT.facemend; the same call goes on
    from there and gives the same frames as if nothing had happened.

    Args:
        source: the film.
        output: .mp4, .m4v, .mov, .mkv or .webm; appears whole or not at all.
        options: how to restore; default `RestoreOptions(w=DEFAULT_W)`. Upscale auto is 1 here.
        video: which part, and how it is encoded.
        networks: those that are loaded already; by default those that the options name.
        segment: frames of a segment.
        on_frame: told of each frame; what it raises ends the work.

    Raises:
        MissingExtraError: PyAV is not installed.
        ConfigError: an option does not go with films.
        InputError: no film, damaged, or of a kind that cannot be restored.
        OutputError: the output exists, cannot be written, or cannot hold what the source has.
        FacemendError: see `Restorer` for what else can go wrong.
    """
    options = options or RestoreOptions(w=DEFAULT_W)
    video = video or VideoOptions()
    require_extra("video", "video")
    check_options(options)
    _check_span(video.span)
    container_of(output)
    Outputs([source], overwrite=video.overwrite).claim(output)
    info = probe(source)
    end = _check_whole(info, video.span)
    form, notes = _form(info, options, video)
    strip = options.strip_metadata
    notes = (*info.notes, *end, *notes, *check_output(output, info, form, video.coding, strip=strip))
    work = WorkFolder(output, _run(info, options, video, segment, networks), overwrite=video.overwrite)
    run = _Run(info, form, options, video, work, segment, on_frame)
    done: list[Done] = []
    try:
        done, resumed, found = run.segments(networks)
        file = work.new_file(output.suffix)
        segments = [each.segment for each in done]
        found += join(file, output, segments, info, video.span, strip=strip)
        work.publish(file, output, overwrite=video.overwrite)
    except InputError:
        # What is wrong with the pictures does not go away. A drive that is gone comes back, though, and what
        # has been drawn of all of them is kept.
        if info.path.is_file() and not done:
            work.remove()
        raise
    return VideoResult(
        output,
        frames=sum(each.frames for each in done),
        faces=sum(each.faces for each in done),
        resumed=resumed,
        notes=(*notes, *found),
    )


def load_networks(options: RestoreOptions, model: ModelInfo | None = None) -> Networks:
    """The networks for a film: as they work on several frames at once, each has a share of the cores.

    Arguments and errors are those of `Networks.load`, and those of `check_options`: nobody shall fetch
    weights for what films do not have.
    """
    check_options(options)
    if not options.threads and options.backend == "onnx":
        options = replace(options, threads=max(1, usable_cores() // AT_ONCE))
    return Networks.load(options, model=model)


def check_options(options: RestoreOptions) -> None:
    """Refuse what goes with photos only.

    Raises:
        ConfigError: an option does not go with films.
    """
    if options.aligned:
        raise ConfigError("aligned goes with photos only: the faces of a film are found in its frames")
    if options.by_index:
        raise ConfigError("faces by number go with one photo only: they come and go in a film")
    if options.boxes:
        raise ConfigError("boxes go with one photo only: faces move in a film")
    if options.background != "lanczos":
        raise ConfigError(f"background must be lanczos with films, got {options.background}")
    if options.grain != "none":
        raise ConfigError(f"grain must be none with films, got {options.grain}")


def _check_span(span: Span) -> None:
    start, end = span.start, span.end
    if (start is not None and start < 0) or (end is not None and end <= (start or 0)):
        raise ConfigError("start must be 0 or more, and end must lie behind it")


def _check_whole(info: FilmInfo, span: Span) -> tuple[str, ...]:
    """Refuse a film whose end is missing, before any work is done on it; a note where little of it is."""
    stated, there = info.stated or 0.0, info.ends
    if stated - there <= _TOLD or (span.end is not None and span.end <= there + 1):
        return ()
    told = f"says it is {stated:.1f} s long, but ends at {there:.1f} s"
    if stated - there <= max(_SHORT, min(_SHORT_SHARE * there, _SHORT_MOST)):
        return (f"{told}: its end may be missing",)
    raise InputError(
        f"{info.path}: {told}: it is cut off or damaged; use --end {math.floor(there) + 1} for what is there"
    )


def _form(info: FilmInfo, options: RestoreOptions, video: VideoOptions) -> tuple[Form, tuple[str, ...]]:
    form, notes = output_form(info, options.least_upscale, video.coding.pixel_formats())
    if form.width * form.height > min(MAX_PIXELS, most_pixels(options)):
        raise TooLargeError(
            f"{info.path}: {info.width}x{info.height} at upscale {options.least_upscale} is too large: "
            "use a smaller upscale"
        )
    if form.deep and video.coding.codec == "h264":
        notes += ("10 bits a channel in h264 are not played by phones and browsers: --codec h265 is",)
    if info.interlaced and video.coding.codec != "h264":
        notes += (f"{video.coding.codec} does not keep that the film is interlaced: --codec h264 does",)
    return form, notes


def _run(
    info: FilmInfo, options: RestoreOptions, video: VideoOptions, segment: int, networks: Networks | None
) -> dict[str, Any]:
    """All that a segment depends on, as JSON: only a run with the same may go on with it."""
    there = info.path.stat()
    span = {side: None if value is None else str(value) for side, value in asdict(video.span).items()}
    model = networks.model if networks else find_named(options)
    return {
        "source": [str(info.path.resolve()), there.st_size, there.st_mtime_ns],
        **asdict(options),
        "weights": dict(model.sha256) if model and options.backend == "onnx" else {},
        **span,
        **asdict(video.coding),
        "fast": video.fast,
        "version": [version("facemend"), version("av"), segment],
    }


@dataclass(frozen=True, eq=False)
class _Frame:
    """A frame in work: as the output stores it, the same as upright RGB, and its faces."""

    pts: int
    duration: int
    picture: VideoFrame
    canvas: Pixels
    seen: Seen


def _drawn(restorer: FrameRestorer, frame: _Frame) -> _Frame:
    return replace(frame, seen=restorer.draw(frame.seen))


@dataclass(frozen=True)
class _Run:
    """One run over a film."""

    info: FilmInfo
    form: Form
    options: RestoreOptions
    video: VideoOptions
    work: WorkFolder
    length: int
    on_frame: OnFrame

    def segments(self, networks: Networks | None) -> tuple[list[Done], int, tuple[str, ...]]:
        """Make the segments that are missing; all of them, frames that were there, notes."""
        done, state = self.work.done()
        resumed = sum(each.frames for each in done)
        reader = FilmReader(self.info)
        # The way to the first missing frame is decoded again: so the decoder is in the same state.
        frames = islice(reader.frames(self.video.span.start, self.video.span.end), resumed, None)
        restorer: FrameRestorer | None = None
        for number in count(len(done)):
            first = next(frames, None)
            if first is None:
                break
            if restorer is None:
                networks = networks or load_networks(self.options)
                restorer = FrameRestorer(self.options, networks, fast=self.video.fast)
            chunk = chain([first], islice(frames, self.length - 1))
            before = sum(each.frames for each in done)
            finished, state, file = self._segment(restorer, chunk, state, before)
            done.append(self.work.finish(number, file, finished, state))
        if not done:
            raise InputError(f"{self.info.path}: has no frames there: check --start and --end")
        unknown = networks.unknown(self.options) if networks else ()
        return done, resumed, (*reader.notes, *unknown)

    def _segment(
        self, restorer: FrameRestorer, frames: Iterator[FilmFrame], state: FilmState, before: int
    ) -> tuple[Done, FilmState, Path]:
        path = self.work.new_file(".nut")
        times: list[int] = []
        faces_done = last = 0
        seen = self._seen(restorer, frames, state.scene)
        drawn = side_by_side(partial(_drawn, restorer), ahead(seen), AT_ONCE)
        shown = ahead(self._shown(restorer, drawn, state))
        with (
            SegmentWriter(path, self.info, self.form, self.video.coding) as writer,
            closing(drawn),
            closing(shown),
        ):
            for frame, state in shown:
                writer.write(frame.picture)
                times.append(frame.pts)
                faces_done += len(state.faces)
                last = frame.duration
                self.on_frame(before + len(times), self._total)
        segment = Segment(path, writer.delay, tuple(times), last)
        return Done(segment, faces_done), state, path

    def _shown(
        self, restorer: FrameRestorer, frames: Iterable[_Frame], state: FilmState
    ) -> Iterator[tuple[_Frame, FilmState]]:
        """The frames with their restored faces in the picture, and the state after each."""
        for frame in frames:
            restored = frame.canvas.copy()
            state = restorer.show(state.faces, frame.seen, restored)
            if state.faces:
                add_change(frame.picture, frame.canvas, restored, self.form)
            yield frame, state

    def _seen(self, restorer: FrameRestorer, frames: Iterator[FilmFrame], scene: Scene) -> Iterator[_Frame]:
        """The frames with their faces found."""
        form = self.form
        for frame in frames:
            picture = stored(frame.pixels, form)
            canvas = upright_rgb(picture, form)
            small = canvas if self.options.least_upscale == 1 else upright_rgb(frame.pixels, form)
            seen = restorer.see(scene, small, float(frame.pts * self.info.time_base))
            scene = seen.scene
            yield _Frame(frame.pts, frame.duration, picture, canvas, seen)

    @property
    def _total(self) -> int:
        """Frames in all, about."""
        info, span = self.info, self.video.span
        end = info.seconds if span.end is None else min(float(span.end), info.seconds)
        return round(info.frames * max(0.0, end - float(span.start or 0)) / max(info.seconds, 1e-3)) or 1

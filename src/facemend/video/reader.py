"""A film's frames, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from facemend.errors import InputError
from facemend.video.read import FilmInfo, decoded, open_file, video_stream

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


@dataclass(frozen=True, eq=False)
class FilmFrame:
    """A decoded frame.

    Attributes:
        pts: when it is shown, in units of the film's time base; rises from frame to frame.
        duration: for how long, in the same unit; 0 where the film does not say.
        pixels: as the decoder gave them. They may be shared with the decoder: never to be changed.
    """

    pts: int
    duration: int
    pixels: VideoFrame


class FilmReader:
    """Decodes a film, as often as wanted: always the same frames for the same arguments.

    Args:
        info: the film.

    Attributes:
        notes: what turned up while decoding.
    """

    def __init__(self, info: FilmInfo) -> None:
        self._info = info
        self.notes: tuple[str, ...] = ()

    def frames(self, start: Fraction | None = None, end: Fraction | None = None) -> Iterator[FilmFrame]:
        """The frames in the order in which they are shown; none but the current one is held.

        Packets that cannot be decoded are left out, and said in `notes`.

        Args:
            start: time in the film, seconds: frames before are left out.
            end: time in the film, seconds: frames from there on are left out.

        Raises:
            InputError: the file cannot be read on, most of it is damaged, or the frames change their form.
        """
        low = None if start is None else self._pts(start)
        high = None if end is None else self._pts(end)
        for frame in self._from(low):
            if high is not None and frame.pts >= high:
                return
            yield frame

    def _pts(self, seconds: Fraction) -> int:
        """The first pts that is not before a time in the film."""
        return int(-(-(self._info.start + seconds) // self._info.time_base))

    def _from(self, low: int | None) -> Iterator[FilmFrame]:
        if low is None:
            yield from self._all(None)
            return
        frames = self._all(low)
        first = next(frames, None)
        if first is None or first.pts > low:  # the index led too far: the whole way, then
            frames = self._all(None)
            first = next(frames, None)
        while first is not None:
            if first.pts >= low:
                yield first
            first = next(frames, None)

    def _all(self, seek: int | None) -> Iterator[FilmFrame]:
        """All frames, or those from the key frame before `seek` on."""
        import av

        info = self._info
        step = max(1, round(1 / (info.rate * info.time_base)))
        last: int | None = None
        with closing(open_file(info.path)) as container:
            stream = video_stream(info.path, container)
            if seek is not None:
                try:
                    container.seek(seek, stream=stream)
                except av.FFmpegError:
                    return
            damaged = 0
            try:
                for so_far, frame in decoded(info.path, container, stream):
                    damaged = so_far
                    self._check_alike(frame)
                    pts = frame.pts if frame.pts is not None else frame.dts
                    if pts is None or (last is not None and pts <= last):
                        pts = 0 if last is None else last + step
                    last = pts
                    yield FilmFrame(pts, int(frame.duration or 0), frame)
            finally:  # also where the frames from some time on are not wanted
                self.notes = (f"damaged packets were left out: {damaged}",) if damaged else ()

    def _check_alike(self, frame: VideoFrame) -> None:
        now = frame.width, frame.height, frame.format.name
        was = self._info.width, self._info.height, self._info.pixel_format
        if now != was:
            raise InputError(
                f"{self._info.path}: the frames change from {was[0]}x{was[1]} {was[2]} to {now[0]}x{now[1]} "
                f"{now[2]} at {float(frame.time or 0):.1f} s: restore the parts with --start and --end"
            )

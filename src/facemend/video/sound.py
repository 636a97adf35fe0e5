"""Sound that the new container cannot hold as it is: decoded and encoded anew."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet

CODECS = {"mp4": "aac", "mov": "aac", "matroska": "aac", "webm": "libopus"}
"""Container -> what sound becomes there."""
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_BITS_A_CHANNEL = 96_000
_GAP, _BACK = 0.1, 1  # seconds by which times lead or go back where more than rounding is behind it


def name_layout(stream: Any) -> None:
    """Say which channels there are where the source only counts them: MP4 does not take it else."""
    layout = stream.codec_context.layout
    usual = _LAYOUTS.get(layout.nb_channels)
    if usual is not None and layout.name == f"{layout.nb_channels} channels":
        stream.codec_context.layout = usual


class Recoder:
    """One stream of sound on its way into a container that cannot hold its packets.

    Args:
        target: the container; not started yet.
        source: the stream of the film.

    Attributes:
        damaged: packets that could not be decoded and were left out.

    Raises:
        ValueError: the container takes no sound that can be made here.
    """

    def __init__(self, target: OutputContainer, source: Any) -> None:
        import av

        codec = CODECS.get(target.format.name)
        if codec is None:
            raise ValueError(f"no sound for {target.format.name}")
        context = source.codec_context
        # The next higher rate that the codec knows, else its highest.
        rates = av.Codec(codec, "w").audio_rates or (context.sample_rate,)
        rate = min(rates, key=lambda each: (each < context.sample_rate, abs(each - context.sample_rate)))
        layout = _LAYOUTS.get(context.layout.nb_channels, "stereo")
        stream: Any = target.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = _BITS_A_CHANNEL * stream.codec_context.layout.nb_channels
        self.stream, self._source = stream, context
        self.note = f"its sound ({context.name}) is encoded anew as {codec.removeprefix('lib')}"
        self._resampler: Any = None
        self._next: int | None = None
        self._lag = 0  # samples, of a clock that began anew on the way
        self.damaged = 0

    def take(self, packet: Packet[Any] | None, begin: Fraction) -> Iterator[Packet[Any]]:
        """The packets that come of one of the source; of None: the rest.

        Args:
            packet: of the source.
            begin: time in the source that is 0 in the film, seconds.
        """
        for frame in self._frames(packet, begin):
            yield from self.stream.encode(frame)
        if packet is None:
            yield from self.stream.encode(None)

    def _frames(self, packet: Packet[Any] | None, begin: Fraction) -> Iterator[Any]:
        import av

        context = self.stream.codec_context
        if self._resampler is None:
            size = context.frame_size or None
            self._resampler = av.AudioResampler(context.format, context.layout, context.sample_rate, size)
        for frame in self._decoded(packet):
            if frame is not None and (self._next is None or frame.pts is not None):
                seconds = (frame.pts or 0) * (frame.time_base or 0) - begin
                self._go_to(round(seconds * context.sample_rate), context.sample_rate)
            for part in self._resampler.resample(frame):
                part.pts, part.time_base = self._next, Fraction(1, context.sample_rate)
                self._next = (self._next or 0) + part.samples
                yield part

    def _decoded(self, packet: Packet[Any] | None) -> list[Any]:
        import av

        if packet is None:
            return [*self._source.decode(None), None]
        try:
            return list(packet.decode())
        except av.FFmpegError:  # some decoders say that their arguments are invalid, and more
            self.damaged += 1
            return []

    def _go_to(self, due: int, rate: int) -> None:
        """Samples are counted, as times are rounded; but what is missing in the source stays silent."""
        if self._next is None:
            self._next = max(0, due)
        elif due + self._lag < self._next - _BACK * rate:
            self._lag = self._next - due
        elif due + self._lag > self._next + _GAP * rate:
            self._next = due + self._lag

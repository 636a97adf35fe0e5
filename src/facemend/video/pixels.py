"""Frames as RGB and back, so that what is not changed stays as the decoder gave it, number by number.

Luma and chroma of a frame are not made anew from RGB: the *change* of the RGB picture is turned into a change
of luma and chroma and added. Where nothing changed, that is exactly 0.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facemend.errors import OutputError
from facemend.imaging import Pixels

if TYPE_CHECKING:
    from av.video.format import VideoFormat
    from av.video.frame import VideoFrame
    from av.video.plane import VideoPlane

    from facemend.video.read import FilmInfo

_SUBSAMPLINGS = (("420", 2, 2), ("422", 2, 1), ("444", 1, 1))  # name, divisors of width and height
_SAMPLE = 16  # side of a picture on which a format's subsampling is read off
_HD = 720  # rows from which a film that does not say so is taken for BT.709
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}  # of H.273 -> of FFmpeg's scaler


@dataclass(frozen=True)
class Form:
    """How the frames of the output are stored.

    Attributes:
        width: pixels, even.
        height: the same.
        pixel_format: planar luma and chroma, 8 or 10 bits; FFmpeg's name.
        deep: more than 8 bits: RGB is uint16.
        matrix: between RGB and luma and chroma, as FFmpeg's scaler counts them.
        range: as in `Colours`, 1 where the film does not say.
        turns: quarter turns, counter-clockwise, that put the stored picture upright.
    """

    width: int
    height: int
    pixel_format: str
    deep: bool
    matrix: int
    range: int
    turns: int


def output_form(info: FilmInfo, upscale: int, available: Collection[str]) -> tuple[Form, tuple[str, ...]]:
    """How to store the frames of a restored film, and notes on what cannot be kept.

    Chroma keeps its resolution where the encoder can, RGB films get 4:2:0; more than 8 bits become 10. Odd
    sides get one more row or column, a copy of the last.

    Args:
        info: the film.
        upscale: 1, 2 or 4.
        available: the pixel formats that the encoder takes.

    Raises:
        OutputError: it takes none that fits.
    """
    from av.video.format import VideoFormat

    name, notes = _pixel_format(VideoFormat(info.pixel_format, _SAMPLE, _SAMPLE), available)
    width, height = info.width * upscale, info.height * upscale
    if width % 2 or height % 2:
        notes += (f"{width}x{height} gets one more row or column: most films are even",)
    untold = 1 if min(info.width, info.height) >= _HD else 5
    form = Form(
        width=width + width % 2,
        height=height + height % 2,
        pixel_format=name,
        deep="10" in name,
        matrix=_MATRICES.get(info.colours.matrix, untold),
        range=2 if info.colours.range == 2 or info.pixel_format.startswith("yuvj") else 1,
        turns=round(info.rotation / 90) % 4 if info.rotation % 90 == 0 else 0,
    )
    return form, notes


def _pixel_format(source: VideoFormat, available: Collection[str]) -> tuple[str, tuple[str, ...]]:
    has_chroma = len(source.components) >= 3 and not source.is_rgb
    wide = _SAMPLE // source.components[1].width if has_chroma else 2
    high = _SAMPLE // source.components[1].height if has_chroma else 2
    bits = max((part.bits for part in source.components), default=8)
    depths = (10, 8) if bits > 8 else (8, 10)
    # The least chroma that loses nothing; where the encoder has none, the most that it has.
    fine = [s for s in _SUBSAMPLINGS if s[1] <= wide and s[2] <= high]
    coarse = [s for s in reversed(_SUBSAMPLINGS) if s not in fine]
    for depth in depths:
        for subsampling in (*fine, *coarse):
            name = f"yuv{subsampling[0]}p{'10le' if depth == 10 else ''}"
            if name not in available:
                continue
            notes = []
            if subsampling in coarse or source.is_rgb:
                notes.append(f"{source.name} is stored as {name}: its colours lose resolution")
            if bits > depth:
                notes.append(f"{bits} bits become {depth}")
            return name, tuple(notes)
    raise OutputError(f"the encoder cannot take {source.name}: choose another --codec")


def stored(frame: VideoFrame, form: Form) -> VideoFrame:
    """A copy of a decoded frame as the output stores it, enlarged where that is larger."""
    from av.video.frame import VideoFrame
    from av.video.reformatter import Interpolation

    grown = form.width >= 2 * frame.width
    same = frame.reformat(
        width=form.width if grown else frame.width,
        height=form.height if grown else frame.height,
        format=form.pixel_format,
        interpolation=Interpolation.LANCZOS,
        **_alike(form),
    )
    copy = VideoFrame(form.width, form.height, form.pixel_format)
    for there, here in zip(_planes(copy), _planes(same), strict=True):
        extra = [(0, there.shape[i] - here.shape[i]) for i in (0, 1)]
        there[...] = np.pad(here, extra, mode="edge")
    return copy


def upright_rgb(frame: VideoFrame, form: Form) -> Pixels:
    """A frame for looking at, (H, W, 3) RGB, uint8 or uint16 as `form` says."""
    from av.video.reformatter import ColorRange

    kind = "rgb48le" if form.deep else "rgb24"
    rgb = frame.to_ndarray(
        format=kind,
        src_colorspace=form.matrix,
        src_color_range=ColorRange(form.range),
        dst_color_range=ColorRange.JPEG,
    )
    turned: Pixels = np.ascontiguousarray(np.rot90(rgb, form.turns))
    return turned


def add_change(frame: VideoFrame, before: Pixels, after: Pixels, form: Form) -> None:
    """Give a stored frame the change of its upright RGB picture, in place.

    Args:
        frame: from `stored`.
        before: from `upright_rgb`.
        after: the same, changed.
        form: of the frame.
    """
    before, after = (np.rot90(each, -form.turns) for each in (before, after))
    changed = before != after
    rows = np.flatnonzero(changed.any((1, 2)))
    if not len(rows):
        return
    columns = np.flatnonzero(changed[rows[0] : rows[-1] + 1].any(0).any(1))
    # On even pixels, so that chroma samples lie alike in the part and in the frame.
    y1, y2 = rows[0] // 2 * 2, rows[-1] // 2 * 2 + 2
    x1, x2 = columns[0] // 2 * 2, columns[-1] // 2 * 2 + 2
    old, new = (_as_stored(each[y1:y2, x1:x2], form) for each in (before, after))
    top = (1 << (10 if form.deep else 8)) - 1
    for plane, a, b in zip(_planes(frame), _planes(old), _planes(new), strict=True):
        y, x = y1 * plane.shape[0] // form.height, x1 * plane.shape[1] // form.width
        part = plane[y : y + a.shape[0], x : x + a.shape[1]]
        part[...] = np.clip(part.astype(np.int32) + b - a.astype(np.int32), 0, top)


def _as_stored(rgb: Pixels, form: Form) -> VideoFrame:
    from av.video.frame import VideoFrame
    from av.video.reformatter import ColorRange

    array: Any = np.ascontiguousarray(rgb)
    part = VideoFrame.from_ndarray(array, "rgb48le" if form.deep else "rgb24")
    return part.reformat(
        format=form.pixel_format,
        src_color_range=ColorRange.JPEG,
        dst_colorspace=form.matrix,
        dst_color_range=ColorRange(form.range),
    )


def _alike(form: Form) -> dict[str, Any]:
    """Options that keep matrix and range as they are."""
    from av.video.reformatter import ColorRange

    kept = ColorRange(form.range)
    return {
        "src_colorspace": form.matrix,
        "dst_colorspace": form.matrix,
        "src_color_range": kept,
        "dst_color_range": kept,
    }


def _planes(frame: VideoFrame) -> list[NDArray[Any]]:
    """The planes of a frame as arrays (H, W) that share its memory."""
    return [_plane(plane, frame.format.components[0].bits) for plane in frame.planes]


def _plane(plane: VideoPlane, bits: int) -> NDArray[Any]:
    depth = np.dtype(np.uint16 if bits > 8 else np.uint8)
    memory: Any = plane  # a buffer, which NumPy's annotations do not know
    rows: NDArray[Any] = np.frombuffer(memory, depth).reshape(plane.height, plane.line_size // depth.itemsize)
    return rows[:, : plane.width]

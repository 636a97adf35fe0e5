"""Enlarging what lies outside the faces with Real-ESRGAN's small network, tile by tile, without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from facemend.errors import BackendError, ModelNotFoundError
from facemend.imaging import Picture, from_float, is_gray, is_toned, keep_chroma, luma, resize, to_float
from facemend.imaging.tiles import tiles
from facemend.runtime.devices import AUTO
from facemend.runtime.onnx import open_graphs
from facemend.runtime.runner import Array, Runner
from facemend.types import FloatImage
from facemend.weights.catalog import asset_path
from facemend.weights.ncnn import Shape, read_ncnn
from facemend.weights.packages import cached

SCALE = 4
"""The network makes sides four times as long; for less the result is averaged."""

SIDE = 256
"""Side of a tile, pixels; memory is that of one tile, whatever the photo."""

REACH = 18
"""Pixels that the network looks around each: it has 18 convolutions of 3x3."""

_PACKAGE = "realesrgan"
_PARAM, _BIN = "realesr-animevideov3-x4.param", "realesr-animevideov3-x4.bin"
_FETCH = "facemend assets get realesrgan"
_WIDTH = 64
_SMALL = 512  # side of the copy on which it is seen whether a photo is gray or toned


class BackgroundUpscaler:
    """Enlarges photos. May be used from several threads.

    Args:
        runner: graph with input `image` (N, 3, H, W) RGB [0, 1] and output `upscaled`, 4 times as large.
        side: side of a tile, pixels.
    """

    def __init__(self, runner: Runner, *, side: int = SIDE) -> None:
        self._runner = runner
        self._side = side

    @classmethod
    def open(cls, *, device: str = AUTO, threads: int | None = None) -> BackgroundUpscaler:
        """Load the network: its layers ship with facemend, its weights lie in the user's cache.

        Args:
            device: a name of `runtime.devices`.
            threads: CPU threads; default: all usable cores.

        Raises:
            ModelNotFoundError: the weights were not fetched yet.
            WeightsError: a file is damaged.
            BackendError: the device is not there, or the graph cannot be run.
        """
        opened = open_graphs(
            [asset_path("upscaler")], device, threads=threads, any_shape=True, weights=_weights()
        )
        return cls(opened.runners[0])

    def enlarge(self, picture: Picture, scale: int, *, on_tile: Callable[[], None] = lambda: None) -> Picture:
        """A photo `scale` (1 to 4) times as large, of the same kind: depth, gray, alpha and metadata stay.

        Alpha is enlarged for itself (Lanczos); what was transparent gets other colours. Of a gray or toned
        photo the network gives the light alone.

        Args:
            picture: the photo.
            scale: 1 to 4.
            on_tile: called before each tile; what it raises ends the work.

        Raises:
            BackendError: the run failed, or gave values that are not finite.
        """
        picture = picture.seen()
        width, height = picture.width * scale, picture.height * scale
        pixels = np.empty((height, width, 3), picture.pixels.dtype)
        toned = not picture.gray and _is_toned(picture)
        for tile in tiles(picture.width, picture.height, side=self._side, margin=REACH):
            on_tile()
            piece = to_float(picture.pixels[tile.outer])
            enlarged = self._run(piece, scale)
            if picture.gray:
                enlarged[...] = luma(enlarged)[..., None]
            elif toned:
                enlarged = keep_chroma(enlarged, resize(piece, enlarged.shape[1::-1], "lanczos"))
            pixels[tile.result(scale)] = from_float(enlarged[tile.inner(scale)], pixels.dtype)
        alpha = None if picture.alpha is None else resize(picture.alpha, (width, height), "lanczos")
        return replace(picture, pixels=pixels, alpha=alpha)

    def _run(self, piece: FloatImage, scale: int) -> FloatImage:
        """(H, W, 3) to (scale H, scale W, 3), float32 RGB [0, 1]."""
        batch = np.ascontiguousarray(piece.transpose(2, 0, 1)[None])
        upscaled = self._runner.run({"image": batch})["upscaled"][0].transpose(1, 2, 0)
        if not np.isfinite(upscaled).all():
            raise BackendError("the background network gave values that are not numbers; use lanczos")
        size = piece.shape[1] * scale, piece.shape[0] * scale
        return resize(np.ascontiguousarray(np.clip(upscaled, 0, 1)), size, "area")


def weights_are_there() -> bool:
    """Whether the weights were fetched, so that `BackgroundUpscaler.open` finds them."""
    return {_PARAM, _BIN}.issubset(cached(_PACKAGE))


def _weights() -> dict[str, Array]:
    """The numbers by the names in the graph."""
    found = cached(_PACKAGE)
    if not {_PARAM, _BIN}.issubset(found):
        raise ModelNotFoundError(f"background realesrgan: its weights are not here; get them: {_FETCH}")
    arrays = read_ncnn(found[_PARAM], found[_BIN], _layers())
    # Slopes of a PReLU stand along the channels of (C, H, W).
    return {name: array.reshape(-1, 1, 1) if _is_slope(name) else array for name, array in arrays.items()}


def _layers() -> dict[str, Shape]:
    """The layers that have numbers, named as in `real_esrgan.CompactUpscaler`: convolution, PReLU, ..."""
    layers: dict[str, Shape] = {}
    for i in range(REACH - 1):
        layers[f"stack.{2 * i}"] = (_WIDTH, _WIDTH if i else 3, 3, 3)
        layers[f"stack.{2 * i + 1}"] = (_WIDTH,)
    layers[f"stack.{2 * (REACH - 1)}"] = (3 * SCALE**2, _WIDTH, 3, 3)
    return layers


def _is_slope(name: str) -> bool:
    return int(name.split(".")[1]) % 2 == 1


def _is_toned(picture: Picture) -> bool:
    """Whether it is gray or of one tone; looked at on a small copy."""
    scale = min(1.0, _SMALL / max(picture.width, picture.height))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    image = to_float(resize(picture.pixels, size, "area"))
    return is_gray(image) or is_toned(image)

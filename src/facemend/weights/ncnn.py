"""Reader of ncnn weight files: a text that lists the layers (`.param`) and their numbers (`.bin`).

Both files are untrusted: only the layers that the upscalers of `models.upscaler` are made of are known, every
size is compared with what is wanted and with what the file holds before anything is allocated, and nothing
may be left over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemend.errors import WeightsError

Shape = tuple[int, ...]

_MAGIC = "7767517"
_MAX_PARAM_BYTES = 1 << 20
_HALF_TAG = 0x01306B47
# Layers without numbers in the `.bin` file; any other unknown layer might have some.
_BARE = frozenset({"Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle"})
# Settings of a convolution; the last is a list: how many slopes, then the slopes.
_OUTPUTS, _KERNEL, _PADDING, _BIAS, _COUNT, _ACTIVATION, _SLOPES = "0", "1", "4", "5", "6", "9", "-23310"
_CONV_KEYS = frozenset({_OUTPUTS, _KERNEL, _PADDING, _BIAS, _COUNT, _ACTIVATION, _SLOPES})


@dataclass(frozen=True)
class _Layer:
    """A layer of the text file that has numbers: `count` kernel weights (0 for PReLU), `outputs` channels."""

    kind: str
    name: str
    outputs: int
    count: int


def read_ncnn(param: Path, weights: Path, wanted: Mapping[str, Shape]) -> dict[str, NDArray[np.float32]]:
    """Read the numbers of an ncnn model.

    Args:
        param: the `.param` text file.
        weights: the `.bin` file beside it.
        wanted: the layers with numbers, in the order of the file: name -> shape of the weights, which is
            (outputs, inputs, 3, 3) for a convolution and (channels,) for the slopes of a PReLU.

    Returns:
        float32 arrays: NAME.weight of every layer in its shape, and NAME.bias of every convolution.

    Raises:
        WeightsError: a file is missing, damaged, cut off, or belongs to another network; it is named.
    """
    try:
        layers = _layers(_text(param))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{param}: not the layer list of this network ({error}); fetch it again") from None
    if len(wanted) != len(layers):
        raise WeightsError(
            f"{param}: lists {len(layers)} layers with weights, the network has {len(wanted)}; fetch it again"
        )
    for layer, (name, shape) in zip(layers, wanted.items(), strict=True):
        if not _fits(layer, shape):
            raise WeightsError(f"{param}: {layer.name} does not fit {name} of the network; fetch it again")
    try:
        numbers = _Numbers(weights, layers)
        arrays: dict[str, NDArray[np.float32]] = {}
        for layer, (name, shape) in zip(layers, wanted.items(), strict=True):
            if layer.count:
                arrays[f"{name}.weight"] = numbers.kernel(layer.count).reshape(shape)
                arrays[f"{name}.bias"] = numbers.plain(layer.outputs)
            else:
                arrays[f"{name}.weight"] = numbers.plain(layer.outputs)
        numbers.end()
    except (OSError, ValueError) as error:
        raise WeightsError(f"{weights}: not the weights of this network ({error}); fetch it again") from None
    return arrays


def _text(path: Path) -> str:
    if path.stat().st_size > _MAX_PARAM_BYTES:
        raise ValueError("too large")
    return path.read_text(encoding="ascii")  # UnicodeDecodeError is a ValueError


def _layers(text: str) -> list[_Layer]:
    """Layers with numbers, in file order. Raises ValueError."""
    lines = [line.split() for line in text.splitlines()]
    if len(lines) < 2 or lines[0] != [_MAGIC]:
        raise ValueError("no ncnn header")
    body = lines[2:]
    if len(lines[1]) != 2 or int(lines[1][0]) != len(body):
        raise ValueError("cut off")
    return list(_with_numbers(body))


def _with_numbers(body: list[list[str]]) -> Iterator[_Layer]:
    for words in body:
        if len(words) < 4:
            raise ValueError("a line is cut off")
        kind, name = words[:2]
        if kind in _BARE:
            continue
        start = 4 + int(words[2]) + int(words[3])  # names of the inputs and outputs come first
        settings = dict(word.split("=", 1) for word in words[start:])
        if kind == "PReLU" and settings.keys() == {"0"}:
            yield _Layer(kind, name, int(settings["0"]), 0)
        elif kind == "Convolution" and _is_known_convolution(settings):
            yield _Layer(kind, name, int(settings[_OUTPUTS]), int(settings[_COUNT]))
        else:
            raise ValueError(f"layer {name[:40]} of an unknown kind")


def _is_known_convolution(settings: dict[str, str]) -> bool:
    """3x3 with a bias and the size kept, followed by nothing or by a leaky rectifier of slope 0.2."""
    if not settings.keys() <= _CONV_KEYS:
        return False
    if (settings.get(_KERNEL), settings.get(_PADDING), settings.get(_BIAS)) != ("3", "1", "1"):
        return False
    if _ACTIVATION not in settings:
        return _SLOPES not in settings and {_OUTPUTS, _COUNT} <= settings.keys()
    number, _, slope = settings.get(_SLOPES, "").partition(",")
    return settings[_ACTIVATION] == "2" and number == "1" and float(slope) == 0.2


def _fits(layer: _Layer, shape: Shape) -> bool:
    if len(shape) == 1:
        return layer.kind == "PReLU" and layer.outputs == shape[0]
    if layer.kind != "Convolution" or shape[2:] != (3, 3):
        return False
    return layer.outputs == shape[0] and layer.count == int(np.prod(shape))


class _Numbers:
    """The `.bin` file, read from front to back. Everything raises ValueError when it does not add up."""

    def __init__(self, path: Path, layers: list[_Layer]) -> None:
        # A kernel is 4 bytes of tag and at least 2 a weight, at most 4.
        fixed = sum(4 * layer.outputs + (4 if layer.count else 0) for layer in layers)
        weights = sum(layer.count for layer in layers)
        size = path.stat().st_size
        if not fixed + 2 * weights <= size <= fixed + 4 * weights:
            raise ValueError(f"{size} bytes cannot hold {weights} weights")
        self._data = path.read_bytes()
        self._at = 0

    def kernel(self, count: int) -> NDArray[np.float32]:
        """Weights after their tag, which says how they are stored."""
        tag = int(self._take("<u4", 1)[0])
        if tag == 0:
            return self.plain(count)
        if tag != _HALF_TAG:
            raise ValueError(f"weights stored in an unknown way, tag {tag:#010x}")
        # Stored on whole groups of 4 bytes.
        return _finite(self._take("<f2", count + count % 2)[:count])

    def plain(self, count: int) -> NDArray[np.float32]:
        """Numbers stored as float32."""
        return _finite(self._take("<f4", count))

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise ValueError(f"{len(self._data) - self._at} bytes too many")

    def _take(self, kind: str, count: int) -> NDArray[np.generic]:
        size = np.dtype(kind).itemsize * count
        if size > len(self._data) - self._at:
            raise ValueError("cut off")
        values = np.frombuffer(self._data, dtype=kind, count=count, offset=self._at)
        self._at += size
        return values


def _finite(values: NDArray[np.generic]) -> NDArray[np.float32]:
    copy = values.astype(np.float32)
    if not np.isfinite(copy).all():
        raise ValueError("NaN or infinite values")
    return copy

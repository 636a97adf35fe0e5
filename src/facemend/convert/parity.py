"""Does the exported pair of graphs do what the network does?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.runtime.onnx import OnnxRunner
from facemend.runtime.runner import Array, Arrays

WS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Parity:
    """Differences between the graphs and the torch network on the same pictures.

    Attributes:
        codes: share of tokens with the same code, [0, 1].
        largest: largest absolute difference of the restored pictures given the same codes, in [-1, 1] units.
        mean: mean absolute difference of the whole, each side with its own codes.
        w_effect: mean absolute change of the graphs' result from w = 0 to w = 1: zero means a frozen w.
    """

    codes: float
    largest: float
    mean: float
    w_effect: float


def measure_parity(
    net: CodeFormer, encode: Path, decode: Path, images: NDArray[np.float32], adain: bool
) -> Parity:
    """Compare on pictures (N, 3, S, S) float32 in [-1, 1], one at a time.

    The second half is compared on the graphs' own codes, as one flipped code changes a whole patch and would
    hide the rest; the share of flips is reported beside it. Graphs are exported on a batch of two: that they
    take one picture shows that the batch is open. Never more than one graph and one picture are worked on,
    which keeps the published network within 4 GiB.
    """
    singles = [images[index : index + 1] for index in range(len(images))]
    encoded = _encoded(encode, singles)
    pairs = zip(singles, encoded, _restored(decode, encoded), strict=True)
    found = [_compare(net, *pair, adain) for pair in pairs]
    agreement, largest, mean, effect = (np.array(column) for column in zip(*found, strict=True))
    # `max` of NumPy hands NaN on.
    return Parity(float(agreement.mean()), float(largest.max()), float(mean.mean()), float(effect.mean()))


def _encoded(encode: Path, singles: list[NDArray[np.float32]]) -> list[Arrays]:
    runner = OnnxRunner(encode)
    return [runner.run({"image": image}) for image in singles]


def _restored(decode: Path, encoded: list[Arrays]) -> list[dict[float, Array]]:
    """For each picture what the decode graph gives at each w."""
    runner = OnnxRunner(decode)
    needed = [name for name in runner.input_names if name != "w"]
    return [
        {w: runner.run({**{n: given[n] for n in needed}, "w": _weight(w)})["restored"] for w in WS}
        for given in encoded
    ]


def _weight(w: float) -> NDArray[np.float32]:
    return np.full(1, w, np.float32)


@torch.no_grad()
def _compare(
    net: CodeFormer, image: NDArray[np.float32], given: Arrays, restored: dict[float, Array], adain: bool
) -> tuple[float, float, float, float]:
    """The figures of `Parity` for one picture."""
    own = net.encode(torch.from_numpy(image))
    style = own.z if adain else None
    agree = float((own.codes.numpy() == given["codes"]).mean())

    def difference(codes: Tensor, w: float) -> NDArray[np.float32]:
        result = net.decode(codes, own.features, torch.from_numpy(_weight(w)), style)
        return np.asarray(np.abs(result.numpy() - restored[w]))

    same = [difference(torch.from_numpy(given["codes"]), w) for w in WS]
    whole = same if agree == 1 else [difference(own.codes, w) for w in WS]
    largest, mean = np.max(same), np.mean(whole)
    effect = np.abs(restored[1.0] - restored[0.0]).mean()
    return agree, float(largest), float(mean), float(effect)

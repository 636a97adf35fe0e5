"""Does the exported pair of graphs do what the network does?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from facemend.models.codeformer import CodeFormer
from facemend.runtime.onnx import OnnxRunner

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


@torch.no_grad()
def measure_parity(
    net: CodeFormer, encode: Path, decode: Path, images: NDArray[np.float32], adain: bool
) -> Parity:
    """Compare on pictures (N, 3, S, S) float32 in [-1, 1].

    The second half is compared on the graphs' own codes, as one flipped code changes a whole patch and would
    hide the rest; the share of flips is reported beside it.
    """
    first, second = OnnxRunner(encode), OnnxRunner(decode)
    given = first.run({"image": images})
    tensors = torch.from_numpy(images)
    encoded = net.encode(tensors)
    agreement = float((encoded.codes.numpy() == given["codes"]).mean())
    largest, total, results = 0.0, 0.0, {}
    for w in WS:
        weights = np.full(len(images), w, np.float32)
        inputs = {name: given[name] for name in second.input_names if name != "w"}
        restored = second.run({**inputs, "w": weights})["restored"]
        results[w] = restored
        style = encoded.z if adain else None
        same = net.decode(
            torch.from_numpy(given["codes"]), encoded.features, torch.from_numpy(weights), style
        )
        largest = max(largest, float(np.abs(same.numpy() - restored).max()))
        own = net.decode(encoded.codes, encoded.features, torch.from_numpy(weights), style)
        total += float(np.abs(own.numpy() - restored).mean())
    return Parity(
        codes=agreement,
        largest=largest,
        mean=total / len(WS),
        w_effect=float(np.abs(results[1.0] - results[0.0]).mean()),
    )

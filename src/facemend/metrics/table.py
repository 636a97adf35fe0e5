"""All metrics by name, with what a report has to know about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from facemend.metrics.fidelity import psnr, ssim
from facemend.metrics.learned import identity_distance, identity_similarity, lpips


@dataclass(frozen=True)
class Metric:
    """A full-reference metric.

    Attributes:
        function: two batches (N, 3, H, W), RGB, [0, 1], to (N,) values.
        higher_is_better: the direction of the metric.
        unit: unit of the values, or "" for a bare number.
        network: the network behind it, to be printed beside its values; "" for a formula.
        aligned: whether the pictures must be FFHQ-aligned square faces.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    higher_is_better: bool
    unit: str = ""
    network: str = ""
    aligned: bool = False


METRICS: MappingProxyType[str, Metric] = MappingProxyType(
    {
        "psnr": Metric(psnr, higher_is_better=True, unit="dB"),
        "ssim": Metric(ssim, higher_is_better=True),
        "lpips": Metric(lpips, higher_is_better=False, network="LPIPS 0.1 AlexNet"),
        "identity_distance": Metric(
            identity_distance, higher_is_better=False, network="dlib ResNet", aligned=True
        ),
        "identity_similarity": Metric(
            identity_similarity, higher_is_better=True, network="dlib ResNet", aligned=True
        ),
    }
)
"""Name to metric."""

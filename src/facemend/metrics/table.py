"""All metrics of single pictures by name, with what a report has to say about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from torch import Tensor

from facemend.metrics.fidelity import ms_ssim, psnr, ssim
from facemend.metrics.learned import dists, identity_measures, lpips
from facemend.metrics.niqe import niqe

_CROP = "whole picture"
_FACE = "fixed chip of the aligned face"


@dataclass(frozen=True)
class Metric:
    """A metric of single pictures.

    Attributes:
        label: its usual name, for tables.
        function: batches (N, 3, H, W), RGB, [0, 1], to (N,) values; of pictures and originals, or of pictures
            alone.
        higher_is_better: the direction of the metric.
        explain: two sentences for somebody who has to choose a model.
        range: the values to expect.
        unit: unit of the values, or "" for a bare number.
        network: the network behind it, to be printed beside its values; "" for a formula.
        colour: what it looks at.
        crop: which part of the picture it looks at.
        reference: whether it compares with an original.
    """

    label: str
    function: Callable[..., Tensor]
    higher_is_better: bool
    explain: str
    range: str
    unit: str = ""
    network: str = ""
    colour: str = "RGB"
    crop: str = _CROP
    reference: bool = True

    def __call__(self, pictures: Tensor, reference: Tensor | None = None) -> Tensor:
        """Values (N,) of a batch.

        Raises:
            ValueError: shapes are wrong, or a reference is missing or superfluous.
        """
        if self.reference != (reference is not None):
            raise ValueError(f"{self.label} {'needs' if self.reference else 'takes no'} original pictures")
        return self.function(pictures) if reference is None else self.function(pictures, reference)


_DLIB = "dlib ResNet"


def _identity(name: str, a: Tensor, b: Tensor) -> Tensor:
    return identity_measures(a, b)[name]


METRICS: MappingProxyType[str, Metric] = MappingProxyType(
    {
        "psnr": Metric(
            "PSNR",
            psnr,
            higher_is_better=True,
            range="15 to 40",
            unit="dB",
            explain="How close the pixels are to the original; every 3 dB halve the squared error. A blurred "
            "picture scores well, so never choose a model by it alone.",
        ),
        "ssim": Metric(
            "SSIM",
            ssim,
            higher_is_better=True,
            range="0 to 1",
            explain="How well local light, contrast and structure agree with the original. It also forgives "
            "blur more than an eye does.",
        ),
        "ms_ssim": Metric(
            "MS-SSIM",
            ms_ssim,
            higher_is_better=True,
            range="0 to 1",
            explain="SSIM at five sizes of the picture, so that large forms count as well as fine ones. "
            "It says whether the face as a whole is kept.",
        ),
        "lpips": Metric(
            "LPIPS-Alex",
            partial(lpips, net="alex"),
            higher_is_better=False,
            range="0 to about 1",
            network="LPIPS 0.1 AlexNet",
            explain="How different the restored face looks from the original to a network that judges much "
            "as people do. The first figure to look at for quality with an original at hand.",
        ),
        "lpips_vgg": Metric(
            "LPIPS-VGG",
            partial(lpips, net="vgg"),
            higher_is_better=False,
            range="0 to about 1",
            network="LPIPS 0.1 VGG-16",
            explain="The same measure with another network, which many papers print. Its values are not on "
            "the scale of LPIPS-Alex.",
        ),
        "dists": Metric(
            "DISTS",
            dists,
            higher_is_better=False,
            range="0 to about 1",
            network="DISTS VGG-16",
            explain="Like LPIPS, but skin or hair of the right kind is accepted even if each hair lies "
            "elsewhere. Good for judging whether textures look real.",
        ),
        "ids": Metric(
            "IDS",
            partial(_identity, "ids"),
            higher_is_better=True,
            range="0.8 to 1",
            network=_DLIB,
            crop=_FACE,
            explain="Whether a recogniser still sees the same person: the cosine between its descriptions of "
            "the restored face and the original. Different people score about 0.8 here, so small steps "
            "matter, and values of papers (ArcFace) are on another scale.",
        ),
        "ids_degrees": Metric(
            "IDS angle",
            partial(_identity, "ids_degrees"),
            higher_is_better=False,
            range="0 to 40",
            unit="degrees",
            network=_DLIB,
            crop=_FACE,
            explain="The same as an angle, which spreads the values out. Lower means that the person is "
            "kept.",
        ),
        "identity_distance": Metric(
            "Identity distance",
            partial(_identity, "identity_distance"),
            higher_is_better=False,
            range="0 to 1",
            network=_DLIB,
            crop=_FACE,
            explain="The same as a distance between the two descriptions. Below 0.6 this recogniser takes "
            "two pictures for the same person.",
        ),
        "niqe": Metric(
            "NIQE",
            niqe,
            higher_is_better=False,
            range="2 to 20",
            network="NIQE scene statistics",
            colour="BT.601 brightness",
            crop="whole blocks of 96 pixels",
            reference=False,
            explain="How natural a picture looks without knowing the original; about 3 to 5 for sharp "
            "photographs. Invented detail pleases it, and at 256 pixels it is rough.",
        ),
    }
)
"""Name to metric, in the order of reports."""

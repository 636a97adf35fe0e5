"""The network in two halves, before and after w: what is exported, and what the torch backend runs."""

from __future__ import annotations

from torch import Tensor, nn

from facemend.networks.codeformer.codeformer import CodeFormer


class EncodeGraph(nn.Module):
    """The half that does not depend on w."""

    def __init__(self, net: CodeFormer) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Codes, style, what decoding gets of the face, smallest first, and the diagnosis if there is one."""
        encoded = self.net.encode(image)
        kept = (encoded.features[size] for size in self.net.config.kept_sizes)
        return encoded.codes, encoded.z, *kept, *(() if encoded.diagnosis is None else (encoded.diagnosis,))


class DecodeGraph(nn.Module):
    """The half that depends on w; AdaIN as asked for."""

    def __init__(self, net: CodeFormer, adain: bool) -> None:
        super().__init__()
        self.net = net
        self.adain = adain

    def forward(self, w: Tensor, codes: Tensor, *rest: Tensor) -> Tensor:
        """Restored pictures; `rest` is style (with AdaIN only), then the kept features, smallest first."""
        style, features = (rest[0], rest[1:]) if self.adain else (None, rest)
        sizes = self.net.config.kept_sizes
        return self.net.decode(codes, dict(zip(sizes, features, strict=True)), w, style)


def encode_names(net: CodeFormer) -> list[str]:
    """Output names of the encode graph."""
    return [*_passed_names(net), *(["diagnosis"] if net.config.diagnosis else [])]


def decode_names(net: CodeFormer, adain: bool) -> list[str]:
    """Input names of the decode graph."""
    return ["w", *(name for name in _passed_names(net) if adain or name != "style")]


def _passed_names(net: CodeFormer) -> list[str]:
    photo = ["photo"] if net.config.bands else []
    return ["codes", "style", *(f"features_{size}" for size in sorted(net.config.fuse_sizes)), *photo]

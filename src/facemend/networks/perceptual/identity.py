"""Face identity: dlib's face recognition network (King, CC0), rebuilt in torch.

Turns a face into 128 numbers that lie close together for the same person. It serves as a metric (did the
restored face stay the same person?) and, being differentiable, as a loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemend.errors import WeightsError, one_line
from facemend.networks.perceptual.weights import identity_state

CHIP_SIZE = 150
"""Side of the face chip that the network was trained on, pixels."""

SAME_PERSON_DISTANCE = 0.6
"""Two embeddings closer than this are taken for the same person."""

_MEAN = (122.782, 117.001, 104.298)
_DIVISOR = 256.0
_STEM_WIDTH = 32
_GROUPS = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))
# FFHQ-aligned 512 pixel crop -> chip, pixel centres at whole numbers.
_CROP_SIZE = 512
_CROP_TO_CHIP = ((0.42174, 0.00137, -34.013), (-0.00137, 0.42174, -55.769))
_BLUR_SIGMA = 0.8


class IdentityNet(nn.Module):
    """dlib's face recognition ResNet with 29 convolutions.

    Args:
        weights: a state dict of this module; by default dlib's, fetched on the first use.

    Parameters never train and the module stays in evaluation mode; gradients flow to the pictures.

    Raises:
        WeightsError: if `weights` do not fit, or dlib's cannot be fetched.
    """

    mean: Tensor

    def __init__(self, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        convs: list[nn.Module] = [nn.Conv2d(3, _STEM_WIDTH, 7, stride=2)]
        self._strides: list[int] = []
        before = _STEM_WIDTH
        for group, (width, count) in enumerate(_GROUPS):
            for block in range(count):
                stride = 2 if group and not block else 1
                self._strides.append(stride)
                # dlib pads by half a kernel, but not at all before a convolution with a stride.
                convs.append(nn.Conv2d(before, width, 3, stride=stride, padding=2 - stride))
                convs.append(nn.Conv2d(width, width, 3, padding=1))
                before = width
        self.convs = nn.ModuleList(convs)
        self.head = nn.Parameter(torch.zeros(before, 128))
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        try:
            self.load_state_dict(dict(identity_state() if weights is None else weights))
        except RuntimeError as error:
            message = one_line(error)
            raise WeightsError(f"identity: the weights do not fit ({message})") from error
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> IdentityNet:
        """Stay in evaluation mode: the network is a fixed measure."""
        return super().train(False)

    def forward(self, chips: Tensor) -> Tensor:
        """Embed face chips.

        Args:
            chips: (N, 3, 150, 150) RGB, [0, 255], cut as dlib cuts them.

        Returns:
            (N, 128) embeddings, not normalised; L2 below `SAME_PERSON_DISTANCE` means the same person.

        Raises:
            ValueError: if the shape is wrong.
        """
        if chips.ndim != 4 or chips.shape[1:] != (3, CHIP_SIZE, CHIP_SIZE):
            raise ValueError(f"chips must be (N, 3, {CHIP_SIZE}, {CHIP_SIZE}), got {tuple(chips.shape)}")
        x = F.max_pool2d(F.relu(self.convs[0]((chips - self.mean) / _DIVISOR)), 3, 2)
        for block, stride in enumerate(self._strides):
            y = F.relu(self.convs[2 * block + 1](x))
            y = self.convs[2 * block + 2](y)
            skip = F.avg_pool2d(x, 2) if stride == 2 else x
            x = F.relu(_padded_sum(y, skip))
        return x.mean((2, 3)) @ self.head

    def embed_aligned(self, faces: Tensor) -> Tensor:
        """Embed FFHQ-aligned crops; the chip is cut at the place where it lies in every such crop.

        Args:
            faces: (N, 3, S, S) RGB, [-1, 1], aligned to the FFHQ template, any size (512 is the usual one).

        Returns:
            (N, 128) embeddings, see `forward`.

        Raises:
            ValueError: if the shape is wrong.
        """
        return self.forward(aligned_chips(faces))


def aligned_chips(faces: Tensor) -> Tensor:
    """Cut dlib's face chips out of FFHQ-aligned crops.

    Args:
        faces: (N, 3, S, S) RGB, [-1, 1].

    Returns:
        (N, 3, 150, 150) RGB, [0, 255]; differentiable.

    Raises:
        ValueError: if the shape is wrong.
    """
    if faces.ndim != 4 or faces.shape[1] != 3 or faces.shape[2] != faces.shape[3]:
        raise ValueError(f"faces must be (N, 3, S, S), got {tuple(faces.shape)}")
    size = faces.shape[-1]
    sigma = _BLUR_SIGMA * size / _CROP_SIZE
    places = _chip_places(size)
    # No more is blurred than the chip and what the blur reaches: half of the crop.
    reach = _radius(sigma) + 1
    first = [max(0, math.floor(float(axis.min())) - reach) for axis in places]
    last = [min(size, math.ceil(float(axis.max())) + reach + 1) for axis in places]
    (left, top), (right, bottom) = first, last
    blurred = _blur(faces[:, :, top:bottom, left:right], sigma)
    # To the sampler, -1 and 1 are the edges.
    grid = torch.stack(
        [(2 * (x - a) + 1) / (b - a) - 1 for x, a, b in zip(places, first, last, strict=True)], -1
    )
    grid = grid.to(faces).expand(len(faces), -1, -1, -1)
    chips = F.grid_sample(blurred, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return (chips + 1) * 127.5


def _chip_places(size: int) -> Tensor:
    """Where the chip lies in a crop of `size` pixels: (2, 150, 150) as x, y; whole numbers are middles."""
    inverse = np.linalg.inv(np.vstack([np.asarray(_CROP_TO_CHIP), [0.0, 0.0, 1.0]]))
    v, u = np.mgrid[0:CHIP_SIZE, 0:CHIP_SIZE].astype(np.float64)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1) @ inverse[:2].T
    return torch.from_numpy((pixels + 0.5) * size / _CROP_SIZE - 0.5).permute(2, 0, 1)


def _radius(sigma: float) -> int:
    return max(1, round(4 * sigma))


def _blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, separable, reaching four sigmas, edges repeated."""
    radius = _radius(sigma)
    steps = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-steps.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    x = F.pad(x, (radius,) * 4, mode="replicate")
    x = F.conv2d(x, kernel[:, :, None, :], groups=x.shape[1])
    return F.conv2d(x, kernel[:, :, :, None], groups=x.shape[1])


def _padded_sum(a: Tensor, b: Tensor) -> Tensor:
    """Sum of two maps; the smaller one is filled with zeros at the end of every axis, as dlib does."""
    shape = [max(x, y) for x, y in zip(a.shape[1:], b.shape[1:], strict=True)]
    return _grown(a, shape) + _grown(b, shape)


def _grown(x: Tensor, shape: list[int]) -> Tensor:
    missing = [target - have for target, have in zip(shape, x.shape[1:], strict=True)]
    return F.pad(x, (0, missing[2], 0, missing[1], 0, missing[0])) if any(missing) else x

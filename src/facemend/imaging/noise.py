"""How strong the noise of a picture is at each frequency: grain, half-tone screens; jumps of JPEG.

A picture is looked at in square blocks, each as the coefficients of its orthonormal discrete cosine
transform (DCT): independent noise of variance v has energy v in every coefficient. What a photo shows lies in
some of its blocks; noise is in all of them, and the quietest tell it. A half-tone screen is told by the
median over all blocks: that of a photo without one falls with the frequency, along both axes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from facemend.imaging.color import Pixels, luma, rgb_to_ycbcr, to_float

Power = NDArray[np.float32]
"""(S, S) energy of noise by coefficient, rows down the picture, of values in [0, 1]; all 0: there is none."""

QUIET_SHARE = 0.03
# On sharp, clean training portraits the quietest blocks have a tenth of the energy of the quieter fifth, with
# grain of 4 levels of 255 and more most often over a third.
_CALM_SHARE, _EVEN = 0.2, 0.15
_LEAST_BLOCKS = 8
_NOTHING = 1e-9
_LOW = 3
_BLACK, _WHITE = 0.04, 0.96  # mean light of blocks whose noise is cut off
_SCREEN = 4.0  # energy over that of all lower frequencies at which it is a screen's
_MEDIAN = 0.455  # of the square of a normal variable
_JPEG = 8
_MAX_JUMP = 0.1


def cosines(side: int) -> NDArray[np.float32]:
    """The orthonormal DCT-II of that length: C @ block @ C.T has the coefficients, and back by C.T."""
    k = np.arange(side)
    matrix = np.cos(np.pi * np.outer(k, 2 * k + 1) / (2 * side)) * math.sqrt(2 / side)
    matrix[0] /= math.sqrt(2)
    return matrix.astype(np.float32)


def block_energies(
    pixels: Pixels, side: int, most: int, *, gray: bool, where: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Squared coefficients of blocks spread over a picture.

    Args:
        pixels: (H, W, 3) RGB.
        side: of a block, pixels.
        most: so many blocks, about, if it is large.
        gray: its channels are equal.
        where: (H, W) in [0, 1]; if given, only blocks that lie where it is above 0.9.

    Returns:
        (P, N, side, side) with P = 1 plane (luma) of a gray picture, else 3 (luma, Cb, Cr). N is 0 where too
        few blocks have room; black and white ones, whose noise is cut off, are left out if others are there.
    """
    planes = 1 if gray else 3
    height, width = pixels.shape[:2]
    rooms = max(0, height - side + 1) * max(0, width - side + 1)
    if rooms < _LEAST_BLOCKS:
        return np.empty((planes, 0, side, side), np.float32)
    step = math.isqrt(max(1, rooms // most)) | 1  # odd: all phases of a grid are seen
    views = sliding_window_view(pixels, (side, side), axis=(0, 1))[::step, ::step]
    if where is None:
        views = views.reshape(-1, 3, side, side)
    else:
        views = views[sliding_window_view(where, (side, side))[::step, ::step].min((2, 3)) > 0.9]
    if len(views) < _LEAST_BLOCKS:
        return np.empty((planes, 0, side, side), np.float32)
    image = to_float(views.transpose(0, 2, 3, 1).reshape(-1, side, 3))
    values = luma(image)[..., None] if gray else rgb_to_ycbcr(image)
    blocks = values.reshape(-1, side, side, planes).transpose(3, 0, 1, 2)
    light = blocks[0].mean((1, 2))
    useful = (light > _BLACK) & (light < _WHITE)
    if np.count_nonzero(useful) >= _LEAST_BLOCKS:
        blocks = blocks[:, useful]
    matrix = cosines(side)
    coefficients = matrix @ blocks @ matrix.T
    return np.asarray(coefficients * coefficients, np.float32)


def noise_power(energies: NDArray[np.float32], low: int = _LOW) -> Power:
    """Energy of the noise that lies over a whole picture.

    The quietest blocks are chosen by one half of the coefficients and measured by the other half, and the
    reverse: so the choice does not make the noise look weaker than it is.

    Args:
        energies: (N, S, S), one plane of `block_energies`.
        low: coefficients u + v below this hold light and shade as well; the next two orders say how noisy
            they are. Less finds coarser grain, and more that is none.
    """
    side = energies.shape[-1]
    if not len(energies):
        return np.zeros((side, side), np.float32)
    power = np.empty((side, side), np.float32)
    order = np.add.outer(np.arange(side), np.arange(side))
    odd = order % 2 == 1
    count = max(_LEAST_BLOCKS, round(QUIET_SHARE * len(energies)))
    for half in (odd, ~odd):
        quietest = energies[np.argsort(energies[:, half & (order >= low)].sum(1))[:count]]
        # The median passes over stray edges; the mean is right for screens, whose energy is another one.
        power[~half] = np.minimum(quietest.mean(0), np.median(quietest, 0) / _MEDIAN)[~half]
    # The energy of clumps falls as a Gaussian of the frequency does, and that of light and shade faster.
    # Noise is nearly as strong in a fifth of the blocks; what is much weaker in the quietest is texture.
    fine = order >= low
    if power[fine].sum() < _EVEN * np.quantile(energies[:, fine].sum(1), _CALM_SHARE):
        return np.zeros_like(power)
    ring, below = (order >= low) & (order < low + 2), order < low
    square = np.add.outer(np.arange(side) ** 2, np.arange(side) ** 2)
    slope, start = np.polyfit(square[ring], np.log(power[ring] + _NOTHING), 1)
    power[below] = np.minimum(power[below], np.exp(start + min(0.0, slope) * square[below]))
    return power


def at_least(power: Power, deviation: float) -> Power:
    """The same, or 0 everywhere if the standard deviation is less: that may be rounding and texture."""
    return power if power.mean() > deviation**2 else np.zeros_like(power)


def screen_power(energies: NDArray[np.float32]) -> Power:
    """Energy of a half-tone screen, which lies over most of a picture: 0 but at its own frequencies.

    Args:
        energies: (N, S, S), one plane of `block_energies`.
    """
    side = energies.shape[-1]
    if not len(energies):
        return np.zeros((side, side), np.float32)
    middle = np.median(energies, axis=0) / _MEDIAN
    least = np.minimum.accumulate(np.minimum.accumulate(middle, 0), 1)
    above_low = np.add.outer(np.arange(side), np.arange(side)) >= _LOW
    return np.asarray(np.where((middle > _SCREEN * least) & above_low, middle, 0), np.float32)


def block_jump(plane: NDArray[np.float32]) -> float:
    """By how much neighbours differ more across the edges of JPEG's blocks of 8 pixels than elsewhere, mean.

    Args:
        plane: (H, W) in [0, 1]; the blocks may begin anywhere.

    Returns:
        0 or more, in units of the plane; 0 where only one direction shows a grid.
    """
    jumps = [math.inf]
    for across in (plane, plane.T):
        steps = np.minimum(np.abs(np.diff(across, axis=1)), _MAX_JUMP).mean(0)
        steps = steps[: len(steps) // _JPEG * _JPEG]
        if not len(steps):
            return 0.0
        *others, largest = np.sort(steps.reshape(-1, _JPEG).mean(0))
        jumps.append(float(largest - others[-1]))
    return max(0.0, min(jumps))

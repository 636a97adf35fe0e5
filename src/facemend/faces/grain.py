"""The grain of the photo in a restored face, which has none of its own and would look like plastic without.

What is measured is the photo as the face is pasted into it: its noise at each frequency, in luma and chroma,
where it is quietest under the crop. What the pasted face has already is measured likewise, and the difference
is added as random noise of that spectrum, all over the face and in the mask's soft edge only as much as the
photo does not bring along.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.patch import bands_of, mask_onto, patch_under
from facemend.imaging import Pixels, from_float, to_float
from facemend.imaging.noise import Power, at_least, block_energies, noise_power
from facemend.types import FloatImage, Matrix23

SIDES = (8, 16, 32)
"""Of the blocks that it is measured on: the smallest that hold its clumps, as larger ones hold faces."""
TILE = 512
"""Side of the noise that is made, pixels; larger faces have it repeatedly."""
_ROOM = 128  # least side of the part that is looked at, pixels
_SAMPLES = 1000
_LOW = 2  # as of `noise_power`
_COARSE = 0.4  # share of the lowest four coefficients from which on clumps are large for a block
_WITHIN = 8  # blocks have to be so many times smaller than the face: smooth skin has room for them
_UNSEEN = 2 / 255  # sharp, clean portraits look as if they had noise of up to this deviation


def grain_under(
    pixels: Pixels, matrix: Matrix23, mask: NDArray[np.float32], *, gray: bool = False
) -> list[Power]:
    """The noise of a photo at and around a face, before that is pasted.

    Args:
        pixels: (H, W, 3) RGB, the photo.
        matrix: 2x3, photo pixels -> crop pixels.
        mask: (S, S) in [0, 1], where the face is to be pasted.
        gray: the channels are equal.

    Returns:
        For each plane (luma; also Cb and Cr where it is not gray) as of `imaging.noise`; all 0 where there
        is no noise that anybody sees, or no room to tell.
    """
    found = patch_under(matrix, mask, pixels)
    if found is None:
        return []
    rows, columns = found[0]
    face = min(rows.stop - rows.start, columns.stop - columns.start)
    part = pixels[_widened(rows, len(pixels)), _widened(columns, len(pixels[0]))]
    grain: list[Power] = []
    for side in SIDES:
        if grain and side * _WITHIN > face:
            break
        grain = [noise_power(plane, _LOW) for plane in block_energies(part, side, _SAMPLES, gray=gray)]
        if grain[0][:2, :2].sum() <= _COARSE * grain[0].sum():
            break
    return [at_least(power, _UNSEEN) for power in grain]


def add_grain(
    pixels: Pixels,
    matrix: Matrix23,
    mask: NDArray[np.float32],
    grain: list[Power],
    rng: np.random.Generator,
    *,
    gray: bool = False,
) -> None:
    """Give a pasted face the grain that it lacks, in place.

    Args:
        pixels: see `grain_under`; changed only where the mask is above 0.
        matrix: see `grain_under`.
        mask: see `grain_under`.
        grain: what the photo had, see `grain_under`.
        rng: random numbers.
        gray: see `grain_under`.
    """
    found = patch_under(matrix, mask, pixels)
    if found is None or not any(power.any() for power in grain):
        return
    where, onto = found
    weight = mask_onto(mask, onto, pixels[where].shape)
    own = block_energies(pixels[where], len(grain[0]), _SAMPLES, gray=gray, where=weight)
    lacking = [np.maximum(power - noise_power(e, _LOW), 0) for power, e in zip(grain, own, strict=True)]
    noise = _noise(lacking, rng)
    for band in bands_of(where):
        rows = slice(band[0].start - where[0].start, band[0].stop - where[0].start)
        _add(pixels[band], noise, weight[rows], rows.start)


def _add(part: Pixels, noise: FloatImage, weight: NDArray[np.float32], top: int) -> None:
    height, width = weight.shape
    there = noise.take(range(top, top + height), 0, mode="wrap").take(range(width), 1, mode="wrap")
    # The edge has 1 - weight of the photo's own noise left, and variances add up.
    there *= cv2.merge([np.sqrt(weight * (2 - weight))] * 3)
    there += to_float(part)
    part[...] = from_float(there, part.dtype)


def _widened(span: slice, length: int) -> slice:
    missing = max(0, _ROOM - (span.stop - span.start))
    return slice(max(0, span.start - missing), min(length, span.stop + missing))


def _noise(powers: list[Power], rng: np.random.Generator) -> FloatImage:
    """(TILE, TILE, 3) RGB noise around 0, which goes on at the opposite edge; gray of luma alone."""
    planes = [_plane(power, rng) for power in powers]
    if len(planes) == 1:
        return np.asarray(cv2.merge(planes * 3), np.float32)
    luma, cb, cr = planes
    return np.asarray(cv2.cvtColor(cv2.merge([luma, cr + 0.5, cb + 0.5]), cv2.COLOR_YCrCb2RGB), np.float32)


def _plane(power: Power, rng: np.random.Generator) -> NDArray[np.float32]:
    """(TILE, TILE) noise of that energy: coefficient u of S stands for u / 2S periods a pixel."""
    white = rng.standard_normal((TILE, TILE), np.float32)
    if not power.any():
        return np.zeros_like(white)
    scale, size = 2 * len(power) / TILE, TILE // 2 + 1
    amplitude = cv2.warpAffine(
        np.sqrt(power),
        np.array([[scale, 0, 0], [0, scale, 0]], np.float64),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    amplitude = np.concatenate([amplitude, amplitude[-2:0:-1]])
    noise = np.fft.irfft2(np.fft.rfft2(white) * amplitude)
    return np.asarray((noise - noise.mean()) * (np.sqrt(power.mean()) / noise.std()), np.float32)

"""Never give back less detail than the photo had: take the photo's own fine bands where they are real.

Both pictures are split into octave bands (differences of Gaussian blurs, sigma 1, 2, 4 pixels). In each band,
with E = mean of the photo's band^2 over the face, E' = the same for the restored face,

    quiet  = mean of the photo's band^2 where the restored face has least of its own (the lowest 40 %), over E
    noise2 = E * max(0, quiet - clean)               clean = what sharp, clean portraits have there
    sharp  = smoothstep(0.6 .. 1.0, sqrt((E - noise2) / E'))
    calm   = 1 - smoothstep(clean .. dirty, quiet)
    trust  = min(sharp * calm, trust of the coarser band)
    keep   = trust * max(0, e - noise2) / e,         e = local mean of the photo's band^2
    result = restored band + keep * (photo band - restored band)

Real detail sits where a face has edges, hair and lashes; noise, half-tone dots and hard JPEG are everywhere,
so they fill the quiet places. A blurred photo has little in the fine bands: its trust is 0 and the restored
face is taken as it is. A sharp, clean one keeps what it has. The last factor of `keep` is Wiener's gain:
edges stay, grain goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.patch import box_of
from facemend.imaging import gaussian_blur, luma, resize
from facemend.types import FloatImage

BANDS = 3
SHARP_FROM, SHARP_FULL = 0.6, 1.0
# Fine to coarse, measured on sharp training portraits (0.06, 0.08, 0.18) and on degraded ones.
CLEAN, DIRTY = (0.10, 0.12, 0.20), (0.25, 0.30, 0.40)
QUIET_SHARE = 0.4
_LOCAL = 4.0  # sigma of the local energy, in sigmas of the band
_EMPTY = 1e-10  # energy of nothing
_MIN_PIXELS = 64
_MARGIN = 8  # pixels beside the mask: bands have to know what lies behind its edge


def _bands(image: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """BANDS octave bands, coarse to fine; each is made when it is asked for."""
    coarse = gaussian_blur(image, 2.0 ** (BANDS - 1), fine=2.0)
    for k in reversed(range(BANDS)):
        fine = gaussian_blur(image, 2.0 ** (k - 1)) if k else image
        yield fine - coarse
        coarse = fine


def _smoothstep(x: float, low: float, high: float) -> float:
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


def _mean(plane: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    return float(cv2.mean(plane, where.view(np.uint8))[0])


def _halved(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = plane.shape
    return resize(plane, (-(-width // 2), -(-height // 2)))


def _gain(
    k: int, energy: NDArray[np.float32], own: NDArray[np.float32], inside: NDArray[np.bool_], trust: float
) -> tuple[NDArray[np.float32], float]:
    """How much of the photo's band k to keep, in [0, 1], and the trust in it; all on the halved grid.

    Args:
        k: 0 is the finest band.
        energy: (H, W), the photo's band^2.
        own: the same of the restored face.
        inside: where the two are compared.
        trust: in the coarser band.
    """
    total = _mean(energy, inside)
    smooth, step = gaussian_blur(own, 2.0**k), -(-(2**k) // 2)  # so smooth that one in so many says it
    limit = float(np.quantile(smooth[::step, ::step][inside[::step, ::step]], QUIET_SHARE))
    quiet = _mean(energy, inside & (smooth <= limit)) / max(total, _EMPTY)
    noise2 = total * max(0.0, quiet - CLEAN[k])
    ratio = math.sqrt(max(0.0, total - noise2) / max(_mean(own, inside), _EMPTY))
    calm = 1 - _smoothstep(quiet, CLEAN[k], DIRTY[k])
    trust = min(trust, _smoothstep(ratio, SHARP_FROM, SHARP_FULL) * calm)
    if trust == 0:
        return np.zeros_like(energy), trust
    local = gaussian_blur(energy, _LOCAL / 2 * 2.0**k)
    return np.asarray(trust * np.clip(1 - noise2 / np.maximum(local, _EMPTY), 0, 1), np.float32), trust


def keep_detail(
    photo: FloatImage, restored: FloatImage, mask: NDArray[np.float32]
) -> tuple[FloatImage, NDArray[np.float32]]:
    """The restored face with the photo's real detail put back. See the module's text for the formula.

    Only the box of the mask is looked at. What says how far to trust a place is broad and made on a grid of
    half the pixels.

    Args:
        photo: (H, W, 3) float32 RGB [0, 1].
        restored: (H, W, 3) float32 RGB [0, 1], lying on the photo.
        mask: (H, W) in [0, 1], where the face is; the two are compared where it is above one half.

    Returns:
        The picture, (H, W, 3), which may leave [0, 1] a little; and the gain of the finest band, (H, W): how
        far the photo can be trusted in detail finer than these pixels.
    """
    finest = np.zeros(mask.shape, np.float32)
    box = box_of(mask, _MARGIN)
    photo, face = photo[box], restored[box]
    inside = _halved(mask[box]) > 0.5
    if np.count_nonzero(inside) < _MIN_PIXELS / 4:
        return restored, finest
    result, trust = restored, 1.0
    # The bands of the difference serve colours and luma; the restored face's own have to be known too.
    bands = zip(reversed(range(BANDS)), _bands(photo - face), _bands(luma(face)), strict=True)
    for k, band, own in bands:
        theirs = luma(band) + own
        gain, trust = _gain(k, _halved(theirs * theirs), _halved(own * own), inside, trust)
        if trust == 0:
            break  # and the finer ones rest on this
        gain = resize(gain, (band.shape[1], band.shape[0]))
        band *= cv2.merge([gain] * 3)  # several times as fast as a plane for all channels
        result = restored.copy() if result is restored else result
        result[box] += band
        if k == 0:
            finest[box] = gain
    return result, finest

"""Put a restored crop back into the photo: colours matched, detail kept, nothing touched outside the mask."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.detail import keep_detail
from facemend.faces.patch import Patch, bands_of, crop_onto, mask_onto, patch_under
from facemend.faces.warp import Border, compose, invert, scale_of
from facemend.imaging import Pixels, from_float, gaussian_blur, luma, resize, take_chroma, to_float
from facemend.types import FloatImage, Matrix23

COLOUR_REACH = 0.08  # sigma of the colour correction, share of the crop's side
_FAR = 0.01  # ring weight below which the correction tends to its mean
_COLOUR_GRID = 64
_MAX_OFFSET = 0.25  # a larger difference is another thing, not another tint


def match_colour(photo: FloatImage, restored: FloatImage, mask: NDArray[np.float32]) -> FloatImage:
    """Shift the colours of a restored crop so that they meet the photo's in a ring round the mask.

    The ring is the mask's soft edge, 4 m (1 - m). The correction is the low-pass of the difference in the
    ring, spread over the crop (normalised convolution); far from the ring it tends to the ring's mean. What
    the restoration did inside the ring (a removed stain) stays.

    Args:
        photo: (S, S, 3) float32 RGB [0, 1], the aligned crop.
        restored: (S, S, 3) float32 RGB [0, 1].
        mask: (S, S) in [0, 1].

    Returns:
        (S, S, 3) float32; may leave [0, 1] a little.
    """
    return meet_colour(photo, restored, 4 * mask * (1 - mask))


def meet_colour(photo: FloatImage, restored: FloatImage, where: NDArray[np.float32]) -> FloatImage:
    """The same for places given by themselves: `where` is (S, S), the weight of each pixel, 0 or more."""
    if float(where.sum()) < 1.0:
        return restored
    side = len(where)
    # What is wanted is broad: coarse grids hold it, a finer one as long as single places may be left out.
    grid = min(side, 2 * _COLOUR_GRID)
    offset = resize(photo, (grid, grid)) - resize(restored, (grid, grid))
    np.clip(offset, -_MAX_OFFSET, _MAX_OFFSET, out=offset)
    grid = min(side, _COLOUR_GRID)
    offset = resize(offset, (grid, grid))
    ring = resize(where, (grid, grid))[..., None]
    sigma = COLOUR_REACH * grid
    offset *= ring
    mean = offset.sum((0, 1)) / ring.sum()
    correction = (gaussian_blur(offset, sigma) + _FAR * mean) / (gaussian_blur(ring, sigma)[..., None] + _FAR)
    result: FloatImage = cv2.resize(correction, (side, side), interpolation=cv2.INTER_LINEAR)
    result += restored
    return result


def _blend(canvas: FloatImage, where: Patch, new: FloatImage, mask: NDArray[np.float32]) -> None:
    old = canvas[where]
    change = np.clip(new, 0, 1)
    change -= old
    change *= cv2.merge([mask] * 3)  # several times as fast as a plane for all channels
    old += change  # where the mask is 0 this adds 0: those pixels stay bit-exact


def paste(canvas: FloatImage, crop: FloatImage, matrix: Matrix23, mask: NDArray[np.float32]) -> None:
    """Blend a crop into the canvas, in place, as it is. For a restored face see `blend_into_pixels`.

    Args:
        canvas: (H, W, 3) float32 RGB [0, 1]; changed only where the mask is above 0.
        crop: (S, S, 3) float32 RGB [0, 1].
        matrix: 2x3, canvas pixels -> crop pixels.
        mask: (S, S) float32 in [0, 1].
    """
    found = patch_under(matrix, mask, canvas)
    if found is None:
        return
    where, onto = found
    shape = canvas[where].shape
    _blend(canvas, where, crop_onto(crop, onto, shape), mask_onto(mask, onto, shape))


class _NewFace(NamedTuple):
    """All of a restored face that does not depend on the part of the photo that is worked on."""

    new: FloatImage
    mask: NDArray[np.float32]
    finest: NDArray[np.float32] | None  # trust in the photo's finest band; None: the crop is the finer grid
    border: Border = "zero"  # what the mask is beyond the crop


def _new_face(
    aligned: FloatImage, restored: FloatImage, matrix: Matrix23, mask: NDArray[np.float32]
) -> _NewFace:
    matched = match_colour(aligned, restored, mask)
    if scale_of(matrix) >= 1:
        return _NewFace(matched, mask, None)
    kept, finest = keep_detail(aligned, matched, mask)
    if (
        finest.any()
    ):  # the photo takes the place of its own crop: subtracted here, it costs no warp of its own
        kept -= cv2.merge([finest] * 3) * aligned
    return _NewFace(kept, mask, finest)


def _blend_new(canvas: FloatImage, face: _NewFace, matrix: Matrix23, strength: float) -> None:
    found = patch_under(matrix, face.mask, canvas)
    if found is None:
        return
    where, onto = found
    patch = canvas[where]
    mask_there = mask_onto(face.mask, onto, patch.shape, face.border)
    if face.finest is None:
        new, _ = keep_detail(patch, crop_onto(face.new, onto, patch.shape), mask_there)
    else:
        new = crop_onto(face.new, onto, patch.shape)
        if face.finest.any():
            new += cv2.merge([mask_onto(face.finest, onto, patch.shape, face.border)] * 3) * patch
    # Colours and detail were matched in the whole mask: only the change itself is scaled.
    _blend(canvas, where, new, mask_there * np.float32(strength))


def blend_into_pixels(
    pixels: Pixels,
    aligned: FloatImage,
    restored: FloatImage,
    matrix: Matrix23,
    mask: NDArray[np.float32],
    *,
    strength: float = 1.0,
    gray: bool = False,
    border: Border = "zero",
) -> None:
    """Put a restored face into a photo, in place: colours matched in a ring, the photo's real detail kept.

    Detail is compared on the coarser of the two grids. Where the photo is the finer one (the face is larger
    than the crop), what it holds beyond the crop's resolution, pixels - warp(aligned), is added back as far
    as the photo's finest band was trusted: a sharp large photo loses nothing. Only what lies under the crop
    becomes floats, by bands.

    Args:
        pixels: (H, W, 3) uint8 or uint16 RGB, the photo or its enlargement; changed only where the mask is
            above 0.
        aligned: (S, S, 3) float32 RGB [0, 1], the crop as it was before restoration.
        restored: (S, S, 3) float32 RGB [0, 1].
        matrix: 2x3, photo pixels -> crop pixels.
        mask: (S, S) float32 in [0, 1].
        strength: share of the change that is made, [0, 1]; with 0 the photo stays bit-exact.
        gray: keep the three channels equal.
        border: what the mask is beyond the crop: 0, or "replicate" where the photo is the crop itself.
    """
    found = patch_under(matrix, mask, pixels)
    if found is None:
        return
    where, _ = found
    face = _new_face(aligned, restored, matrix, mask)._replace(border=border)
    # On a photo coarser than the crop detail is looked at in all of the part, which is small.
    for band in [where] if face.finest is None else bands_of(where):
        part = pixels[band]
        canvas = to_float(part)
        shift = np.array([[1, 0, band[1].start], [0, 1, band[0].start]], np.float64)
        _blend_new(canvas, face, compose(matrix, shift), strength)
        if gray:
            canvas[...] = luma(canvas)[..., None]
        part[...] = from_float(canvas, pixels.dtype)


def paint_into_pixels(
    pixels: Pixels, coloured: FloatImage, matrix: Matrix23, mask: NDArray[np.float32]
) -> None:
    """Give the photo the chroma of a coloured crop, in place; its luma stays (to the rounding of the pixels).

    Args:
        pixels: (H, W, 3) uint8 or uint16 RGB; changed only where the mask is above 0.
        coloured: (S, S, 3) float32 RGB [0, 1].
        matrix: 2x3, photo pixels -> crop pixels.
        mask: (S, S) float32 in [0, 1].
    """
    found = patch_under(matrix, mask, pixels)
    if found is None:
        return
    where, _ = found
    back = invert(matrix)
    for band in bands_of(where):
        part = pixels[band]
        onto = compose(np.array([[1, 0, -band[1].start], [0, 1, -band[0].start]], np.float64), back)
        weight = mask_onto(mask, onto, part.shape)
        painted = take_chroma(to_float(part), crop_onto(coloured, onto, part.shape), weight)
        part[...] = from_float(painted, pixels.dtype)

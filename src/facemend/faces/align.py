"""From five landmarks to an aligned crop: the similarity transform and the warp."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facemend.errors import InputError
from facemend.faces.template import template_points
from facemend.faces.warp import warp
from facemend.imaging import AnyPixels
from facemend.types import AlignedFace, Face, Matrix23


def similarity(src: NDArray[np.floating], dst: NDArray[np.floating]) -> Matrix23:
    """The similarity transform (rotation, one scale, shift; no mirror) that maps `src` to `dst` best.

    Least squares in closed form. Written with complex numbers: a similarity of the plane is z -> a z + b, and
    a is the regression coefficient of the centred points.

    Args:
        src: (N, 2) points, N >= 2.
        dst: (N, 2) points.

    Returns:
        2x3 matrix src -> dst.

    Raises:
        InputError: the points are not finite, or fall onto one place.
    """
    p = np.asarray(src, np.float64) @ np.array([1, 1j])
    q = np.asarray(dst, np.float64) @ np.array([1, 1j])
    if not (np.isfinite(p).all() and np.isfinite(q).all()):
        raise InputError("face landmarks are not finite numbers; detect the face again")
    p0, q0 = p - p.mean(), q - q.mean()
    spread, common = float(np.sum(np.abs(p0) ** 2)), complex(p0.conj() @ q0)
    if spread < 1e-12 or abs(common) < 1e-12:
        raise InputError("face landmarks fall onto one place; detect the face again")
    a = common / spread
    b = q.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], np.float64)


def alignment(face: Face, size: int) -> Matrix23:
    """The similarity transform, photo pixels -> pixels of a crop of side `size`.

    Raises:
        InputError: the landmarks are unusable.
    """
    return similarity(face.landmarks, template_points(size))


def align(image: AnyPixels, face: Face, size: int) -> AlignedFace:
    """Cut a face out of a photo, turned and scaled to the template.

    What lies outside the photo is filled by reflection, as in the training crops. Larger faces are
    area-averaged down, so they do not alias.

    Args:
        image: the photo, (H, W, 3) float32 RGB [0, 1], uint8 or uint16.
        face: the face, in pixels of the photo.
        size: side of the crop, pixels.

    Raises:
        InputError: the landmarks are unusable.
    """
    matrix = alignment(face, size)
    crop = np.clip(warp(image, matrix, (size, size)), 0, 1)
    return AlignedFace(crop=crop, matrix=matrix, face=face)

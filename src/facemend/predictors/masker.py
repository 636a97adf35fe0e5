"""The soft mask of a restored crop, from the face mesh and the person mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facemend.faces.mask import Mask, ellipse_mask, head_mask
from facemend.faces.template import template_points
from facemend.imaging import resize
from facemend.predictors.mesh import FaceMesh, five_points
from facemend.predictors.person import PersonMask
from facemend.types import Box, Face, FloatImage

_MAX_MESH_ERROR = 0.08  # mean distance of the mesh's five points to the template, share of the crop's side
_MOST = 256  # pixels a side that soft masks are made at, and as many as the nets read


class FaceMasker:
    """Makes masks for aligned crops. May be used from several threads at once.

    Args:
        mesh: default: the shipped net.
        person: default: the shipped net.

    Raises:
        WeightsError: a shipped file is missing.
        BackendError: onnxruntime cannot load a file.
    """

    def __init__(self, mesh: FaceMesh | None = None, person: PersonMask | None = None) -> None:
        self._mesh, self._person = mesh or FaceMesh(), person or PersonMask()

    def mask(self, crop: FloatImage) -> Mask:
        """Where the crop may replace the photo: head with hair, else the face alone, else an ellipse.

        Give it the restored crop, not the photo's: the nets read a clean face better.

        Args:
            crop: (S, S, 3) float32 RGB [0, 1], aligned to the template.

        Returns:
            (S, S) float32 in [0, 1], 0 at the crop's border.
        """
        size = min(len(crop), _MOST)
        return resize(self._mask(resize(crop, (size, size))), (len(crop), len(crop)))

    def _mask(self, crop: FloatImage) -> Mask:
        size = len(crop)
        wanted = template_points(size)
        mesh = self._mesh.points(crop, _template_face(wanted, size))
        error = float(np.linalg.norm(five_points(mesh) - wanted, axis=1).mean()) / size
        if not np.isfinite(error) or error > _MAX_MESH_ERROR:
            return ellipse_mask(size)
        return head_mask(self._person.probability(crop), mesh)


def _template_face(points: NDArray[np.float64], size: int) -> Face:
    """A face where the template puts it: from the brows to the chin, cheek to cheek."""
    box = Box(0.24 * size, 0.28 * size, 0.76 * size, 0.9 * size)
    return Face(box, points.astype(np.float32), 1.0)

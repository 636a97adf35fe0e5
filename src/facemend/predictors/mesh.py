"""Dense face mesh: 468 points on a face."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.warp import invert, transform, warp
from facemend.runtime.onnx import OnnxRunner
from facemend.types import Face, FloatImage, Matrix23
from facemend.weights.catalog import asset_path

MESH_SIZE = 192
MESH_POINTS = 468
CROP_FACTOR = 1.5
_LEFT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
_RIGHT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
_NOSE, _LEFT_MOUTH, _RIGHT_MOUTH = 1, 61, 291


def five_points(mesh: NDArray[np.floating]) -> NDArray[np.float32]:
    """The five landmarks of a mesh: (468, 2) -> (5, 2), in the same pixels, ordered as `Landmarks5`."""
    eyes = [mesh[list(index)].mean(0) for index in (_LEFT_EYE, _RIGHT_EYE)]
    return np.stack([*eyes, mesh[_NOSE], mesh[_LEFT_MOUTH], mesh[_RIGHT_MOUTH]]).astype(np.float32)


class FaceMesh:
    """MediaPipe's face mesh, run by onnxruntime on one core. May be used from several threads at once.

    Args:
        path: the ONNX file; default: the one that ships with the package.

    Raises:
        WeightsError: the shipped file is missing.
        BackendError: onnxruntime cannot load the file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._net = OnnxRunner(path or asset_path("face_mesh"), threads=1)

    def points(self, image: FloatImage, face: Face) -> NDArray[np.float32]:
        """The mesh of a face.

        Two passes: the first on the detector's box, the second on the box of the first pass's points.

        Args:
            image: (H, W, 3) float32 RGB [0, 1].
            face: where it is, pixels of `image`.

        Returns:
            (468, 2) float32, pixels of `image`.
        """
        box = np.array([(face.box.x1, face.box.y1), (face.box.x2, face.box.y2)], np.float64)
        first = self._pass(image, box, face.landmarks)
        return self._pass(image, np.stack([first.min(0), first.max(0)]), five_points(first)).astype(
            np.float32
        )

    def _pass(
        self, image: FloatImage, box: NDArray[np.float64], landmarks: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        matrix = _crop_matrix(box, landmarks)
        size = (MESH_SIZE, MESH_SIZE)
        crop = np.clip(warp(image, matrix, size, border="replicate", interpolation="linear"), 0, 1)
        blob = np.ascontiguousarray(crop.transpose(2, 0, 1)[None])
        values = self._net.run({"image": blob})["values"].reshape(MESH_POINTS, 3)
        return transform(invert(matrix), values[:, :2].astype(np.float64) - 0.5)


def _crop_matrix(box: NDArray[np.float64], landmarks: NDArray[np.floating]) -> Matrix23:
    """Picture pixels -> mesh input pixels: round the box (2 corners), with room, the eyes level."""
    eyes = np.asarray(landmarks[1] - landmarks[0], np.float64)
    angle = float(np.arctan2(eyes[1], eyes[0]))
    side = max(float((box[1] - box[0]).max()), 1.0) * CROP_FACTOR
    centre = tuple(float(v) for v in box.mean(0))
    matrix = np.asarray(
        cv2.getRotationMatrix2D(centre, float(np.degrees(angle)), MESH_SIZE / side), np.float64
    )
    matrix[:, 2] += (MESH_SIZE - 1) / 2 - np.array(centre)
    return matrix

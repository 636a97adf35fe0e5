"""Which pixels belong to a person."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.runtime.onnx import OnnxRunner
from facemend.types import FloatImage
from facemend.weights.catalog import asset_path

SEGMENTER_SIZE = 256


class PersonMask:
    """MediaPipe's selfie segmenter, run by onnxruntime on one core. May be used from several threads at once.

    Args:
        path: the ONNX file; default: the one that ships with the package.

    Raises:
        WeightsError: the shipped file is missing.
        BackendError: onnxruntime cannot load the file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._net = OnnxRunner(path or asset_path("selfie_segmenter"), threads=1)

    def probability(self, image: FloatImage) -> NDArray[np.float32]:
        """Probability that a pixel belongs to a person.

        Args:
            image: (H, W, 3) float32 RGB [0, 1]; best a head and its surroundings.

        Returns:
            (H, W) float32 in [0, 1].
        """
        height, width = image.shape[:2]
        size = (SEGMENTER_SIZE, SEGMENTER_SIZE)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        blob = np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32)
        probability = self._net.run({"image": blob})["values"].reshape(size)
        full = cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.clip(full, 0, 1), np.float32)

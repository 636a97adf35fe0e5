"""Which pixels belong to a person."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.predictors.tflite import TfliteNet
from facemend.types import FloatImage
from facemend.weights.catalog import asset_path

SEGMENTER_SIZE = 256
_OUTPUT = "activation_10"


class PersonMask:
    """MediaPipe's selfie segmenter, run by OpenCV. May be used from several threads; they take turns.

    Args:
        path: the tflite file; default: the one that ships with the package.

    Raises:
        WeightsError: the shipped file is missing.
        BackendError: OpenCV cannot read the file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._net = TfliteNet(path or asset_path("selfie_segmenter"), _OUTPUT)

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
        probability = self._net.run(np.asarray(small, np.float32)).reshape(size)
        full = cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.clip(full, 0, 1), np.float32)

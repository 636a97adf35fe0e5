"""A tflite graph with one picture in and one array out, run by OpenCV."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.errors import BackendError


class TfliteNet:
    """A cv2.dnn net behind a lock, because cv2.dnn nets keep state between input and output.

    Args:
        path: the tflite file.
        output: name of the output layer.

    Raises:
        BackendError: OpenCV cannot read the file.
    """

    def __init__(self, path: Path, output: str) -> None:
        self._path, self._output = path, output
        self._lock = threading.Lock()
        try:
            self._net = cv2.dnn.readNetFromTFLite(str(path))
        except cv2.error as error:
            raise BackendError(f"{path}: OpenCV cannot read this tflite file") from error

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run on one picture, (H, W, 3) float32 in the net's own range.

        Raises:
            BackendError: the run failed.
        """
        blob = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        with self._lock:
            try:
                self._net.setInput(blob)
                # The result is a view of the net's memory: copy it before the next run.
                return np.array(self._net.forward(self._output), np.float32)
            except cv2.error as error:
                raise BackendError(f"{self._path}: the run failed in OpenCV") from error

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facemend.predictors.detector import FaceDetector
from facemend.weights.catalog import assets_folder


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """(512, 512, 3) float32 RGB [0, 1]: one frontal face, public domain."""
    path = assets_folder() / "demo/portrait.jpg"
    return np.asarray(Image.open(path), np.float32) / 255


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return FaceDetector(threads=1)

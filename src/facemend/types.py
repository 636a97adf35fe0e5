"""Plain data that flows between the rooms: frozen dataclasses and array aliases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
"""Picture as (H, W, 3) float32, RGB, [0, 1]."""

Matrix23 = NDArray[np.float64]
"""2x3 affine matrix; maps column vectors (x, y, 1) to (x', y')."""

Landmarks5 = NDArray[np.float32]
"""(5, 2) float32 pixel positions: left eye, right eye, nose tip, left mouth corner, right mouth corner.

Left and right as seen in the picture. The centre of the top left pixel is (0, 0).
"""


@dataclass(frozen=True)
class Box:
    """Axis-aligned box in pixels: x1, y1 inclusive corner; x2, y2 opposite corner; floats."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.y2 - self.y1


@dataclass(frozen=True)
class Face:
    """A detected face.

    Attributes:
        box: where it is in the photo, pixels.
        landmarks: (5, 2) float32, see `Landmarks5`.
        score: detector confidence in [0, 1].
    """

    box: Box
    landmarks: Landmarks5
    score: float


@dataclass(frozen=True)
class AlignedFace:
    """A face warped to a template.

    Attributes:
        crop: (S, S, 3) float32 RGB [0, 1].
        matrix: 2x3 similarity transform, photo pixels -> crop pixels.
        face: the detection that it came from.
    """

    crop: FloatImage
    matrix: Matrix23
    face: Face


@dataclass(frozen=True)
class Diagnosis:
    """What a model says of a face before it restores it; see `networks.codeformer.diagnosis`.

    Distances are expected values: LPIPS-Alex, and of identity as `facemend evaluate` measures them.

    Attributes:
        resolution: pixels a side that would hold its real detail.
        blur: standard deviation of the blur, pixels of the crop.
        noise: standard deviation of the luma noise, 0..255 scale.
        jpeg: JPEG quality, 1..100.
        lpips: from the truth to the result, for each w of `WS`.
        lpips_photo: from the truth to the photo as it is.
        identity: from the truth to the result, for each w of `WS`.
        identity_photo: from the truth to the photo as it is.
        change: identity from the photo to the result, for each w of `WS`.
    """

    resolution: float
    blur: float
    noise: float
    jpeg: float
    lpips: tuple[float, ...]
    lpips_photo: float
    identity: tuple[float, ...]
    identity_photo: float
    change: tuple[float, ...]

    WS: ClassVar = (0.0, 0.25, 0.5, 0.75, 1.0)
    COUNT: ClassVar = 6 + 3 * len(WS)

    @classmethod
    def from_row(cls, row: NDArray[np.float32]) -> Diagnosis:
        """Read (`COUNT`,): the attributes in their order."""
        resolution, blur, noise, jpeg, *rest = (float(value) for value in row)
        n = len(cls.WS)
        lpips, identity, change = rest[: n + 1], rest[n + 1 : 2 * n + 2], rest[2 * n + 2 :]
        return cls(
            resolution=resolution,
            blur=blur,
            noise=noise,
            jpeg=jpeg,
            lpips=tuple(lpips[:n]),
            lpips_photo=lpips[n],
            identity=tuple(identity[:n]),
            identity_photo=identity[n],
            change=tuple(change),
        )

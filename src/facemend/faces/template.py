"""The five-point template of FFHQ that faces are aligned to, normalised to [0, 1] of the crop's side.

A normalised position u lies at pixel u * size - 0.5: 0 and 1 are the outer edges of the crop, so crops of
every size show exactly the same frame, and resizing a crop equals aligning at the other size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Published pixel positions at 512 px.
_FFHQ_512 = (
    (192.98138, 239.94708),
    (318.90277, 240.1936),
    (256.63416, 314.01935),
    (201.26117, 371.41043),
    (313.08905, 371.15118),
)

TEMPLATE: NDArray[np.float64] = (np.array(_FFHQ_512) + 0.5) / 512
"""(5, 2): left eye, right eye, nose tip, left and right mouth corner, as seen in the picture."""


def template_points(size: int | tuple[int, int]) -> NDArray[np.float64]:
    """The five points in pixels of a crop, as (5, 2) float64.

    Args:
        size: side of the crop, or (width, height) of a squeezed one.
    """
    return TEMPLATE * np.asarray(size, np.float64) - 0.5

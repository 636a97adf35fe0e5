"""Five-point templates that faces are aligned to, normalised to [0, 1] of the crop's side.

A normalised position u lies at pixel u * size - 0.5: 0 and 1 are the outer edges of the crop, so crops of
every size show exactly the same frame, and resizing a crop equals aligning at the other size.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from facemend.errors import ConfigError

# Published pixel positions at 512 px.
_FFHQ_512 = (
    (192.98138, 239.94708),
    (318.90277, 240.1936),
    (256.63416, 314.01935),
    (201.26117, 371.41043),
    (313.08905, 371.15118),
)

TEMPLATES: MappingProxyType[str, NDArray[np.float64]] = MappingProxyType(
    {"ffhq": (np.array(_FFHQ_512) + 0.5) / 512}
)
"""Name -> (5, 2): left eye, right eye, nose tip, left and right mouth corner, as seen in the picture."""


def template_points(name: str, size: int | tuple[int, int]) -> NDArray[np.float64]:
    """The five points of a template in pixels of a crop, as (5, 2) float64.

    Args:
        name: a key of `TEMPLATES`.
        size: side of the crop, or (width, height) of a squeezed one.

    Raises:
        ConfigError: there is no such template.
    """
    try:
        return TEMPLATES[name] * np.asarray(size, np.float64) - 0.5
    except KeyError:
        raise ConfigError(f"no alignment template {name!r}; there are: {', '.join(TEMPLATES)}") from None

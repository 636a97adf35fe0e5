"""facemend: blind face restoration. Light to import; everything heavy loads when first used.

Example::

    import facemend

    facemend.restore("old.jpg", out="new.jpg", w=0.5)

    restorer = facemend.Restorer(w=0.7, upscale=1)  # loads the networks once
    result = restorer.restore("old.jpg")  # the picture, its faces, what was skipped and why
    restorer.redo(result, w=1.0).save("closer.jpg")  # another w costs little
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facemend import errors
    from facemend.convert.import_file import import_weights
    from facemend.degradations import degrade
    from facemend.errors import FacemendError
    from facemend.imaging import Picture
    from facemend.photo.api import colorize, inpaint, restore
    from facemend.photo.colorize import Colorizer
    from facemend.photo.inpaint import Inpainter
    from facemend.photo.options import RestoreOptions
    from facemend.photo.restore import Restorer, RestoreResult
    from facemend.types import Face
    from facemend.weights.models import models as list_models

    __version__: str

__all__ = [
    "Colorizer",
    "Face",
    "FacemendError",
    "Inpainter",
    "Picture",
    "RestoreOptions",
    "RestoreResult",
    "Restorer",
    "__version__",
    "colorize",
    "degrade",
    "errors",
    "import_weights",
    "inpaint",
    "list_models",
    "restore",
]

# Public name -> module and name there. `list_models` is not `models`: that is the room of the networks, and
# importing it would replace the function.
_HOMES = {
    "Colorizer": ("facemend.photo.colorize", "Colorizer"),
    "Face": ("facemend.types", "Face"),
    "FacemendError": ("facemend.errors", "FacemendError"),
    "Inpainter": ("facemend.photo.inpaint", "Inpainter"),
    "Picture": ("facemend.imaging", "Picture"),
    "RestoreOptions": ("facemend.photo.options", "RestoreOptions"),
    "RestoreResult": ("facemend.photo.restore", "RestoreResult"),
    "Restorer": ("facemend.photo.restore", "Restorer"),
    "colorize": ("facemend.photo.api", "colorize"),
    "degrade": ("facemend.degradations", "degrade"),
    "import_weights": ("facemend.convert.import_file", "import_weights"),
    "inpaint": ("facemend.photo.api", "inpaint"),
    "list_models": ("facemend.weights.models", "models"),
    "restore": ("facemend.photo.api", "restore"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("facemend")
    if name == "errors":
        return import_module("facemend.errors")
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

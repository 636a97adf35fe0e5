"""The public surface is a list under test."""

import importlib
import pkgutil
from pathlib import Path
from typing import get_args

import pytest

import facemend

PUBLIC = {
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
}


def test_public_names_are_exactly_these_and_each_is_there():
    assert set(facemend.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(facemend, name) is not None
    assert set(dir(facemend)) >= PUBLIC


def test_no_public_name_is_replaced_by_importing_a_room():
    for room in pkgutil.iter_modules(facemend.__path__):
        importlib.import_module(f"facemend.{room.name}")
    assert callable(facemend.restore)
    assert callable(facemend.degrade)
    assert callable(facemend.list_models)
    assert issubclass(facemend.Restorer, object)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="enhance"):
        facemend.enhance  # noqa: B018


def test_changelog_has_the_version():
    changelog = Path(__file__).parents[2] / "CHANGELOG.md"
    assert f"## [{facemend.__version__}]" in changelog.read_text(encoding="utf-8")


def test_options_and_selection_name_the_same_choices():
    from facemend.faces.select import Selection
    from facemend.photo.options import FaceChoice

    assert get_args(FaceChoice) == get_args(Selection)

"""The page that a report is: one HTML file that needs nothing but itself.

Templates extend `page.html.j2` and may import `macros.html.j2`. Autoescape is on; style and script lie inline
and are allowed by their hashes in a content security policy that forbids everything else: nothing is loaded.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined


def render(package: str, *, title: str, script: str = "", **values: Any) -> str:
    """The page as text.

    Args:
        package: holds the template `report.html.j2`, and the script.
        title: of the page.
        script: name of the script's file; "" for none.
        values: what the template names; escaped unless the template calls them safe.
    """

    def load(name: str) -> str:
        return _text(package if name == "report.html.j2" else "facemend.charts", name)

    environment = Environment(
        loader=FunctionLoader(load),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    inline = {
        "style": _text("facemend.charts", "page.css"),
        "script": _text(package, script) if script else "",
    }
    hashes = {f"{name}_hash": _csp_hash(text) for name, text in inline.items()}
    return environment.get_template("report.html.j2").render(title=title, **inline, **hashes, **values)


def data_address(jpeg: bytes) -> str:
    """A JPEG file as the address of an image."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _csp_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")

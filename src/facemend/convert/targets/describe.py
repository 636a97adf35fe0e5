"""What all targets write alike: model.json, by which a folder is known, and a README."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facemend.convert.model_folder import file_row
from facemend.weights.models import DESCRIPTION_FILE, ModelInfo

README = "README.md"


def about(info: ModelInfo, template: str, **more: object) -> str:
    """The README of a target: its template with the model's `name`, `size`, `w`, `licence` and `description`.

    Args:
        info: the model.
        template: text for people, as `str.format` takes it.
        more: further places of it.
    """
    return template.format(
        name=info.name,
        size=info.image_size,
        w=info.default_w,
        licence=info.licence,
        description=info.description,
        **more,
    )


def describe(info: ModelInfo, folder: Path, files: Mapping[str, str], readme: str, **more: Any) -> None:
    """Write model.json and the README beside files that are there already.

    Args:
        info: the model that they were made of.
        folder: where they are.
        files: what model.json calls each -> its name in the folder.
        readme: text for people.
        more: further entries of model.json, or others in place of the model's.
    """
    said = {
        "name": info.name,
        "description": info.description,
        "licence": info.licence,
        "image_size": info.image_size,
        "template": "ffhq",
        "default_w": info.default_w,
        "task": info.task,
        "w": info.w,
        "files": {key: file_row(folder / name) for key, name in files.items()},
        "made_from": {"name": info.name, "sha256": dict(info.sha256)},
        **more,
    }
    (folder / DESCRIPTION_FILE).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    (folder / README).write_text(readme, encoding="utf-8")

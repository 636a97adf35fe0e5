"""A folder with the files that the documentation speaks of."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemend.imaging import Picture, read_picture, write_picture
from facemend.weights.catalog import assets_folder


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    write_picture(path, Picture(np.ascontiguousarray(pixels)))


@pytest.fixture(scope="session")
def _yard(tmp_path_factory):
    """Small, so that all that is told to be run can be: the portrait that ships, and what is made of it."""
    yard = tmp_path_factory.mktemp("yard")
    portrait = cv2.resize(read_picture(assets_folder() / "demo/portrait.jpg").pixels, (256, 320))
    face = cv2.resize(read_picture(assets_folder() / "demo/portrait.jpg").pixels[60:460, 60:460], (96, 96))
    for name in ("old.jpg", "album/a.jpg", "photos/a.jpg", "PHOTOS/a.jpg", "MORE_PHOTOS/b.jpg"):
        _write(yard / name, portrait)
    _write(yard / "family.jpg", np.hstack([portrait, portrait[:, ::-1]]))
    _write(yard / "gray.jpg", portrait.mean(2, keepdims=True).astype(np.uint8).repeat(3, 2))
    scratches = np.zeros_like(portrait)
    scratches[150:160, 60:200] = 255
    _write(yard / "scratches.png", scratches)
    for name in ("face.png", "crops/a.png", "FACE.png"):
        _write(yard / name, face)
    (yard / "FACE.png").rename(yard / "FACE")
    for number in range(20):
        turned = np.clip(face.astype(float) * (0.6 + 0.03 * number), 0, 255).astype(np.uint8)
        _write(yard / f"TRAINING/{number}.png", turned)
    return yard


@pytest.fixture
def yard(_yard, tmp_path, monkeypatch):
    """The working directory: a copy of its own for each test, with a cache of its own."""
    copy = tmp_path / "yard"
    shutil.copytree(_yard, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))
    return copy

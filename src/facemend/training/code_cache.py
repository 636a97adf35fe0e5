"""Target codes of stage II computed once: for every face and its mirror image, as int16.

A file of codes goes with the weights and the pictures that made it, and says so; it is filled a batch at a
time, so a stopped run goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from facemend.data.augment import View, render
from facemend.data.faces import FaceSet, to_signed
from facemend.errors import ConfigError
from facemend.training.engine import Engine
from facemend.training.frozen_stage1 import FrozenStage1

BATCH = 16
# Faces whose stored codes are computed again before they are trusted, and the share that must be equal: the
# last bits of a sum differ between machines and can move a code that lies between two.
CHECKED, EQUAL = 16, 0.98


class CodeCache:
    """(faces, 2, tokens) codes in `folder`/codes.npy; [:, 1] are those of the mirror images.

    Args:
        folder: of the run.
        faces: training faces, in the order of the stream's face numbers.
        size: side of the network's picture, pixels.
        stage1: stage I.
        engine: the first process computes, all read.

    Raises:
        ConfigError: the file's codes are not what the stage1 says now.
    """

    def __init__(self, folder: Path, faces: FaceSet, size: int, stage1: FrozenStage1, engine: Engine) -> None:
        self._teacher = stage1
        path = folder / "codes.npy"
        if engine.main:
            _fill(path, faces, size, stage1, engine)
        engine.wait()
        self.codes: NDArray[np.int16] = np.load(path, mmap_mode="r")
        self._check(path, faces, size, engine)

    def targets(self, face: Tensor, mirrored: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """As `FrozenStage1.targets`, for face numbers and mirror flags, (B,) int64 each."""
        stored = self.codes[face.cpu().numpy(), mirrored.cpu().numpy()]
        codes = torch.from_numpy(stored.astype(np.int64)).to(face.device)
        return codes, self._teacher.vectors(codes)

    def _check(self, path: Path, faces: FaceSet, size: int, engine: Engine) -> None:
        numbers = np.linspace(0, len(faces) - 1, min(CHECKED, len(faces))).astype(int)
        for number in numbers:
            fresh = _codes(faces, [int(number)], size, self._teacher, engine)[0]
            if (fresh == self.codes[number]).mean() < EQUAL:
                raise ConfigError(
                    f"{path}: the codes of {faces.names[number]} are not those of this stage I; "
                    "delete the file"
                )


def _fill(path: Path, faces: FaceSet, size: int, stage1: FrozenStage1, engine: Engine) -> None:
    """Compute what is missing."""
    label = path.with_suffix(".json")
    made_of = {"faces": faces.digest, "stage1": stage1.sha256, "size": size}
    shape = (len(faces), 2, stage1.tokens)
    if not (path.exists() and label.exists() and json.loads(label.read_text()) == made_of):
        path.unlink(missing_ok=True)
        stored = open_memmap(path, "w+", np.int16, shape)
        stored[:] = -1
        stored.flush()
        label.write_text(json.dumps(made_of))
    stored = open_memmap(path, "r+")
    for numbers in _missing(stored):
        stored[numbers] = _codes(faces, numbers, size, stage1, engine)
        stored.flush()


def _missing(stored: NDArray[np.int16]) -> Iterator[list[int]]:
    todo = np.flatnonzero((stored < 0).any((1, 2))).tolist()
    for start in range(0, len(todo), BATCH):
        yield todo[start : start + BATCH]


def _codes(
    faces: FaceSet, numbers: list[int], size: int, stage1: FrozenStage1, engine: Engine
) -> NDArray[np.int16]:
    """(faces, 2, tokens) codes of whole pictures and their mirror images."""
    shown = []
    for number in numbers:
        picture = faces.picture(number)
        middle = picture.shape[0] / 2
        views = (View(1.0, 0.0, (middle, middle), mirror, 1.0, 0.0) for mirror in (False, True))
        shown += [render(picture, view, size) for view in views]
    images = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2)
    codes, _ = stage1.targets(to_signed(images).to(engine.device))
    return codes.cpu().numpy().astype(np.int16).reshape(len(numbers), 2, -1)

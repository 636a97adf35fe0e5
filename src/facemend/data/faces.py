"""Training pictures: aligned HQ faces in folders, and the LQ faces made from them.

A sample is a pure function of (seed, index): which picture, which view, which degradation. A run that resumes
at index n sees what it would have seen without the stop, whatever the number of workers.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemend.data.augment import Augmentation, augment
from facemend.degradations import Mixture, Recipe, apply
from facemend.errors import ConfigError, InputError
from facemend.imaging import SUFFIXES, Picture, from_float, read_picture

# Batches kept ready.
AHEAD = 4


@dataclass(frozen=True)
class FaceSet:
    """HQ faces in memory.

    Attributes:
        names: file names, for messages and manifests.
        pictures: (S, S, 3) uint8 RGB each; S may differ.
        weights: sampling weight of each picture.
    """

    names: tuple[str, ...]
    pictures: tuple[NDArray[np.uint8], ...]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """Hash of names and pixels: two runs with the same digest saw the same pictures."""
        digest = hashlib.sha256()
        for name, picture in zip(self.names, self.pictures, strict=True):
            digest.update(name.encode())
            digest.update(picture.tobytes())
        return digest.hexdigest()[:16]


def read_faces(folders: Sequence[tuple[Path, float]], size: int, limit: int | None = None) -> FaceSet:
    """Read every picture of the folders, (folder, sampling weight of each of its pictures).

    Raises:
        InputError: a folder is missing or empty, or a picture is not square or too small for the network.
    """
    names: list[str] = []
    pictures: list[NDArray[np.uint8]] = []
    weights: list[float] = []
    for folder, weight in folders:
        files = sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
        if not files:
            raise InputError(f"{folder}: no such folder, or no pictures in it")
        for file in files[:limit]:
            pixels = _eight_bits(read_picture(file))
            height, width = pixels.shape[:2]
            if height != width or height * 2 < size:
                raise InputError(
                    f"{file}: training faces must be square and aligned, at least {size // 2} px; "
                    f"this one is {width} x {height}"
                )
            if height < size:
                pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_CUBIC)
            names.append(f"{folder.name}/{file.name}")
            pictures.append(pixels)
            weights.append(weight)
    return FaceSet(tuple(names), tuple(pictures), np.array(weights))


def _eight_bits(picture: Picture) -> NDArray[np.uint8]:
    if picture.pixels.dtype == np.uint8:
        return picture.pixels.astype(np.uint8, copy=False)
    return from_float(picture.as_float()).astype(np.uint8, copy=False)


def split(faces: FaceSet, holdout: int) -> tuple[FaceSet, FaceSet]:
    """Training part and a fixed held-out part, chosen by the hash of the file name.

    The choice does not move when other pictures are added, so figures of different runs compare.
    """
    order = sorted(range(len(faces)), key=lambda i: hashlib.sha256(faces.names[i].encode()).digest())
    if holdout >= len(faces):
        raise ConfigError(f"data.holdout = {holdout} leaves no training faces: there are {len(faces)}")
    parts = (sorted(order[holdout:]), order[:holdout])
    train, held = (
        FaceSet(tuple(faces.names[i] for i in p), tuple(faces.pictures[i] for i in p), faces.weights[list(p)])
        for p in parts
    )
    return train, held


class FaceStream:
    """Endless samples: item i is a function of (seed, i). HQ views, and LQ ones where there is a recipe."""

    def __init__(
        self,
        faces: FaceSet,
        size: int,
        augmentation: Augmentation,
        recipe: Recipe | Mixture | None,
        seed: int,
    ) -> None:
        self.faces = faces
        self.size = size
        self.augmentation = augmentation
        self.recipe = recipe
        self.seed = seed
        self._edges = np.cumsum(faces.weights) / faces.weights.sum()

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """HQ (and LQ) as (3, size, size) uint8; "face" and "mirrored" say which face it is, as int64."""
        rng = np.random.default_rng((self.seed, index))
        which = min(int(np.searchsorted(self._edges, rng.random(), side="right")), len(self.faces) - 1)
        hq, mirrored = augment(self.faces.pictures[which], self.augmentation, self.size, rng)
        sample = {
            "hq": _channels_first(hq),
            "face": torch.tensor(which),
            "mirrored": torch.tensor(int(mirrored)),
        }
        if self.recipe is not None:
            sample["lq"] = _channels_first(apply(hq, self.recipe.draw(rng, self.size)))
        return sample


def _channels_first(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def fixed_batch(faces: FaceSet, size: int, recipe: Recipe | Mixture | None, seed: int) -> dict[str, Tensor]:
    """Every face once, without augmentation, with a fixed degradation each: for validation."""
    plain = Augmentation(flip=0.0)
    samples = [
        FaceStream(FaceSet((name,), (picture,), np.ones(1)), size, plain, recipe, seed)[i]
        for i, (name, picture) in enumerate(zip(faces.names, faces.pictures, strict=True))
    ]
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


def batches(
    stream: FaceStream, batch: int, start: int, steps: int, workers: int, stride: int | None = None
) -> Iterator[dict[str, Tensor]]:
    """`steps` batches of samples start, start + 1, ...; uint8 tensors (B, 3, size, size).

    The next batch begins `stride` samples later (default: where the last one ended): of several processes
    each takes its part of every stretch. Batches are made ahead by threads: OpenCV and numpy let go of the
    interpreter while they work, and the pictures in memory need not be copied to other processes.
    """

    def make(first: int) -> dict[str, Tensor]:
        samples = [stream[index] for index in range(first, first + batch)]
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    with ThreadPoolExecutor(max(1, workers)) as pool:
        ahead: deque[Future[dict[str, Tensor]]] = deque()
        try:
            for step in range(steps):
                ahead.append(pool.submit(make, start + step * (stride or batch)))
                if len(ahead) > AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def to_signed(images: Tensor) -> Tensor:
    """uint8 (B, 3, S, S) -> float32 in [-1, 1]: the one place where training meets the network's range."""
    return images.float().div_(127.5).sub_(1)


def to_unit(images: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], clamped: the inverse of `to_signed` up to scale, for metrics and previews."""
    return images.float().add(1).div(2).clamp(0, 1)

"""Training pictures: aligned HQ faces in folders, and the LQ faces made from them.

Faces stay in their files and are read when they are needed. A sample is a pure function of (seed, index):
which picture, which view, which degradation. A run that resumes at index n sees what it would have seen
without the stop, whatever the number of workers.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemend.data.augment import Augmentation, augment
from facemend.data.face_cache import CACHE_MB, FaceCache
from facemend.degradations import Mixture, Recipe, apply
from facemend.errors import ConfigError, InputError
from facemend.files import faces_in, is_of_system
from facemend.imaging import SUFFIXES, read_size

logger = logging.getLogger(__name__)

# Batches kept ready.
AHEAD = 4
# Names whose hash lies below this, one in 16, are kept for measuring.
RESERVED = bytes([256 // 16])
# Smallest side of a picture as a share of the network's: 192 px for 512.
SMALLEST = 3 / 8


class Folder(NamedTuple):
    """A folder of faces, the sampling weight of each, and a folder whose file names are left out."""

    path: Path
    weight: float = 1.0
    without: Path | None = None


@dataclass(frozen=True)
class FaceSet:
    """HQ faces in files.

    Attributes:
        names: "folder/file", for messages and manifests.
        files: where they are.
        sides: (N,) stored side of each, pixels.
        weights: (N,) sampling weight of each.
        size: side of the network's picture, pixels. Smaller faces are coarse: enlarged when read.
        cache: what reads and keeps pictures; parts of a set share it.
    """

    names: tuple[str, ...]
    files: tuple[Path, ...]
    sides: NDArray[np.int64]
    weights: NDArray[np.float64]
    size: int
    cache: FaceCache

    def __len__(self) -> int:
        return len(self.names)

    @property
    def fine(self) -> NDArray[np.bool_]:
        """(N,) whether each face is stored with at least the network's side."""
        return self.sides >= self.size

    def picture(self, number: int) -> NDArray[np.uint8]:
        """(S, S, 3) uint8 RGB of one face, S at least `size`; read-only.

        Raises:
            InputError: the file is gone, damaged, or has another size than at the start.
        """
        file, side = self.files[number], int(self.sides[number])
        pixels = self.cache[file]
        height, width = pixels.shape[:2]
        if (height, width) != (side, side):
            raise InputError(
                f"{file}: was {side} px wide and high when the run started and is now {width} x {height}; "
                "put the picture back, or start a new run"
            )
        if side >= self.size:
            return pixels
        return np.asarray(cv2.resize(pixels, (self.size, self.size), interpolation=cv2.INTER_CUBIC), np.uint8)

    def part(self, numbers: Sequence[int]) -> FaceSet:
        """Some of the faces, in the given order."""
        return replace(
            self,
            names=tuple(self.names[i] for i in numbers),
            files=tuple(self.files[i] for i in numbers),
            sides=self.sides[list(numbers)],
            weights=self.weights[list(numbers)],
        )

    @cached_property
    def digest(self) -> str:
        """Hash of names and files: two runs with the same digest saw the same pictures.

        Every file is read for it, once for a set.

        Raises:
            InputError: a file cannot be read.
        """
        digest = hashlib.sha256()
        for name, file in zip(self.names, self.files, strict=True):
            digest.update(name.encode())
            try:
                with file.open("rb") as content:
                    digest.update(hashlib.file_digest(content, "sha256").digest())
            except OSError as error:
                raise InputError(f"{file}: cannot be read ({error.strerror})") from None
        return digest.hexdigest()[:16]


def read_faces(
    folders: Sequence[Folder], size: int, limit: int | None = None, cache_mb: int = CACHE_MB
) -> FaceSet:
    """The pictures of folders; only their headers are looked at.

    Args:
        folders: where the faces are.
        size: side of the network's picture, pixels.
        limit: of each folder only the first so many pictures.
        cache_mb: memory for decoded pictures, 2^20 bytes each.

    Raises:
        InputError: a folder is missing or empty, or a picture is not square or too small for the network.
    """
    files: list[Path] = []
    names: list[str] = []
    weights: list[float] = []
    for folder, weight, without in folders:
        found = pictures_in(folder, without)[:limit]
        files += found
        names += [f"{folder.name}/{file.name}" for file in found]
        weights += [weight] * len(found)
    sides = np.array([_side(file, size) for file in files])
    return FaceSet(tuple(names), tuple(files), sides, np.array(weights), size, FaceCache(cache_mb << 20))


def pictures_in(folder: Path, without: Path | None = None) -> list[Path]:
    """The pictures of a folder, sorted; nothing below it, but for what `facemend data prepare` made.

    Args:
        folder: where they are.
        without: a folder whose file names are left out.

    Raises:
        InputError: no such folder, or no pictures in it.
    """
    found = faces_in(folder).glob("*") if folder.is_dir() else ()
    files = sorted(p for p in found if p.suffix.lower() in SUFFIXES and not is_of_system(p.name))
    if not files:
        raise InputError(f"{folder}: no such folder, or no pictures in it")
    if without is not None:
        taken = {file.name for file in pictures_in(without)}
        files = [file for file in files if file.name not in taken]
        if not files:
            raise InputError(f"{folder}: nothing is left of it without the pictures in {without}")
    return files


def _side(file: Path, size: int) -> int:
    """Side of a face, by its header."""
    width, height = read_size(file)
    if height != width or height < size * SMALLEST:
        raise InputError(
            f"{file}: training faces must be square and aligned, at least {math.ceil(size * SMALLEST)} px; "
            f"this one is {width} x {height}"
        )
    return height


def split(faces: FaceSet, holdout: int) -> tuple[FaceSet, FaceSet]:
    """Training part and a fixed held-out part, by the hash of the names; coarse faces are held out last.

    Networks grow from one another, and what one is measured on none before may have been trained on. So
    one name in 16 is never trained on, and the held-out faces come from those while there are enough fine
    ones. The folder is no part of the name: a face stored in two sizes is one face.
    """
    place = [hashlib.sha256(Path(name).stem.encode()).digest() for name in faces.names]
    coarse = ~faces.fine
    order = sorted(range(len(faces)), key=lambda i: (coarse[i], place[i]))
    chosen = order[:holdout]
    seen = {place[i] for i in chosen}
    left = [i for i in range(len(faces)) if place[i] >= RESERVED and place[i] not in seen]
    if not left:
        raise ConfigError(
            f"data.holdout = {holdout} leaves no training faces: there are {len(faces)}; bring more, or give "
            f"--set data.holdout={max(1, len(faces) // 8)}"
        )
    return faces.part(left), faces.part(chosen)


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
        self._damaged: set[int] = set()
        self._edges = np.cumsum(faces.weights) / faces.weights.sum()

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One sample.

        Returns:
            "hq", (3, size, size) uint8 RGB; "face" and "mirrored", which face it is, int64; "fine", bool: its
            file has at least `size` pixels a side. With a recipe also "lq", like "hq", and "coloured", bool:
            whether its colours are left.

        Raises:
            InputError: no picture can be read.
        """
        rng = np.random.default_rng((self.seed, index))
        which = min(int(np.searchsorted(self._edges, rng.random(), side="right")), len(self.faces) - 1)
        which, picture = self._picture(which)
        hq, mirrored = augment(picture, self.augmentation, self.size, rng)
        sample = {
            "hq": _channels_first(hq),
            "face": torch.tensor(which),
            "mirrored": torch.tensor(int(mirrored)),
            "fine": torch.tensor(bool(self.faces.sides[which] >= self.size)),
        }
        if self.recipe is not None:
            plan = self.recipe.draw(rng, self.size)
            sample |= {"lq": _channels_first(apply(hq, plan)), "coloured": torch.tensor(plan.coloured)}
        return sample

    def _picture(self, wanted: int) -> tuple[int, NDArray[np.uint8]]:
        """A face; of a file that is damaged behind its header the next one in its place, always.

        One that has gone or changed ends the run: it would be another one.
        """
        faces, failed = self.faces, InputError("no faces")
        for which in (*range(wanted, len(faces)), *range(wanted)):
            try:
                return which, faces.picture(which)
            except InputError as error:
                if set(read_size(faces.files[which])) != {int(faces.sides[which])}:
                    raise
                if which not in self._damaged:
                    self._damaged.add(which)
                    logger.warning("%s; the run goes on without it", error)
                failed = error
        raise failed


def _channels_first(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def fixed_batch(faces: FaceSet, size: int, recipe: Recipe | Mixture | None, seed: int) -> dict[str, Tensor]:
    """Every face once, without augmentation, with a fixed degradation each: for validation."""
    plain = Augmentation(flip=0.0)
    samples = [
        FaceStream(replace(faces.part([i]), weights=np.ones(1)), size, plain, recipe, seed)[i]
        for i in range(len(faces))
    ]
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


def batches(
    stream: FaceStream, batch: int, start: int, steps: int, workers: int, stride: int | None = None
) -> Iterator[dict[str, Tensor]]:
    """`steps` batches of samples start, start + 1, ...: each entry of a sample stacked, (B, ...).

    The next batch begins `stride` samples later (default: where the last one ended): of several processes
    each takes its part of every stretch. Batches are made ahead by threads, which read the faces too: OpenCV
    and numpy let go of the interpreter while they work, and all share one cache of pictures.
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

"""The faces of a run: training part, held-out probe, and how views are drawn."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from facemend.data.augment import Augmentation
from facemend.data.balance import weighted
from facemend.data.faces import (
    FaceSet,
    FaceStream,
    Folder,
    batches,
    fixed_batch,
    read_faces,
    split,
    to_signed,
)
from facemend.degradations import recipe_of
from facemend.training.config import RunConfig
from facemend.training.engine import Engine
from facemend.training.settings import Degradation

PROBE_SEED = 0  # of every run: their figures compare


@dataclass(frozen=True)
class TrainingFaces:
    """The faces of a run and how they are drawn.

    Attributes:
        config: the run's settings.
        faces: what is trained on.
        probe: held-out faces, each (N, 3, S, S) in [-1, 1]: "hq", and "lq" where there is a degradation.
        engine: the processes that share the samples.
    """

    config: RunConfig
    faces: FaceSet
    probe: dict[str, Tensor]
    engine: Engine

    def facts(self) -> dict[str, Any]:
        """What the run learns from: how many faces, and the hash of their names and files."""
        fine = int(self.faces.fine.sum())
        folders = Counter(name.split("/")[0] for name in self.faces.names)
        return {
            "faces": len(self.faces),
            "fine": fine,
            "coarse": len(self.faces) - fine,
            "held_out": len(self.probe["hq"]),
            "digest": self.faces.digest,
            "folders": dict(folders),
            "table": str(self.config.data.table or ""),
        }

    def batches(
        self,
        size: int,
        batch: int,
        degradation: Degradation | None,
        first_sample: int,
        steps: int,
        shared: bool = True,
    ) -> Iterator[dict[str, Tensor]]:
        """Batches of views on the device.

        Args:
            size: side of the pictures, pixels.
            batch: faces of one process.
            degradation: preset for LQ faces, or a mixture of presets, or None.
            first_sample: how many samples each process has had.
            steps: how many batches.
            shared: each process gets its own part of every batch; else all get the batches of all.

        Yields:
            "hq" and perhaps "lq" (B, 3, size, size) in [-1, 1]; "face", "mirrored", "fine" and perhaps
            "coloured" (B,), as `FaceStream` has them.
        """
        data, engine = self.config.data, self.engine
        view = Augmentation(data.crop, data.rotate, data.shift, data.light, data.flip, data.occlude)
        how = None if degradation is None else recipe_of(degradation)
        # A stage does not see again what the one before has seen.
        entropy = hashlib.sha256(f"{self.config.stage} {self.config.seed}".encode()).digest()
        stream = FaceStream(self.faces, size, view, how, int.from_bytes(entropy[:8]))
        stretch = batch * engine.processes
        first = first_sample * engine.processes + (engine.rank * batch if shared else 0)
        for sample in batches(stream, batch if shared else stretch, first, steps, data.workers, stretch):
            yield {name: self._placed(images) for name, images in sample.items()}

    def _placed(self, images: Tensor) -> Tensor:
        if images.ndim != 4:
            return images.to(self.engine.device)
        layout = torch.channels_last if self.config.channels_last else torch.contiguous_format
        return to_signed(images).to(self.engine.device, memory_format=layout)


def open_faces(
    config: RunConfig, size: int, degradation: Degradation | None, engine: Engine
) -> TrainingFaces:
    """Find the faces of a run and keep the probe aside.

    Args:
        config: the run's settings.
        size: side of the network's picture, pixels.
        degradation: preset or mixture of presets for the probe's LQ faces, or None for HQ only.
        engine: the processes that share the samples.
    """
    data = config.data
    folders = [Folder(folder.path, folder.weight, folder.without) for folder in data.folders]
    faces = read_faces(folders, size, data.limit, data.cache_mb)
    if data.table is not None:
        faces = weighted(faces, data.table, data.turned, data.sources)
    faces, held_out = split(faces, data.holdout)
    fixed = fixed_batch(held_out, size, None if degradation is None else recipe_of(degradation), PROBE_SEED)
    probe: dict[str, Tensor] = {
        name: to_signed(fixed[name]).to(engine.device) for name in ("hq", "lq") if name in fixed
    }
    return TrainingFaces(config, faces, probe, engine)


def parts(batch: dict[str, Tensor], count: int) -> Iterator[dict[str, Tensor]]:
    """A batch cut into equal parts, for gradient accumulation."""
    if count == 1:
        yield batch
        return
    cut = {name: value.chunk(count) for name, value in batch.items()}
    for number in range(count):
        yield {name: pieces[number] for name, pieces in cut.items()}

"""The faces of a run: training part, held-out probe, and how views are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from facemend.data.augment import Augmentation
from facemend.data.balance import weighted
from facemend.data.faces import FaceSet, FaceStream, batches, fixed_batch, read_faces, split, to_signed
from facemend.degradations import preset as recipe
from facemend.training.config import RunConfig


@dataclass(frozen=True)
class TrainingFaces:
    """Pictures in memory.

    Attributes:
        config: the run's settings.
        faces: what is trained on.
        probe: held-out faces, each (N, 3, S, S) in [-1, 1]: "hq", and "lq" where there is a degradation.
        device: where batches go.
    """

    config: RunConfig
    faces: FaceSet
    probe: dict[str, Tensor]
    device: torch.device

    def batches(
        self, size: int, batch: int, degradation: str | None, first_sample: int, steps: int
    ) -> Iterator[dict[str, Tensor]]:
        """Batches of views as (B, 3, size, size) in [-1, 1] on the device: "hq" and perhaps "lq"."""
        data = self.config.data
        view = Augmentation(data.crop, data.rotate, data.shift, data.light, data.flip, data.occlude)
        how = None if degradation is None else recipe(degradation)
        stream = FaceStream(self.faces, size, view, how, self.config.seed)
        for sample in batches(stream, batch, first_sample, steps, data.workers):
            yield {name: to_signed(images).to(self.device) for name, images in sample.items()}


def open_faces(config: RunConfig, size: int, degradation: str | None, device: torch.device) -> TrainingFaces:
    """Read the folders of a run and keep the probe aside.

    Args:
        config: the run's settings.
        size: side of the network's picture, pixels.
        degradation: preset for the probe's LQ faces, or None for HQ only.
        device: where batches go.
    """
    data = config.data
    faces = read_faces([(folder.path, folder.weight) for folder in data.folders], size, data.limit)
    if data.table is not None:
        faces = weighted(faces, data.table, data.turned, data.sources)
    faces, held_out = split(faces, data.holdout)
    fixed = fixed_batch(held_out, size, None if degradation is None else recipe(degradation), config.seed)
    return TrainingFaces(config, faces, {k: to_signed(v).to(device) for k, v in fixed.items()}, device)

"""All figures of one case: every method's picture against the original, in one look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facemend.errors import ConfigError, FacemendError
from facemend.evaluation.cases import Case, Pixels
from facemend.faces.template import template_points
from facemend.files import file_sha256
from facemend.imaging import to_float
from facemend.metrics import METRICS, Metric, landmark_distance
from facemend.metrics.learned import identity_measures
from facemend.predictors.mesh import FaceMesh
from facemend.types import Box, Face
from facemend.weights.catalog import PACKAGES, asset_path

LMD = Metric(
    "LMD",
    landmark_distance,
    higher_is_better=False,
    range="0 to 20",
    unit="px at 512",
    network="MediaPipe face mesh, 468 points",
    crop="the face in the aligned picture",
    explain="How far eyes, mouth and outline have moved from where they were. Small values mean that the "
    "expression is kept; papers use other landmarks, so their values do not compare.",
)
SLOW = frozenset({"lpips_vgg"})
"""Metrics that are measured on demand only."""
_IDENTITY = ("ids", "ids_degrees", "identity_distance")


Values = dict[str, list[float | None]]
"""Metric -> one number a method, None where it cannot be measured."""


class Scorer:
    """Measures the pictures of a case.

    Args:
        reference: whether there are originals.
        full: whether the slow metrics are measured too.
        device: where torch computes.

    Raises:
        ConfigError: there is no such device.
        WeightsError: the face mesh is missing.
    """

    def __init__(self, reference: bool, full: bool, device: str = "cpu") -> None:
        try:
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:  # torch has no error of its own for this
            raise ConfigError(
                f"--device {device}: torch cannot use it ({str(error).splitlines()[0]})"
            ) from None
        self.metrics = metrics_of(reference, full)
        self._device = device
        self._mesh = FaceMesh() if reference else None

    @torch.inference_mode()
    def score(self, case: Case, pictures: Sequence[Pixels]) -> Values:
        """Measure one picture a method, by the metrics in the order of reports.

        Args:
            case: the case that the pictures restore.
            pictures: (S, S, 3) uint8 RGB each.
        """
        stack = torch.stack([_tensor(picture) for picture in pictures]).to(self._device)
        hq = None if case.hq is None else _tensor(case.hq)[None].to(self._device)
        values: Values = {}
        for name, metric in self.metrics.items():
            if name == "lmd" or name in _IDENTITY[1:]:
                continue
            if name == _IDENTITY[0]:
                assert hq is not None
                values |= {key: _numbers(v) for key, v in identity_measures(stack, hq).items()}
                continue
            try:
                values[name] = _numbers(metric(stack, hq if metric.reference else None))
            except ValueError:  # the picture is too small for this metric
                values[name] = [None] * len(pictures)
        if case.hq is not None:
            values["lmd"] = self._landmarks(case.hq, pictures)
        return {name: values[name] for name in self.metrics}

    def _landmarks(self, hq: Pixels, pictures: Sequence[Pixels]) -> list[float | None]:
        assert self._mesh is not None
        size = len(hq)
        points = template_points(size).astype(np.float32)
        face = Face(Box(0.2 * size, 0.3 * size, 0.8 * size, 0.9 * size), points, 1.0)
        found = []
        for picture in (hq, *pictures):
            try:
                found.append(torch.from_numpy(self._mesh.points(to_float(picture), face)))
            except FacemendError:
                found.append(torch.full((1, 2), float("nan")))
        original = found[0][None]
        return [
            _number(float(landmark_distance(other[None], original, size)))
            if other.shape == found[0].shape
            else None
            for other in found[1:]
        ]


def metrics_of(reference: bool, full: bool) -> dict[str, Metric]:
    """The metrics of a run, in the order of reports."""
    table = {name: metric for name, metric in METRICS.items() if full or name not in SLOW}
    blind = {name: metric for name, metric in table.items() if not metric.reference}
    if not reference:
        return blind
    return {name: metric for name, metric in table.items() if metric.reference} | {"lmd": LMD} | blind


def describe_metric(metric: Metric) -> dict[str, Any]:
    """A metric as the results carry it."""
    names = (field.name for field in fields(metric) if field.name not in ("function", "reference"))
    return {name: getattr(metric, name) for name in names}


def metric_weights(reference: bool) -> dict[str, str]:
    """File -> sha256 of everything behind the figures."""
    names = ("lpips", "dists", "identity", "niqe") if reference else ("niqe",)
    archives = [archive for name in names for archive in PACKAGES[name]]
    weights = {m.filename: m.sha256 for archive in archives for m in archive.members}
    if reference:
        mesh = asset_path("face_mesh")
        weights[mesh.name] = file_sha256(mesh)
    return weights


def _tensor(picture: Pixels) -> Tensor:
    return torch.from_numpy(to_float(picture)).permute(2, 0, 1).contiguous()


def _numbers(values: Tensor) -> list[float | None]:
    return [_number(value) for value in values.double().tolist()]


def _number(value: float) -> float | None:
    # JSON has no infinity: PSNR of equal pictures counts as not measurable, like a failure.
    return value if np.isfinite(value) else None

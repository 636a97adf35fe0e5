"""Measures of quality and fidelity, functional, torch; `METRICS` names them, `MeanMetric` adds them up."""

from __future__ import annotations

from facemend.metrics.accumulate import MeanMetric
from facemend.metrics.fidelity import ms_ssim, psnr, ssim
from facemend.metrics.landmarks import landmark_distance
from facemend.metrics.learned import (
    dists,
    identity_degrees,
    identity_distance,
    identity_similarity,
    lpips,
)
from facemend.metrics.niqe import niqe
from facemend.metrics.table import METRICS, Metric

__all__ = [
    "METRICS",
    "MeanMetric",
    "Metric",
    "dists",
    "identity_degrees",
    "identity_distance",
    "identity_similarity",
    "landmark_distance",
    "lpips",
    "ms_ssim",
    "niqe",
    "psnr",
    "ssim",
]

"""Measures of quality and fidelity, functional, torch; `METRICS` names them."""

from __future__ import annotations

from facemend.metrics.fidelity import ms_ssim, psnr, ssim
from facemend.metrics.landmarks import landmark_distance
from facemend.metrics.learned import dists, identity_measures, lpips
from facemend.metrics.niqe import niqe
from facemend.metrics.table import METRICS, Metric

__all__ = [
    "METRICS",
    "Metric",
    "dists",
    "identity_measures",
    "landmark_distance",
    "lpips",
    "ms_ssim",
    "niqe",
    "psnr",
    "ssim",
]

"""Measures of quality and fidelity: PSNR, SSIM, LPIPS, identity. Functional, torch."""

from __future__ import annotations

from facemend.metrics.fidelity import psnr, ssim
from facemend.metrics.learned import identity_distance, identity_similarity, lpips
from facemend.metrics.table import METRICS, Metric

__all__ = [
    "METRICS",
    "Metric",
    "identity_distance",
    "identity_similarity",
    "lpips",
    "psnr",
    "ssim",
]

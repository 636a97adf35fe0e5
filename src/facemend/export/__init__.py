"""From a checkpoint to ONNX, with a parity check."""

from __future__ import annotations

from facemend.export.model import ExportOptions, export_model
from facemend.export.parity import Parity

__all__ = ["ExportOptions", "Parity", "export_model"]

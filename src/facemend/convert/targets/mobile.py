"""For phones: the two graphs without branches and with a batch of one, as ONNX Runtime's providers want them.

NNAPI and Core ML take fixed shapes only, and no `If`. Weights stay as they are stored: the runtime widens
float16 when it loads, before a provider chooses its operators.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import onnx
from onnx import ModelProto

from facemend.convert.targets.describe import describe
from facemend.convert.targets.one_graph import plain_pair
from facemend.weights.models import ModelInfo


def write(info: ModelInfo, folder: Path) -> None:
    """Write encode.onnx, decode.onnx and a README for Android and iOS into an empty folder.

    Raises:
        ConfigError: the model is one graph of somebody else.
    """
    names = ("encode", "decode")
    for name, model in zip(names, plain_pair(info), strict=True):
        fix_batch(model)
        onnx.save(model, folder / f"{name}.onnx")
    readme = files(__package__).joinpath("mobile.md").read_text(encoding="utf-8")
    for key in ("name", "image_size", "default_w", "licence"):
        readme = readme.replace(f"{{{key}}}", str(getattr(info, key)))
    # Not as "encode" and "decode": `facemend restore` runs several faces at once, which these do not.
    describe(info, folder, {f"phone_{name}": f"{name}.onnx" for name in names}, readme)


def fix_batch(model: ModelProto) -> None:
    """Make every open axis of a graph's inputs and outputs 1, in place."""
    graph = model.graph
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if not axis.HasField("dim_value"):
                axis.dim_value = 1
    onnx.checker.check_model(model)

"""For ReActor (a node pack of ComfyUI): one ONNX file for its folder `models/facerestore_models`.

ReActor gives an input called `weight` 1 whatever its dial says, so w is frozen in the file. It takes a name
with "codeformer" for a .pth file, and one with 1024 or 2048 for a network of that side (its nodes.py).
"""

from __future__ import annotations

from pathlib import Path

import onnx

from facemend.convert.targets.describe import about, describe
from facemend.convert.targets.one_graph import INPUT, OUTPUT, SIDE, one_graph
from facemend.weights.models import WHOLE, ModelInfo

FILE = "facemend.onnx"
_README = """\
# {name} for ReActor

Copy `{file}` into `ComfyUI/models/facerestore_models` and choose it as `face_restore_model`. It may be
renamed, but a name with "codeformer", "1024" or "2048" in it would be taken for another kind of file.

ReActor has no working dial for ONNX files: the fidelity weight is {w:g}, as exported. For another one:
`facemend export MODEL --for reactor -w 0.8 -o FOLDER`.

Licence of the weights: {licence}. {description}.
"""


def write(info: ModelInfo, folder: Path) -> None:
    """Write the file into an empty folder; w is the model's default.

    Raises:
        ConfigError: the model cannot be made one graph.
    """
    onnx.save(one_graph(info, w=info.default_w), folder / FILE)
    readme = about(info, _README, file=FILE)
    io = {"image": INPUT, "output": OUTPUT}
    describe(info, folder, {WHOLE: FILE}, readme, image_size=SIDE, w="fixed", io=io)

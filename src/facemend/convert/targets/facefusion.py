"""For FaceFusion: `codeformer.onnx` in place of its own, with the `.hash` that it checks.

The hash is the CRC-32 of the file in eight hexadecimal digits (its hash_helper.py).
"""

from __future__ import annotations

import zlib
from pathlib import Path

from facemend.convert.targets.describe import about, describe
from facemend.convert.targets.one_graph import INPUT, OUTPUT, SIDE, WEIGHT, one_graph
from facemend.weights.models import WHOLE, ModelInfo

FILE, HASH = "codeformer.onnx", "codeformer.hash"
_README = """\
# {name} for FaceFusion

Copy `{file}` and `{hash}` into `.assets/models` of FaceFusion, over those that are there (keep a
copy), and run it with `--face-enhancer-model codeformer --face-enhancer-weight {w:g}`. Both files belong
together: where the hash does not fit, FaceFusion fetches its own model again. Its list of face enhancers is
fixed, hence the name.

Licence of the weights: {licence}. {description}.
"""


def write(info: ModelInfo, folder: Path) -> None:
    """Write the two files into an empty folder; w stays live.

    Raises:
        ConfigError: the model cannot be made one graph.
    """
    content = one_graph(info).SerializeToString()
    (folder / FILE).write_bytes(content)
    (folder / HASH).write_text(f"{zlib.crc32(content):08x}", encoding="ascii")
    readme = about(info, _README, file=FILE, hash=HASH)
    io = {"image": INPUT, "output": OUTPUT, "w": WEIGHT, "w_dtype": "float64", "w_rank": 1}
    describe(info, folder, {WHOLE: FILE}, readme, image_size=SIDE, io=io)

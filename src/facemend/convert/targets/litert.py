"""For LiteRT (TensorFlow Lite): one .tflite file, checked on LiteRT's own interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facemend.convert.targets.describe import about, describe
from facemend.convert.targets.whole_network import example, open_network
from facemend.errors import WeightsError, require_extra
from facemend.predictors.restorer import FaceRestorer
from facemend.weights.models import ModelInfo

FILE = "facemend.tflite"
LARGEST_MEAN = 1 / 255
"""What the file may differ from the model's graphs in the mean, in [-1, 1] units: half a level of 255."""
_README = """\
# {name} for LiteRT

`{file}` takes `image` float32 [1,3,{size},{size}], RGB, [-1, 1], cropped by the FFHQ template, and `w`
float32 [1] in [0, 1] ({w:g} is usual), and gives the restored face as float32 [1,3,{size},{size}]; clip it to
[-1, 1].

Against onnxruntime: largest difference {largest:.1e}, mean {mean:.1e}, in [-1, 1] units.

    from ai_edge_litert.interpreter import Interpreter
    run = Interpreter("{file}").get_signature_runner()
    restored = next(iter(run(image=image, w=w).values()))

Licence of the weights: {licence}. {description}.
"""


def write(info: ModelInfo, folder: Path) -> None:
    """Write the file into an empty folder, its distance from the model's graphs into model.json.

    Raises:
        MissingExtraError: litert-torch is not installed.
        WeightsError: the model was not exported by facemend from a checkpoint, or the file differs.
    """
    require_extra("export --for litert", "litert")
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter

    given = example(info.image_size)
    litert_torch.convert(open_network(info), sample_kwargs=given).export(str(folder / FILE))
    inputs = {name: value.numpy() for name, value in given.items()}
    run = Interpreter(model_path=str(folder / FILE)).get_signature_runner()
    (found,) = run(**inputs).values()
    restorer = FaceRestorer.open(info)
    faces = (inputs["image"].transpose(0, 2, 3, 1) / 2 + 0.5).astype(np.float32)
    wanted = restorer.decode(restorer.encode(faces), inputs["w"]).transpose(0, 3, 1, 2) * 2 - 1
    difference = np.abs(np.clip(found, -1, 1) - wanted)
    parity = {"largest": float(difference.max()), "mean": float(difference.mean())}
    if not parity["mean"] <= LARGEST_MEAN:
        raise WeightsError(f"{info.name}: the LiteRT file differs from the model ({parity}); report this")
    readme = about(info, _README, file=FILE, **parity)
    describe(info, folder, {"litert": FILE}, readme, parity=parity)

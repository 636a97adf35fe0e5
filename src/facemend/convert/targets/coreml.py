"""For Core ML: one ML program. It can be made anywhere, but is run on Apple's systems only."""

from __future__ import annotations

from pathlib import Path

import torch

from facemend.convert.targets.describe import about, describe
from facemend.convert.targets.whole_network import OUTPUT, example, open_network
from facemend.errors import require_extra
from facemend.weights.models import ModelInfo

FILE = "facemend.mlpackage"
_README = """\
# {name} for Core ML

`{file}` (iOS 16, macOS 13 and later; float32) takes `image` [1,3,{size},{size}], RGB, [-1, 1],
cropped by the FFHQ template, and `w` [1] in [0, 1] ({w:g} is usual), and gives `restored`, as `image`; clip
it to [-1, 1]. Drop it into Xcode. It was converted, but not run: Core ML runs on Apple's systems only.

Licence of the weights: {licence}. {description}.
"""


def write(info: ModelInfo, folder: Path) -> None:
    """Write the package into an empty folder.

    Raises:
        MissingExtraError: coremltools is not installed.
        WeightsError: the model was not exported by facemend from a checkpoint.
    """
    require_extra("export --for coreml", "coreml")
    import coremltools

    program = torch.export.export(open_network(info), (), kwargs=example(info.image_size))
    converted = coremltools.convert(
        program.run_decompositions({}),
        outputs=[coremltools.TensorType(name=OUTPUT)],
        minimum_deployment_target=coremltools.target.iOS16,
        compute_precision=coremltools.precision.FLOAT32,
        skip_model_load=True,
    )
    converted.author, converted.license = "facemend", info.licence
    converted.short_description = info.description
    converted.save(str(folder / FILE))
    readme = about(info, _README, file=FILE)
    describe(info, folder, {}, readme)

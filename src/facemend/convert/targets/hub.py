"""For Hugging Face: a folder that can be uploaded as it is, and that is a model folder of facemend too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from facemend.convert.model_folder import file_row
from facemend.convert.recover import model_checkpoint
from facemend.convert.targets.describe import describe
from facemend.degradations import degrade
from facemend.faces.align import align
from facemend.imaging import Picture, from_float, read_picture, to_float, write_picture
from facemend.predictors.detector import FaceDetector
from facemend.predictors.restorer import FaceRestorer
from facemend.weights.catalog import assets_folder
from facemend.weights.models import WEIGHTS_FILE, ModelInfo

PREVIEW = "preview.png"
LICENCES = ("apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0")
"""Names of licences that the Hub knows, as far as weights here may have them; others are called other."""
_WS = (0.0, 0.5, 1.0)
_CARD = """\
---
{front}
---
![A damaged face, and restored with w = 0, 0.5 and 1]({preview})

Blind face restoration by codebook lookup, with facemend:

```bash
hf download OWNER/{name} --local-dir {name}
facemend restore old.jpg -o new.jpg --model {name}
```

`encode.onnx` and `decode.onnx` are what `facemend restore` runs, without torch; `{weights}` holds the
same weights for torch and for training on, with its sizes in the header (`config.json` has them too).

{card}"""


def write(info: ModelInfo, folder: Path) -> None:
    """Write card, weights, graphs, sizes and a preview into an empty folder.

    Raises:
        WeightsError: the model was not exported by facemend from a checkpoint.
    """
    shutil.copyfile(model_checkpoint(info), folder / WEIGHTS_FILE)
    for graph, path in info.graphs.items():
        shutil.copyfile(path, folder / f"{graph}.onnx")
    (folder / "config.json").write_text(json.dumps(info.details["config"], indent=1) + "\n", encoding="utf-8")
    write_picture(folder / PREVIEW, preview(info))
    graphs = {graph: f"{graph}.onnx" for graph in info.graphs}
    weights = {"weights": file_row(folder / WEIGHTS_FILE)}
    describe(info, folder, graphs, card(info), **{**info.details, **weights})


def card(info: ModelInfo) -> str:
    """The model card, with the front matter that the Hub reads: JSON, which is YAML as well."""
    licence = info.licence.lower()
    front = {
        "license": licence if licence in LICENCES else "other",
        "library_name": "facemend",
        "pipeline_tag": "image-to-image",
        "tags": ["face-restoration", "image-restoration", "codeformer", "onnx"],
    }
    if front["license"] == "other":
        front["license_name"] = info.licence
    own = (
        info.card.read_text(encoding="utf-8")
        if info.card.is_file()
        else f"# {info.name}\n\n{info.description}.\n"
    )
    lines = "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items())
    return _CARD.format(front=lines, preview=PREVIEW, name=info.name, weights=WEIGHTS_FILE, card=own)


def preview(info: ModelInfo) -> Picture:
    """The portrait that ships with facemend: its face damaged, then restored with several w, side by side."""
    portrait = read_picture(assets_folder() / "demo/portrait.jpg").pixels
    (face,) = FaceDetector().detect(portrait, max_faces=1)
    crop = align(portrait, face, info.image_size).crop
    damaged = to_float(degrade(np.rint(crop * 255).astype(np.uint8), "medium", 0)[0])
    restorer = FaceRestorer.open(info)
    encoded = restorer.encode(damaged[None])
    row = [damaged, *(restorer.decode(encoded, w)[0] for w in _WS)]
    return Picture(pixels=from_float(np.concatenate(row, axis=1)))

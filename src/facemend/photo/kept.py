"""What does not depend on w, on disk: another process, or a later one, goes on from there.

One .npz file without pickles. The photo is not in it: it lies on disk already, in fewer bytes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemend.errors import InputError
from facemend.files import whole_file
from facemend.imaging import Picture, from_float, to_float
from facemend.photo.prepared import Prepared, SkippedFace
from facemend.predictors.restorer import EncodedFaces
from facemend.types import AlignedFace, Box, Face

_VERSION = 3
_ENCODED = "encoded_"
_HALF_MAX = 60_000.0  # float16 ends at 65,504
_Arrays = Mapping[str, NDArray[Any]]


def save(prepared: Prepared, path: Path) -> None:
    """Write all but the photo; the file appears whole or not at all and replaces an older one.

    Crops are rounded to 16 bits, and what the network said to half floats where its discrete choices (the
    codes) are made: that moves pixels by 1/255 at most. A background that a network drew is kept as it is.

    Args:
        prepared: what to keep.
        path: the file; its folder must exist.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(path, shared=True) as part, part.open("xb") as file:
        np.savez(file, **_arrays(prepared))  # type: ignore[arg-type]  # names are not its options


def load(path: Path, picture: Picture) -> Prepared:
    """Take back what `save` wrote.

    Args:
        path: the file.
        picture: the same photo.

    Raises:
        InputError: the file is missing or damaged, of another version, or of another photo.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
        return _prepared(arrays, picture)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged, or kept by another version; restore the photo again") from error


def _arrays(prepared: Prepared) -> dict[str, NDArray[Any]]:
    faces = [each.face for each in prepared.aligned] + [each.face for each in prepared.skipped]
    said = {
        "version": _VERSION,
        "size": [prepared.picture.width, prepared.picture.height],
        "monochrome": [bool(value) for value in prepared.monochrome],
        "reasons": [each.reason for each in prepared.skipped],
        "notes": list(prepared.notes),
        "factor": prepared.factor,
        "whole": prepared.whole,
        "chosen": prepared.chosen,
    }
    arrays: dict[str, NDArray[Any]] = {
        "said": np.array(json.dumps(said)),
        "boxes": np.array([(f.box.x1, f.box.y1, f.box.x2, f.box.y2) for f in faces], np.float64),
        "scores": np.array([face.score for face in faces], np.float64),
        "landmarks": np.array([face.landmarks for face in faces], np.float32),
    }
    if prepared.aligned and prepared.encoded is not None:
        arrays["crops"] = from_float(np.stack([each.crop for each in prepared.aligned]), np.uint16)
        arrays["matrices"] = np.stack([each.matrix for each in prepared.aligned])
        outputs = prepared.encoded.outputs
        chosen = any(array.dtype.kind in "iu" for array in outputs.values())
        arrays |= {_ENCODED + name: _halved(a) if chosen else a for name, a in outputs.items()}
    if prepared.background is not None:
        arrays["background"] = prepared.background.pixels
        if prepared.background.alpha is not None:
            arrays["background_alpha"] = prepared.background.alpha
    return arrays


def _halved(array: NDArray[Any]) -> NDArray[Any]:
    small = array.dtype == np.float32 and np.abs(array).max() < _HALF_MAX
    return array.astype(np.float16) if small else array


def _prepared(arrays: _Arrays, picture: Picture) -> Prepared:
    said = json.loads(str(arrays["said"]))
    if said["version"] != _VERSION or said["size"] != [picture.width, picture.height]:
        raise ValueError("of another version, or another photo")
    faces = [
        Face(Box(*map(float, box)), landmarks, float(score))
        for box, landmarks, score in zip(arrays["boxes"], arrays["landmarks"], arrays["scores"], strict=True)
    ]
    count = len(said["monochrome"])
    aligned: tuple[AlignedFace, ...] = ()
    encoded = None
    if count:
        crops = to_float(arrays["crops"])
        rows = zip(crops, arrays["matrices"], faces[:count], strict=True)
        aligned = tuple(AlignedFace(crop, matrix, face) for crop, matrix, face in rows)
        encoded = EncodedFaces(
            {
                name.removeprefix(_ENCODED): array.astype(np.float32) if array.dtype == np.float16 else array
                for name, array in arrays.items()
                if name.startswith(_ENCODED)
            }
        )
    return Prepared(
        picture=picture,
        aligned=aligned,
        encoded=encoded,
        monochrome=tuple(said["monochrome"]),
        skipped=tuple(map(SkippedFace, faces[count:], said["reasons"])),
        notes=tuple(said["notes"]),
        factor=said["factor"],
        whole=said["whole"],
        chosen=None if said["chosen"] is None else tuple(said["chosen"]),
        background=_background(arrays, picture),
    )


def _background(arrays: _Arrays, picture: Picture) -> Picture | None:
    if "background" not in arrays:
        return None
    return replace(picture, pixels=arrays["background"], alpha=arrays.get("background_alpha"))

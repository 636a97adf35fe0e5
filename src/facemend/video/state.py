"""What a film's next frame depends on, on disk: a run that was killed goes on as if nothing had happened.

One .npz file without pickles; floats are kept to the last bit.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemend.errors import InputError
from facemend.photo.auto import Choice
from facemend.types import Box, Face
from facemend.video.frames import FilmFace, FilmState
from facemend.video.smoothing import Memory
from facemend.video.tracking import Scene, Track

_Arrays = Mapping[str, NDArray[Any]]


def save_state(path: Path, state: FilmState) -> None:
    """Write a state to a new file.

    Raises:
        OSError: it cannot be written.
    """
    scene = state.scene
    numbers = {"seconds": scene.seconds, "change": scene.change, "since": scene.since, "born": scene.born}
    arrays: dict[str, NDArray[Any]] = {"scene": np.array(json.dumps(numbers))}
    if scene.gray is not None:
        arrays["gray"] = scene.gray
    arrays |= _of_tracks(scene.tracks) | _of_faces(state.faces)
    with path.open("xb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names are not its options


def load_state(path: Path) -> FilmState:
    """Take back what `save_state` wrote.

    Raises:
        InputError: it is damaged.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
        scene = Scene(_tracks(arrays), arrays.get("gray"), **json.loads(str(arrays["scene"])))
        return FilmState(scene, _faces(arrays))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged: remove its folder to begin anew") from error


def _of_tracks(tracks: Sequence[Track]) -> dict[str, NDArray[Any]]:
    faces = [track.face for track in tracks]
    unknown = np.full((2, 3), np.nan)
    return {
        "track": np.array([(t.number, t.missed) for t in tracks], np.int64).reshape(-1, 2),
        "shown": np.array([(t.strength, t.face.score) for t in tracks], np.float64).reshape(-1, 2),
        "boxes": np.array([(f.box.x1, f.box.y1, f.box.x2, f.box.y2) for f in faces], np.float64),
        "landmarks": np.array([f.landmarks for f in faces], np.float32),
        "velocity": np.array([t.velocity for t in tracks], np.float64),
        "step": np.array([unknown if t.step is None else t.step for t in tracks], np.float64),
    }


def _tracks(arrays: _Arrays) -> tuple[Track, ...]:
    names = ("track", "shown", "boxes", "landmarks", "velocity", "step")
    return tuple(
        Track(
            number=int(number),
            face=Face(Box(*map(float, box)), landmarks, float(score)),
            velocity=velocity,
            missed=int(missed),
            strength=float(strength),
            step=step if np.isfinite(step).all() else None,
        )
        for (number, missed), (strength, score), box, landmarks, velocity, step in zip(
            *(arrays[name] for name in names), strict=True
        )
    )


def _of_faces(faces: Mapping[int, FilmFace]) -> dict[str, NDArray[Any]]:
    if not faces:
        return {}
    memories = [face.memory for face in faces.values()]
    return {
        "numbers": np.array(list(faces), np.int64),
        "tones": np.array([face.tone for face in faces.values()], np.float64),
        "choices": np.array([(f.choice.w, f.choice.strength) for f in faces.values()], np.float64),
        "noises": np.array([memory.noise for memory in memories], np.float64),
        "matrices": np.stack([memory.matrix for memory in memories]),
        "crops": np.stack([memory.crop for memory in memories]),
        "restored": np.stack([memory.restored for memory in memories]),
        "masks": np.stack([memory.mask for memory in memories]),
    }


def _faces(arrays: _Arrays) -> dict[int, FilmFace]:
    if "numbers" not in arrays:
        return {}
    names = ("numbers", "tones", "choices", "noises", "matrices", "crops", "restored", "masks")
    return {
        int(number): FilmFace(
            Memory(matrix, crop, restored, mask, float(noise)), float(tone), Choice(float(w), float(strength))
        )
        for number, tone, (w, strength), noise, matrix, crop, restored, mask in zip(
            *(arrays[name] for name in names), strict=True
        )
    }

"""Restore aligned face crops: the heavy half once (`encode`), the light half (`decode`) at will."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facemend.errors import BackendError, ConfigError, InputError
from facemend.predictors.single_graph import PassOn, WholeGraph
from facemend.runtime.devices import AUTO, CPU
from facemend.runtime.onnx import open_graphs
from facemend.runtime.runner import Array, Arrays, Runner
from facemend.weights.models import ModelInfo

MAX_W = 1.5
CHUNK = 4  # faces a run on a CPU: more would only cost memory
DEVICE_CHUNK = 4 * CHUNK  # elsewhere, where a batch is quicker than its faces one by one
CHUNK_PIXELS = CHUNK * 256**2  # the same for large ones: the published network needs 2.4 GiB a face
IMAGE, W, RESTORED, DIAGNOSIS = "image", "w", "restored", "diagnosis"


@dataclass(frozen=True)
class EncodedFaces:
    """What the encode graph says of N faces: output name -> array whose first axis is N."""

    outputs: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.outputs.values())))

    @property
    def diagnosis(self) -> Array | None:
        """(N, `Diagnosis.COUNT`), where the model says how damaged the faces are."""
        return self.outputs.get(DIAGNOSIS)

    def split(self, counts: Sequence[int]) -> list[EncodedFaces]:
        """The faces in groups of so many, in order."""
        ends = np.cumsum([0, *counts])
        return [
            EncodedFaces({name: array[start:end] for name, array in self.outputs.items()})
            for start, end in pairwise(ends)
        ]


def join(parts: Sequence[EncodedFaces]) -> EncodedFaces:
    """The faces of several, one after the other; at least one."""
    if len(parts) == 1:
        return parts[0]
    return EncodedFaces(_joined([dict(part.outputs) for part in parts], list(parts[0].outputs)))


class FaceRestorer:
    """A restoration model: two graphs, and the ranges and layouts they want.

    May be used from several threads at once.

    Args:
        encode: graph `image` float32 [N,3,S,S] RGB [-1, 1] -> any outputs with first axis N.
        decode: graph `w` float32 [N] and any of those outputs -> `restored` [N,3,S,S] RGB [-1, 1].
        image_size: S.
        device: where they run.
        notes: what the user should know of that.

    Raises:
        BackendError: the two graphs do not fit each other.
    """

    def __init__(
        self,
        encode: Runner,
        decode: Runner,
        image_size: int,
        *,
        device: str = CPU,
        notes: tuple[str, ...] = (),
    ) -> None:
        if tuple(encode.input_names) != (IMAGE,) or RESTORED not in decode.output_names:
            raise BackendError(
                f'the model must take "{IMAGE}" and give "{RESTORED}"; it is not a restoration model'
            )
        self._needed = [name for name in decode.input_names if name != W]
        missing = set(self._needed) - set(encode.output_names)
        if missing or W not in decode.input_names:
            names = ", ".join(sorted(missing)) or W
            raise BackendError(f"the encode and decode graphs do not fit each other: {names} is missing")
        self._encode, self._decode = encode, decode
        most, pixels = (CHUNK, CHUNK_PIXELS) if device == CPU else (DEVICE_CHUNK, 4 * CHUNK_PIXELS)
        self._chunk = min(most, max(1, pixels // image_size**2))
        self.image_size, self.device, self.notes = image_size, device, notes

    @property
    def diagnoses(self) -> bool:
        """Whether the model says how damaged faces are."""
        return DIAGNOSIS in self._encode.output_names

    @classmethod
    def open(
        cls, info: ModelInfo, *, threads: int | None = None, device: str = AUTO, check: bool = False
    ) -> FaceRestorer:
        """Load a model's graphs with onnxruntime.

        Args:
            info: the model.
            threads: threads inside one operator; default: all usable cores.
            device: where to run, see `facemend.runtime.devices`; "auto" takes the best that works.
            check: whether the files are checked; their optimised form is then kept in the cache.

        Raises:
            WeightsError: a file that is checked is missing, damaged or not acceptable.
            BackendError: the device is not there, a graph cannot be loaded, or they do not fit each other.
        """
        graphs = info.files if check else info.graphs
        opened = open_graphs(list(graphs.values()), device, threads=threads)
        encode, decode = (
            opened.runners if info.io is None else (PassOn(), WholeGraph(opened.runners[0], info.io))
        )
        return cls(encode, decode, info.image_size, device=opened.device, notes=opened.notes)

    def encode(self, crops: NDArray[np.float32]) -> EncodedFaces:
        """The heavy half.

        Args:
            crops: (N, S, S, 3) float32 RGB [0, 1], N >= 1.

        Raises:
            InputError: the crops have another shape.
            BackendError: the run failed.
        """
        size = self.image_size
        if crops.ndim != 4 or crops.shape[1:] != (size, size, 3) or not len(crops):
            raise InputError(f"face crops must be (N, {size}, {size}, 3) with N >= 1, got {crops.shape}")
        runs = []
        for start in range(0, len(crops), self._chunk):
            batch = crops[start : start + self._chunk].astype(np.float32) * 2 - 1
            runs.append(self._encode.run({IMAGE: np.ascontiguousarray(batch.transpose(0, 3, 1, 2))}))
        return EncodedFaces(MappingProxyType(_joined(runs, self._encode.output_names)))

    def decode(self, encoded: EncodedFaces, w: ArrayLike) -> NDArray[np.float32]:
        """The light half.

        Args:
            encoded: what `encode` gave.
            w: fidelity weight in [0, 1.5], one for all or one a face: 0 = codebook alone, 1 = faithful to the
                input.

        Returns:
            (N, S, S, 3) float32 RGB [0, 1].

        Raises:
            ConfigError: `w` is not a number in the range, or not one a face.
            BackendError: the run failed, or gave values that are not finite.
        """
        weights = _weights(w, len(encoded))
        runs = []
        for start in range(0, len(encoded), self._chunk):
            part = slice(start, start + self._chunk)
            inputs = {name: encoded.outputs[name][part] for name in self._needed}
            runs.append(self._decode.run({**inputs, W: weights[part]}))
        restored = _joined(runs, [RESTORED])[RESTORED].transpose(0, 2, 3, 1)
        if not np.isfinite(restored).all():
            raise BackendError(
                "the restoration model gave values that are not numbers; its weights are damaged"
            )
        return np.ascontiguousarray(np.clip((restored + 1) / 2, 0, 1), np.float32)


def _joined(runs: list[Arrays], names: Sequence[str]) -> Arrays:
    return {name: np.concatenate([run[name] for run in runs]) for name in names}


def _weights(w: ArrayLike, count: int) -> NDArray[np.float32]:
    try:
        values = np.asarray(w, np.float32)
        weights = np.array(np.broadcast_to(values, (count,)), np.float32)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"w must be one number, or one for each of the {count} faces") from error
    if not np.isfinite(weights).all() or (weights < 0).any() or (weights > MAX_W).any():
        raise ConfigError(f"w must be a number from 0 to {MAX_W}, got {w!r}")
    return weights

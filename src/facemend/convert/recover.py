"""From a shipped ONNX pair back to a checkpoint, so that training can go on from published weights.

The exporter renames, transposes and reshapes some tensors. Instead of a table of its habits, a network of the
same sizes with known random weights is exported: where each of its weights ends up is where it lies in the
shipped graphs too.
"""

from __future__ import annotations

import hashlib
import logging
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from facemend.convert.skip import graphs
from facemend.convert.to_onnx import export_graphs
from facemend.errors import OutputError, WeightsError
from facemend.files import file_sha256
from facemend.networks.codeformer.checkpoint import Checkpoint, network_shapes, save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import CodeFormerConfig
from facemend.networks.codeformer.limits import check_sizes
from facemend.weights.cache import cache_dir
from facemend.weights.models import GRAPHS, WEIGHTS_FILE, ModelInfo, read_model

logger = logging.getLogger(__name__)

Array = NDArray[np.float32]


def recover_checkpoint(folder: Path) -> Checkpoint:
    """Read the weights of a model folder that `export_model` wrote.

    The encoder is that of stage III, which reads damaged faces; stage I's own is not in the graphs.
    Weights stored as float16 come back with that precision.

    Args:
        folder: with model.json, encode.onnx and decode.onnx.

    Returns:
        The network's sizes, its state dict in float32, and the training record.

    Raises:
        WeightsError: if the graphs are damaged or were exported in another way.
    """
    try:
        info = read_model(folder)
        info.verify()
        if "config" not in info.details:
            raise WeightsError("it was imported as a graph, which holds no weights to train on")
        config = CodeFormerConfig.from_dict(info.details["config"])
        check_sizes(config, folder)
        held = _tensors(info.graphs)
        wanted = sum(math.prod(shape) for shape in network_shapes(config).values())
        if wanted > sum(value.size for value in held.values()):
            raise WeightsError("its graphs hold less than a network of these sizes has")
    except Exception as error:  # protobuf has its own kinds
        raise WeightsError(f"{folder}: not a model folder of facemend ({error})") from error
    torch.manual_seed(0)
    probe = CodeFormer(config).eval()
    with torch.no_grad():
        for parameter in (*probe.parameters(), *probe.buffers()):
            if parameter.is_floating_point():
                parameter.copy_(torch.randn(parameter.shape) * 0.05)
    with tempfile.TemporaryDirectory() as temporary:
        export_graphs(probe, Path(temporary), adain=bool(info.details["adain"]))
        known = _tensors({graph: Path(temporary) / f"{graph}.onnx" for graph in GRAPHS})
    state: dict[str, torch.Tensor] = {}
    for name, value in probe.state_dict().items():
        place = _find(value.numpy(), known)
        if place is None or held.get(place[0], np.empty(0)).shape != known[place[0]].shape:
            raise WeightsError(f"{folder}: {name} is not where this version exports it")
        key, transposed = place
        found = held[key].T if transposed else held[key]
        state[name] = torch.from_numpy(found.reshape(value.shape).astype(np.float32))
    return Checkpoint(config, state, dict(info.details.get("training", {})))


def _tensors(files: Mapping[str, Path]) -> dict[str, Array]:
    """All float tensors of the two graphs, by graph and name."""
    tensors: dict[str, Array] = {}
    for name, file in files.items():
        for tensor in (t for graph in graphs(onnx.load(file)) for t in graph.initializer):
            values: NDArray[Any] = numpy_helper.to_array(tensor)
            if values.dtype.kind == "f":
                tensors[f"{name}/{tensor.name.removesuffix('.half')}"] = values.astype(np.float32)
    return tensors


def _find(value: Array, known: dict[str, Array]) -> tuple[str, bool] | None:
    """Where a weight lies, and whether it is transposed there."""
    for key, candidate in known.items():
        if candidate.size != value.size:
            continue
        if np.array_equal(candidate.ravel(), value.ravel()):
            return key, False
        if value.ndim == 2 and np.array_equal(candidate.ravel(), value.T.ravel()):
            return key, True
    return None


def model_checkpoint(info: ModelInfo) -> Path:
    """The checkpoint of a model: the one in its folder, or what its graphs give, once, in the user's cache.

    Raises:
        WeightsError: the model is a single graph of somebody else, or was exported in another way.
        OutputError: the cache cannot be written.
    """
    if info.io is not None:
        raise WeightsError(
            f"{info.name}: is one graph of somebody else, which torch cannot run; only the onnx backend can"
        )
    path = info.folder / WEIGHTS_FILE
    # Another model's may lie there: the folder was written over, or somebody put it there.
    named = info.details.get("weights")
    if isinstance(named, dict) and path.is_file() and file_sha256(path) == named.get("sha256"):
        return path
    digest = hashlib.sha256("".join(info.sha256[name] for name in sorted(info.sha256)).encode()).hexdigest()
    path = cache_dir() / "recovered" / f"{digest[:32]}.safetensors"
    if not path.is_file():
        logger.info("%s: recovering its weights from the graphs, once, into %s", info.name, path)
        found = recover_checkpoint(info.folder)
        try:
            save_checkpoint(path, found.state, found.config, found.info, shared=True)
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written ({error.strerror}); set FACEMEND_CACHE to another folder"
            ) from error
    return path

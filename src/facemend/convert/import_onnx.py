"""ONNX files of others into the user's cache: one graph, kept as it is, checked and described.

The first run happens in a process of its own with a limit on memory and time, so that a graph that eats
memory, never ends or crashes the runtime costs that process only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facemend.errors import FacemendError, WeightsError, one_line
from facemend.files import file_sha256
from facemend.predictors.single_graph import WholeGraph
from facemend.runtime.onnx import OnnxRunner
from facemend.weights.models import (
    DEFAULT_W,
    DESCRIPTION_FILE,
    WHOLE,
    GraphIO,
    ModelInfo,
    models_dir,
    read_model,
)
from facemend.weights.store import model_name, new_model, source_of
from facemend.weights.weight_files import check_onnx, weight_kind

GRAPH_FILE = "model.onnx"
MEMORY_BYTES = 12 << 30
"""Address space of the process that makes the first run; the published network needs a quarter of it."""
SECONDS = 600
USUAL_SIZE = 512
"""Side of the picture where the graph leaves it open."""
LARGEST = 10.0
"""Largest value of a result: pictures are in [-1, 1], of which a network oversteps a little."""
W_EFFECT = 1e-4
"""Mean change of the result from w = 0 to w = 1 below which w counts as fixed."""
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
_CHILD = "import sys; from facemend.convert.import_onnx import main; main(sys.argv[1])"


@dataclass(frozen=True)
class Probe:
    """What the first run of a graph has shown: how to feed it, the side of its pictures, whether w acts."""

    io: GraphIO
    size: int
    live: bool


def import_onnx(
    file: Path,
    *,
    name: str | None = None,
    task: str | None = None,
    licence: str = "not stated",
    description: str = "",
) -> ModelInfo:
    """Import an ONNX file: one graph, RGB picture [-1, 1] (and w) in, RGB picture [-1, 1] out.

    Args:
        file: the graph; it is only read.
        name: of the model; None: after the file.
        task: restoration (default), colorization or inpainting.
        licence: of the weights.
        description: one line; empty: says which file it was.

    Returns:
        The model in the user's cache; its `w` is "fixed" where w has no effect.

    Raises:
        WeightsError: the file is damaged, reaches for other files, or is no such graph.
        OutputError: the name is taken, or the cache cannot be written.
    """
    task = task or "restoration"
    if weight_kind(file) != "onnx":
        raise WeightsError(f"{file}: not an ONNX file")
    digest = file_sha256(file)
    name, source = model_name(name, file, digest), source_of(file, digest)
    with new_model(name) as folder:
        graph = folder / GRAPH_FILE
        shutil.copyfile(file, graph)
        if file_sha256(graph) != digest:
            raise WeightsError(f"{file}: changed while it was read; try again")
        check_onnx(graph, file)
        text = {
            "name": name,
            "description": description or f"imported from {source['file']}",
            "licence": licence,
            "task": task,
            "source": source,
            **_facts(probe(graph, file), task, digest),
        }
        (folder / DESCRIPTION_FILE).write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
        read_model(folder)
    return read_model(models_dir() / name)


def _facts(found: Probe, task: str, digest: str) -> dict[str, Any]:
    """What model.json says of the graph."""
    return {
        "image_size": found.size,
        "template": "ffhq",
        "default_w": DEFAULT_W[task],
        "w": "live" if found.live else "fixed",
        "files": {WHOLE: {"file": GRAPH_FILE, "sha256": digest}},
        "io": asdict(found.io),
    }


def probe(path: Path, origin: Path | str) -> Probe:
    """Run a graph for the first time, apart from this process.

    Args:
        path: the graph, structure checked already.
        origin: what messages call it.

    Raises:
        WeightsError: it cannot be loaded or run, takes or gives something else, or more than is allowed.
    """
    try:
        done = _run_apart(path)
        answer = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise WeightsError(f"{origin}: one face takes longer than {SECONDS} s; not used") from None
    except (IndexError, ValueError):
        said = one_line((done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1])
        raise WeightsError(
            f"{origin}: its first run crashed or needed more than {MEMORY_BYTES >> 30} GiB ({said}); not used"
        ) from None
    if "error" in answer:
        problem = str(answer["error"]).replace(f"{path}: ", "").replace(str(path), str(origin))
        raise WeightsError(f"{origin}: {problem}")
    return Probe(GraphIO(**answer["io"]), answer["size"], answer["live"])


def _run_apart(path: Path) -> subprocess.CompletedProcess[str]:
    """`main` in a process of its own, which finds facemend where this one does."""
    command = [sys.executable, "-P", "-c", _CHILD, str(path)]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False, env=here
    )


def main(path: str) -> None:
    """In the process apart: print what `inspect_graph` finds, or what is wrong, as one line of JSON."""
    _limit_memory()
    sys.stdout.write(f"\n{json.dumps(_answer(Path(path)))}\n")


def _answer(path: Path) -> dict[str, Any]:
    try:
        return asdict(inspect_graph(path))
    except FacemendError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "its first run needs too much memory; not used"}


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows: the limit on time remains
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def inspect_graph(path: Path) -> Probe:
    """Find out how a graph wants to be fed, and run it at w = 0 and w = 1 in this process.

    Raises:
        WeightsError: it takes or gives something else than a restoration graph does.
        BackendError: it cannot be loaded or run.
    """
    runner = _Runner(path)
    io, size = _describe(runner)
    face = np.random.default_rng(0).uniform(-0.8, 0.8, (1, 3, 8, 8)).astype(np.float32)
    face = face.repeat(-(-size // 8), 2).repeat(-(-size // 8), 3)[:, :, :size, :size]
    graph = WholeGraph(runner, io)
    results = [
        graph.run({"face": face, "w": np.full(1, w, np.float32)})["restored"]
        for w in ((0, 1) if io.w else (0,))
    ]
    for result in results:
        if result.shape != face.shape:
            raise WeightsError(f"gives {result.shape} for a face of {face.shape}; not a restoration graph")
        if not np.isfinite(result).all():
            raise WeightsError("gives values that are not numbers; its weights are damaged")
        if np.abs(result).max() > LARGEST:
            raise WeightsError(
                f"gives values up to {np.abs(result).max():.0f}, where pictures lie in [-1, 1]"
            )
    live = len(results) == 2 and float(np.abs(results[1] - results[0]).mean()) > W_EFFECT
    return Probe(io, size, live)


class _Runner(OnnxRunner):
    """Tells the shapes and types of inputs and outputs too."""

    def signature(self) -> tuple[list[Any], list[Any]]:
        return self._session.get_inputs(), self._session.get_outputs()


def _describe(runner: _Runner) -> tuple[GraphIO, int]:
    """Inputs and output of a graph, told apart by their form, and the side of its pictures."""
    inputs, outputs = runner.signature()
    pictures = [node for node in inputs if len(node.shape) == 4]
    weights = [node for node in inputs if len(node.shape) < 2]
    if len(pictures) != 1 or len(weights) > 1 or len(pictures) + len(weights) != len(inputs):
        names = ", ".join(f"{node.name} {node.shape}" for node in inputs)[:200]
        raise WeightsError(f"takes {names or 'nothing'}; a restoration graph takes a picture, and w at most")
    picture, w = pictures[0], weights[0] if weights else None
    batch, channels, *sides = (dim if isinstance(dim, int) else None for dim in picture.shape)
    size = sides[0] or sides[1] or USUAL_SIZE
    form = batch in (1, None) and channels in (3, None) and all(side in (size, None) for side in sides)
    if not form or not 32 <= size <= 2048 or _TYPES.get(picture.type) not in ("float32", "float16"):
        raise WeightsError(
            f"takes {picture.name} {picture.shape} {picture.type}; a restoration graph takes a float picture "
            "[1, 3, S, S] with S from 32 to 2048"
        )
    if w is not None and (w.type not in _TYPES or any(dim != 1 and isinstance(dim, int) for dim in w.shape)):
        raise WeightsError(f"takes {w.name} {w.shape} {w.type}; w is one floating-point number")
    result = next((node.name for node in outputs if len(node.shape) == 4), None)
    if result is None:
        raise WeightsError("gives no picture [1, 3, S, S]; not a restoration graph")
    dial = () if w is None else (w.name, _TYPES[w.type], len(w.shape))
    return GraphIO(picture.name, result, _TYPES[picture.type], *dial), size

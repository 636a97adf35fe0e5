"""How fast and how large the models are; kept apart from their quality, as times differ from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemend.evaluation.graph_cost import graph_cost
from facemend.evaluation.peers import open_peer
from facemend.predictors.restorer import FaceRestorer
from facemend.runtime.cores import usable_cores
from facemend.runtime.devices import CPU
from facemend.runtime.measure import apart, median_seconds, peak_mb, processor
from facemend.weights.models import ModelInfo, find_model

BATCHES = (1, 4, 16)
_HINT = "go on with --no-speed"


def measure_speed(models: Sequence[str], peers: Sequence[str] = (), side: int = 256) -> dict[str, Any]:
    """Measure each model and peer in a process of its own, so that its memory is its own.

    Args:
        models: names or folders.
        peers: as `open_peer` takes them; they are measured with single faces only.
        side: of the faces that peers get, pixels; models get their own size.

    Returns:
        `device`, `cores` and `rows`: name, parameters, gflop (a face, 2 x MAC), ms and faces_per_s by batch
        (median of 5), decode_ms (another w of a known face) and peak_mb of the process (None where the
        system does not tell).

    Raises:
        BackendError: the process died, for example for want of memory.
        FacemendError: a model cannot be used; the message says which and why.
    """
    rows = []
    for name in models:
        times = apart(name, _measure, name, hint=_HINT)
        info = find_model(name)  # its graphs are counted here: that must not add to the memory measured there
        rows.append({"name": info.name, **_cost(info), **times})
    rows += [apart(spec, _measure_peer, spec, side, hint=_HINT) for spec in peers]
    return {"device": processor(), "cores": usable_cores(), "rows": rows}


def _measure(name: str) -> dict[str, Any]:
    info = find_model(name)
    restorer = FaceRestorer.open(info, device=CPU)
    rng = np.random.default_rng(0)
    size = info.image_size
    row: dict[str, Any] = {"ms": {}, "faces_per_s": {}}
    for batch in BATCHES:
        faces = rng.random((batch, size, size, 3), dtype=np.float32)
        seconds = median_seconds(partial(_pass, restorer, faces))
        row["ms"][str(batch)] = round(1000 * seconds, 2)
        row["faces_per_s"][str(batch)] = round(batch / seconds, 2)
    encoded = restorer.encode(rng.random((1, size, size, 3), dtype=np.float32))
    row["decode_ms"] = round(1000 * median_seconds(lambda: restorer.decode(encoded, 0.5)), 2)
    row["peak_mb"] = peak_mb()
    return row


def _pass(restorer: FaceRestorer, faces: NDArray[np.float32]) -> None:
    restorer.decode(restorer.encode(faces), 0.5)


def _measure_peer(spec: str, side: int) -> dict[str, Any]:
    peer = open_peer(spec)
    face = np.random.default_rng(0).random((1, side, side, 3), dtype=np.float32)
    seconds = median_seconds(lambda: peer(face))
    return {
        "name": peer.name,
        "parameters": None,
        "gflop": None,
        "ms": {"1": round(1000 * seconds, 2)},
        "faces_per_s": {"1": round(1 / seconds, 2)},
        "decode_ms": None,
        "peak_mb": peak_mb(),
    }


def _cost(info: ModelInfo) -> dict[str, Any]:
    costs = [graph_cost(path) for path in info.graphs.values()]
    macs = [cost.macs for cost in costs]
    return {
        "parameters": sum(cost.parameters for cost in costs),
        "gflop": None if None in macs else round(2e-9 * sum(m for m in macs if m is not None), 2),
    }

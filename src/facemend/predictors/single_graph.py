"""A model of one graph behind the two halves that `FaceRestorer` runs."""

from __future__ import annotations

import numpy as np

from facemend.errors import BackendError
from facemend.runtime.runner import Arrays, Runner, check_names
from facemend.weights.models import GraphIO


class PassOn:
    """The encode half: nothing can be known of a face before w, so it is kept as it is."""

    input_names = ("image",)
    output_names = ("face",)

    def run(self, inputs: Arrays) -> Arrays:
        """`image` as `face`. See `Runner.run`."""
        check_names("single graph", list(inputs), self.input_names)
        return {"face": inputs["image"]}


class WholeGraph:
    """The decode half: runs the whole graph, one face at a time, as w may be one number for a whole batch.

    Args:
        runner: of the graph.
        io: how it wants to be fed.

    Raises:
        BackendError: the graph has other inputs or outputs than `io` says.
    """

    input_names = ("face", "w")
    output_names = ("restored",)

    def __init__(self, runner: Runner, io: GraphIO) -> None:
        wanted = [name for name in (io.image, io.w) if name is not None]
        check_names("the model's graph", wanted, runner.input_names)
        if io.output not in runner.output_names:
            raise BackendError(f"the model's graph gives {list(runner.output_names)}, not {io.output!r}")
        self._runner = runner
        self._io = io

    def run(self, inputs: Arrays) -> Arrays:
        """Faces (N, 3, S, S) and w (N) -> `restored` (N, 3, S, S) float32. See `Runner.run`."""
        check_names("single graph", list(inputs), self.input_names)
        io = self._io
        restored = []
        for face, w in zip(inputs["face"], inputs["w"], strict=True):
            given = {io.image: face[None].astype(io.dtype)}
            if io.w is not None:
                given[io.w] = np.full((1,) * io.w_rank, w, io.w_dtype)
            restored.append(self._runner.run(given)[io.output].astype(np.float32))
        return {"restored": np.concatenate(restored)}

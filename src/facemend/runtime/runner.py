"""The one door to every graph: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from facemend.errors import BackendError

Array = NDArray[Any]
Arrays = dict[str, Array]


@runtime_checkable
class Runner(Protocol):
    """Runs one graph."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the graph's inputs."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the graph's outputs."""

    def run(self, inputs: Arrays) -> Arrays:
        """Run the graph on exactly its inputs and return all its outputs.

        Raises:
            BackendError: an input is missing, unknown or of a wrong shape or type, or the run failed.
        """


@dataclass(frozen=True)
class Opened:
    """Graphs that were opened together.

    Attributes:
        runners: one a graph, in the order asked for.
        device: where they run.
        notes: what the user should know, such as that a better device did not work.
    """

    runners: tuple[Runner, ...]
    device: str = "cpu"
    notes: tuple[str, ...] = ()


def check_names(what: str, given: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise BackendError unless both hold the same names, in any order."""
    if set(given) != set(wanted):
        raise BackendError(f"{what}: inputs are {sorted(wanted)}, got {sorted(given)}")


class FakeRunner:
    """A runner made from a function, for tests and for trying ideas.

    Args:
        fn: called with the inputs; returns the outputs.
        inputs: names of the inputs.
        outputs: names of the outputs.
    """

    def __init__(self, fn: Callable[[Arrays], Arrays], inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._fn = fn
        self.input_names = tuple(inputs)
        self.output_names = tuple(outputs)

    def run(self, inputs: Arrays) -> Arrays:
        """Call the function. See `Runner.run`."""
        check_names("fake graph", list(inputs), self.input_names)
        outputs = self._fn(inputs)
        if set(outputs) != set(self.output_names):
            raise BackendError(f"fake graph: outputs are {sorted(self.output_names)}, got {sorted(outputs)}")
        return outputs

"""The one door to every graph: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Sequence
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

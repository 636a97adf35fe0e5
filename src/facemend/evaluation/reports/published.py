"""Figures of other people's papers, for the report to print beside ours with the warnings they need.

None of them was measured here. The data is `published.toml`, in which every table says who reported it and
where it was read; a figure that nobody could verify is a missing value there, never a number from memory.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from facemend.evaluation.protocols import protocol as find_protocol

_ARROWS: Mapping[str, Literal["high", "low"]] = {"↑": "high", "↓": "low"}


@dataclass(frozen=True)
class PublishedTable:
    """A table of one publication on one set of pictures. Its rows compare with each other only.

    Attributes:
        id: short name, the same in every release.
        title: heading for a reader.
        source: who reported it and where it was read.
        protocols: names of the protocols (`evaluation.protocols`) whose pictures it was measured on.
        metrics: column labels. Where the network behind a figure differs from ours the label does too, so
            that equal labels mean the same formula.
        better: for each column the better end.
        rows: for each system its name and one figure a column, in the table's own units; None where no
            verified figure exists.
        warnings: what a reader must know before comparing, one or two sentences each.
    """

    id: str
    title: str
    source: str
    protocols: tuple[str, ...]
    metrics: tuple[str, ...]
    better: tuple[Literal["high", "low"], ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    warnings: tuple[str, ...]


def published_tables(protocol: str | None = None) -> tuple[PublishedTable, ...]:
    """The published tables, all of them or those of one protocol.

    Args:
        protocol: name of a protocol; None for every table.

    Returns:
        Tables in a fixed order; empty for a protocol that no paper uses (`facemend-small`, CelebChild).

    Raises:
        ConfigError: if no protocol has that name.
    """
    if protocol is None:
        return _tables()
    name = find_protocol(protocol).name
    return tuple(table for table in _tables() if name in table.protocols)


@cache
def _tables() -> tuple[PublishedTable, ...]:
    file = resources.files("facemend.evaluation.reports").joinpath("published.toml")
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    return tuple(_table(block, data["warnings"]) for block in data["table"])


def _table(block: Mapping[str, Any], sentences: Mapping[str, str]) -> PublishedTable:
    labels = [label.rpartition(" ") for label in block["metrics"]]
    made = {
        "protocols": tuple(find_protocol(name).name for name in block["protocols"]),
        "metrics": tuple(label for label, _, _ in labels),
        "better": tuple(_ARROWS[arrow] for _, _, arrow in labels),
        "rows": tuple(
            (name, tuple(None if v == "-" else float(v) for v in row)) for name, *row in block["rows"]
        ),
        "warnings": tuple(sentences[key] for key in block["warnings"]),
    }
    return PublishedTable(**{**block, **made})

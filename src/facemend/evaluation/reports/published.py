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

from facemend.errors import ConfigError
from facemend.evaluation.protocols import protocol as find_protocol

_FILE = "published.toml"
_MISSING = "-"
_ARROWS: Mapping[str, Literal["high", "low"]] = {"↑": "high", "↓": "low"}
_KEYS = {"id", "title", "source", "protocols", "metrics", "rows", "warnings"}


@dataclass(frozen=True)
class PublishedRow:
    """One system in a published table.

    Attributes:
        method: its name, as the table prints it.
        values: one figure for each metric of the table, in the table's own units; None where no verified
            figure exists.
    """

    method: str
    values: tuple[float | None, ...]


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
        rows: the systems, each with one value a column.
        warnings: what a reader must know before comparing, one or two sentences each.
        better: for each column the better end, "high" or "low".
    """

    id: str
    title: str
    source: str
    protocols: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[PublishedRow, ...]
    warnings: tuple[str, ...]
    better: tuple[Literal["high", "low"], ...] = ()


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
    text = resources.files("facemend.evaluation").joinpath(_FILE).read_text(encoding="utf-8")
    return parse_tables(text)


def parse_tables(text: str) -> tuple[PublishedTable, ...]:
    """Read tables from the text of `published.toml`.

    Args:
        text: TOML with a `[warnings]` table of key to sentence, and `[[table]]` blocks. Their `metrics` are
            labels that end in an arrow (↑ higher is better, ↓ lower), their `rows` lists of a method and its
            values ("-" for a missing one).

    Raises:
        ConfigError: if a table lacks a key, stands there twice, names an unknown protocol or warning, has a
            label without arrow, or a row with more or fewer values than columns.
    """
    data = tomllib.loads(text)
    tables = tuple(_table(block, data["warnings"]) for block in data["table"])
    ids = [table.id for table in tables]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ConfigError(f"{_FILE}: table {twice[0]!r} stands there twice")
    return tables


def _table(block: Mapping[str, Any], sentences: Mapping[str, str]) -> PublishedTable:
    where = f"{_FILE}: table {block.get('id')!r}"
    if wrong := sorted(set(block) ^ _KEYS):
        raise ConfigError(f"{where}: missing or unknown key {wrong[0]!r}")
    if unknown := [key for key in block["warnings"] if key not in sentences]:
        raise ConfigError(f"{where}: no warning {unknown[0]!r} in [warnings]")
    labels = [label.rpartition(" ") for label in block["metrics"]]
    if bare := [
        label for label, (_, _, arrow) in zip(block["metrics"], labels, strict=True) if arrow not in _ARROWS
    ]:
        raise ConfigError(f"{where}: metric {bare[0]!r} must end in an arrow, {' or '.join(_ARROWS)}")
    return PublishedTable(
        id=block["id"],
        title=block["title"],
        source=block["source"],
        protocols=tuple(find_protocol(name).name for name in block["protocols"]),
        metrics=tuple(label for label, _, _ in labels),
        rows=tuple(_row(cells, len(labels), where) for cells in block["rows"]),
        warnings=tuple(sentences[key] for key in block["warnings"]),
        better=tuple(_ARROWS[arrow] for _, _, arrow in labels),
    )


def _row(cells: list[str | float], columns: int, where: str) -> PublishedRow:
    method, *values = cells
    if len(values) != columns:
        raise ConfigError(f"{where}: {method} has {len(values)} values for {columns} columns")
    return PublishedRow(str(method), tuple(None if v == _MISSING else float(v) for v in values))

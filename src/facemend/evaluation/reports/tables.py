"""The tables of the report as plain data: what stands in each cell, which is best, how a column sorts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from facemend.charts.svg import MINUS
from facemend.evaluation.reports.published import PublishedTable

DASH = "\N{EN DASH}"
SLICE_METRICS = ("lpips", "ids", "niqe")
"""Metrics of the slice tables, where they were measured."""

Better = Literal["high", "low", ""]
Entry = Mapping[str, Any]
"""`mean` of a metric, and `low`, `high` and `n` where they are known."""
_NONE: Entry = {"mean": None}


@dataclass(frozen=True)
class Column:
    """A column of figures.

    Attributes:
        label: its header.
        better: which end is better, "" if neither.
        unit: of the values, "" for a bare number.
        arrow: whether the header shows the direction.
    """

    label: str
    better: Better
    unit: str = ""
    arrow: bool = True


@dataclass(frozen=True)
class Cell:
    """A figure.

    Attributes:
        value: the exact number, None if it was not measured.
        text: as it is shown.
        small: a line beneath: the 95 % interval, or the number of pictures; "" for none.
        best: the best of its column.
        worse: worse than the input on most pictures.
    """

    value: float | None
    text: str
    small: str = ""
    best: bool = False
    worse: bool = False


@dataclass(frozen=True)
class Row:
    """A method: its name, a small note beneath, its figures."""

    name: str
    note: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table of methods by figures.

    Attributes:
        caption: one line.
        columns: one for each cell of a row.
        rows: the methods.
        spans: headers above the columns, (label, columns); empty for none.
        own_rows: rows of another kind, set apart below.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    spans: Sequence[tuple[str, int]] = ()
    own_rows: Sequence[Row] = ()


def decimals(values: Iterable[float | None]) -> int:
    """Decimals that suit a column: about three figures of its largest value."""
    scale = max((abs(v) for v in values if v is not None), default=0.0)
    if scale < 0.1:
        return 3 if scale == 0 else min(8, 2 - math.floor(math.log10(scale)))
    return 3 if scale < 2 else 2 if scale < 100 else 1


def show(value: float | None, places: int) -> str:
    """A number as text: a dash for None, a real minus sign, thin spaces between thousands."""
    if value is None:
        return DASH
    return f"{value:,.{places}f}".replace("-", MINUS).replace(",", "\N{NARROW NO-BREAK SPACE}")


def main_table(results: Mapping[str, Any]) -> Table:
    """Every method by every metric: the mean of the pictures."""
    methods, metrics = results["methods"], results["metrics"]
    columns = [_column(spec) for spec in metrics.values()]
    names = [
        (m["name"], " · ".join(part for part in (m["kind"], m["note"]) if part not in ("", "input")))
        for m in methods
    ]
    return Table(
        "Mean over the pictures, and beneath it the interval that holds the mean with 95 % confidence. "
        "The best of each column is bold.",
        columns,
        _rows(names, columns, [[m["means"][key] for key in metrics] for m in methods]),
    )


def win_table(results: Mapping[str, Any]) -> Table | None:
    """Share of the pictures on which each method beats the input; None without another method."""
    metrics, (baseline, *others) = results["metrics"], results["methods"]
    if not others:
        return None
    rows = []
    for method in others:
        cells = []
        for key, spec in metrics.items():
            wins, n = wins_over(method, baseline, key, spec["higher_is_better"])
            share = wins / n if n else None
            small = f"n = {n}" if n not in (0, len(results["inputs"])) else ""
            text = DASH if share is None else f"{_percent(wins, n)} %"
            cells.append(Cell(share, text, small, worse=share is not None and share < 0.5))
        rows.append(Row(method["name"], "", tuple(cells)))
    return Table(
        "Share of the pictures that a method makes better than the input as given; "
        "below half (underlined) it does more harm than good by that metric.",
        [Column(spec["label"], "high", arrow=False) for spec in metrics.values()],
        rows,
    )


def wins_over(
    method: Mapping[str, Any], other: Mapping[str, Any], key: str, higher_is_better: bool
) -> tuple[int, int]:
    """On how many pictures `method` is strictly better than `other`, picture by picture.

    Returns:
        The number of those pictures, and of all that have both values.
    """
    pairs = zip(method["values"][key], other["values"][key], strict=True)
    wins = [a > b if higher_is_better else a < b for a, b in pairs if a is not None and b is not None]
    return sum(wins), len(wins)


def _percent(part: int, whole: int) -> int:
    """Rounded, but 0 and 100 only where they are exact."""
    rounded = round(100 * part / whole)
    return rounded if part in (0, whole) else min(99, max(1, rounded))


def slice_tables(results: Mapping[str, Any]) -> list[tuple[str, Table]]:
    """For every way of slicing: its name and a table of methods by slice and metric."""
    methods, metrics = results["methods"], results["metrics"]
    keys = [key for key in SLICE_METRICS if key in metrics]
    tables = []
    for group, parts in methods[0]["slices"].items():
        counts = {
            name: max(m["slices"][group][name][key]["n"] for m in methods for key in keys) for name in parts
        }
        columns = [_column(metrics[key]) for _ in parts for key in keys]
        figures = [[m["slices"][group][name][key] for name in parts for key in keys] for m in methods]
        expected = [counts[name] for name in parts for _ in keys]
        table = Table(
            f"Means by {group}, with 95 % intervals; n is the number of pictures.",
            columns,
            _rows([(m["name"], "") for m in methods], columns, figures, expected=expected),
            [(f"{name} (n = {counts[name]})", len(keys)) for name in parts],
        )
        tables.append((group, table))
    return tables


def speed_table(speed: Mapping[str, Any]) -> Table:
    """Size, work, time and memory of every model."""
    rows = speed["rows"]
    batches = sorted({int(b) for row in rows for b in row["ms"]})
    columns = [
        Column("Parameters", "low", "million", arrow=False),
        Column("Work", "low", "GFLOP a face", arrow=False),
        *(Column(f"Time, batch {b}", "low", "ms a batch") for b in batches),
        Column("Another w", "low", "ms a face"),
        *(Column(f"Throughput, batch {b}", "high", "faces/s") for b in batches),
        Column("Peak memory", "low", "MB"),
    ]
    values = [
        [
            None if row["parameters"] is None else row["parameters"] / 1e6,
            row["gflop"],
            *(row["ms"].get(str(b)) for b in batches),
            row["decode_ms"],
            *(row["faces_per_s"].get(str(b)) for b in batches),
            row["peak_mb"],
        ]
        for row in rows
    ]
    return Table(
        f"Speed on {speed['device']}, {speed['cores']} cores. "
        "“Another w” is the time for the same face again with another w.",
        columns,
        _rows([(row["name"], "") for row in rows], columns, [[{"mean": v} for v in line] for line in values]),
    )


def published_table(table: PublishedTable, results: Mapping[str, Any]) -> Table:
    """A published table, with our own rows below it for the columns that carry the same label."""
    columns = [Column(*pair) for pair in zip(table.metrics, table.better, strict=True)]
    figures = [[{"mean": value} for value in values] for _, values in table.rows]
    rows = _rows([(name, "") for name, _ in table.rows], columns, figures, _written_decimals)
    keys = {spec["label"]: key for key, spec in results["metrics"].items()}
    ours: Sequence[Row] = ()
    if any(label in keys for label in table.metrics):
        methods = results["methods"]
        own = [[m["means"].get(keys.get(label), _NONE) for label in table.metrics] for m in methods]
        ours = _rows([(m["name"], "") for m in methods], columns, own)
    return Table(f"Published figures: {table.title}.", columns, rows, own_rows=ours)


def _written_decimals(values: Iterable[float | None]) -> int:
    """As many decimals as the source wrote: published figures are not rounded again."""
    texts = (repr(value) for value in values if value is not None)
    return max((len(text.partition(".")[2]) for text in texts if text[-2:] != ".0"), default=0)


def _column(spec: Mapping[str, Any]) -> Column:
    return Column(spec["label"], "high" if spec["higher_is_better"] else "low", spec["unit"])


def _rows(
    names: Sequence[tuple[str, str]],
    columns: Sequence[Column],
    figures: Sequence[Sequence[Entry]],
    rule: Callable[[Iterable[float | None]], int] = decimals,
    expected: Sequence[int] = (),
) -> list[Row]:
    """Figures as cells: one number of decimals for each column, its best marked.

    Args:
        names: and notes of the rows.
        columns: of the table.
        figures: a row for each name.
        rule: decimals for the values of a column.
        expected: pictures behind each column; a figure of fewer says so.
    """
    cells: list[list[Cell]] = []
    for number, (column, entries) in enumerate(zip(columns, zip(*figures, strict=True), strict=True)):
        places = rule(entry.get(part) for entry in entries for part in ("mean", "low", "high"))
        known = [entry["mean"] for entry in entries if entry["mean"] is not None]
        best = (max if column.better == "high" else min)(known) if len(known) > 1 else None
        count = expected[number] if expected else None
        cells.append([_cell(entry, places, best, count) for entry in entries])
    return [Row(*name, row) for name, row in zip(names, zip(*cells, strict=True), strict=True)]


def _cell(entry: Entry, places: int, best: float | None, count: int | None) -> Cell:
    value = entry["mean"]
    notes = []
    if entry.get("low") is not None:
        notes.append(f"{show(entry['low'], places)} {DASH} {show(entry['high'], places)}")
    if value is not None and count is not None and entry["n"] != count:
        notes.append(f"n = {entry['n']}")
    return Cell(value, show(value, places), ", ".join(notes), best=value is not None and value == best)

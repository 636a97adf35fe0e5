"""The tables of the report as plain data: what stands in each cell, which is best, how a column sorts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from facemend.evaluation.reports.published import PublishedTable
from facemend.svg import MINUS

DASH = "\N{EN DASH}"
SLICE_METRICS = ("lpips", "ids", "niqe")
"""Metrics of the slice tables, where they were measured."""

Better = Literal["high", "low", ""]
_ARROWS: dict[Better, str] = {"high": "↑", "low": "↓", "": ""}


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
    better: Better = ""
    unit: str = ""
    arrow: bool = True

    @property
    def sign(self) -> str:
        """Arrow towards the better end, or ""."""
        return _ARROWS[self.better] if self.arrow else ""


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
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    spans: tuple[tuple[str, int], ...] = ()
    own_rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class _Figure:
    """What was measured for one cell."""

    value: float | None
    low: float | None = None
    high: float | None = None
    small: str = ""


def number(value: Any) -> float | None:
    """The value as a float; None for null, not-a-number and anything that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value)


def decimals(values: Iterable[float | None]) -> int:
    """Decimals that suit a column: about three figures of its largest value."""
    scale = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
    if scale < 0.1:
        return 3 if scale == 0 else min(8, 2 - math.floor(math.log10(scale)))
    return 3 if scale < 2 else 2 if scale < 100 else 1


def show(value: float | None, places: int) -> str:
    """A number as text: a dash for None, a real minus sign, thin spaces between thousands."""
    if value is None:
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    return f"{value:,.{places}f}".replace("-", MINUS).replace(",", "\N{NARROW NO-BREAK SPACE}")


def mean_of(means: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The entry of a metric in "means" or in a slice; empty where it is missing or null."""
    entry = means.get(key)
    return entry if isinstance(entry, Mapping) and number(entry.get("mean")) is not None else {}


def main_table(results: Mapping[str, Any]) -> Table:
    """Every method by every metric: the mean of the pictures, and the measures of the whole set."""
    methods, metrics, of_set = results["methods"], results["metrics"], results.get("set_metrics", {})
    figures = [
        [_mean(m["means"], key) for key in metrics]
        + [_Figure(number((m.get("set") or {}).get(key))) for key in of_set]
        for m in methods
    ]
    columns = [_column(spec) for spec in (*metrics.values(), *of_set.values())]
    return Table(
        "Mean over the pictures, and beneath it the interval that holds the mean with 95 % confidence. "
        "The best of each column is bold.",
        tuple(columns),
        _rows([(m["name"], _note(m)) for m in methods], columns, figures),
    )


def win_table(results: Mapping[str, Any]) -> Table | None:
    """Share of the pictures on which each method beats the input; None without another method."""
    methods, metrics = results["methods"], results["metrics"]
    baseline, others = methods[0], methods[1:]
    if not others:
        return None
    total = len(results["inputs"])
    rows = []
    for method in others:
        cells = []
        for key, spec in metrics.items():
            wins, n = wins_over(method, baseline, key, spec["higher_is_better"])
            share = wins / n if n else None
            small = f"n = {n}" if n not in (0, total) else ""
            text = DASH if share is None else f"{_percent(wins, n)} %"
            cells.append(Cell(share, text, small, worse=share is not None and share < 0.5))
        rows.append(Row(method["name"], "", tuple(cells)))
    return Table(
        "Share of the pictures that a method makes better than the input as given; "
        "below half (underlined) it does more harm than good by that metric.",
        tuple(Column(spec["label"], "high", arrow=False) for spec in metrics.values()),
        tuple(rows),
    )


def wins_over(
    method: Mapping[str, Any], other: Mapping[str, Any], key: str, higher_is_better: bool
) -> tuple[int, int]:
    """On how many pictures `method` is strictly better than `other`, picture by picture.

    Returns:
        The number of those pictures, and of all that have both values.
    """
    sign = 1 if higher_is_better else -1
    mine, theirs = (m["values"].get(key) or [] for m in (method, other))
    pairs = [(number(a), number(b)) for a, b in zip(mine, theirs, strict=False)]
    wins = [sign * a > sign * b for a, b in pairs if a is not None and b is not None]
    return sum(wins), len(wins)


def _percent(part: int, whole: int) -> int:
    """Rounded, but 0 and 100 only where they are exact."""
    rounded = round(100 * part / whole)
    return rounded if part in (0, whole) else min(99, max(1, rounded))


def slice_tables(results: Mapping[str, Any]) -> list[tuple[str, Table]]:
    """For every way of slicing: its name and a table of methods by slice and metric."""
    methods, metrics = results["methods"], results["metrics"]
    keys = [key for key in SLICE_METRICS if key in metrics] or list(metrics)[:3]
    groups = list(dict.fromkeys(group for m in methods for group in m.get("slices") or {}))
    tables = []
    for group in groups:
        parts = [(m.get("slices") or {}).get(group) or {} for m in methods]
        names = list(dict.fromkeys(name for part in parts for name in part))
        counts = {
            name: max(_count(part.get(name) or {}, key) for part in parts for key in keys) for name in names
        }
        columns = [_column(metrics[key]) for _ in names for key in keys]
        figures = [
            [_mean(part.get(name) or {}, key, counts[name]) for name in names for key in keys]
            for part in parts
        ]
        table = Table(
            f"Means by {group}, with 95 % intervals; n is the number of pictures.",
            tuple(columns),
            _rows([(m["name"], "") for m in methods], columns, figures),
            tuple((f"{name} (n = {counts[name]})", len(keys)) for name in names),
        )
        tables.append((group, table))
    return tables


def speed_table(speed: Mapping[str, Any]) -> Table:
    """Size, work, time and memory of every model."""
    rows = speed["rows"]
    batches = sorted({int(b) for row in rows for b in (*row["ms"], *row["faces_per_s"])})
    columns = [
        Column("Parameters", "low", "million", arrow=False),
        Column("Work", "low", "GFLOP a face", arrow=False),
        *(Column(f"Time, batch {b}", "low", "ms a batch") for b in batches),
        Column("Another w", "low", "ms a face"),
        *(Column(f"Throughput, batch {b}", "high", "faces/s") for b in batches),
        Column("Peak memory", "low", "MB"),
    ]
    figures = []
    for row in rows:
        parameters = number(row.get("parameters"))
        values = [
            None if parameters is None else parameters / 1e6,
            row.get("gflop"),
            *(row["ms"].get(str(b)) for b in batches),
            row.get("decode_ms"),
            *(row["faces_per_s"].get(str(b)) for b in batches),
            row.get("peak_mb"),
        ]
        figures.append([_Figure(number(value)) for value in values])
    return Table(
        f"Speed on {speed['device']}, {speed['cores']} cores. "
        "“Another w” is the time for the same face again with another w.",
        tuple(columns),
        _rows([(row["name"], "") for row in rows], columns, figures),
    )


def published_table(table: PublishedTable, results: Mapping[str, Any]) -> Table:
    """A published table, with our own rows below it for the columns that carry the same label."""
    labels = [label.rstrip(" ↑↓") for label in table.metrics]
    better: dict[str, Better] = {"↑": "high", "↓": "low"}
    columns = [
        Column(label, better.get(text[-1:], "")) for label, text in zip(labels, table.metrics, strict=True)
    ]
    figures = [[_Figure(number(value)) for value in row.values] for row in table.rows]
    rows = _rows([(row.method, "") for row in table.rows], columns, figures, _written_decimals)
    keys = {spec["label"].casefold(): key for key, spec in results["metrics"].items()}
    methods = results["methods"]
    ours: tuple[Row, ...] = ()
    if any(label.casefold() in keys for label in labels):
        own = [[_mean(m["means"], keys.get(label.casefold(), "")) for label in labels] for m in methods]
        ours = _rows([(m["name"], "") for m in methods], columns, own)
    return Table(f"Published figures: {table.title}.", tuple(columns), rows, own_rows=ours)


def _written_decimals(values: Iterable[float | None]) -> int:
    """As many decimals as the source wrote: published figures are not rounded again."""
    texts = (repr(value) for value in values if value is not None)
    return max((len(text.partition(".")[2]) for text in texts if text[-2:] != ".0"), default=0)


def _column(spec: Mapping[str, Any]) -> Column:
    return Column(spec["label"], "high" if spec["higher_is_better"] else "low", spec.get("unit") or "")


def _note(method: Mapping[str, Any]) -> str:
    kind = "" if method["kind"] == "input" else method["kind"]
    return " · ".join(part for part in (kind, method.get("note")) if part)


def _count(means: Mapping[str, Any], key: str) -> int:
    return int(mean_of(means, key).get("n") or 0)


def _mean(means: Mapping[str, Any], key: str, expected: int | None = None) -> _Figure:
    """The figure of one metric; says its number of pictures where it is not the expected one."""
    entry = mean_of(means, key)
    n = entry.get("n")
    small = f"n = {n}" if entry and expected is not None and n != expected else ""
    mean, low, high = (number(entry.get(part)) for part in ("mean", "low", "high"))
    return _Figure(mean, low, high, small)


def _rows(
    names: Sequence[tuple[str, str]],
    columns: Sequence[Column],
    figures: Sequence[Sequence[_Figure]],
    rule: Callable[[Iterable[float | None]], int] = decimals,
) -> tuple[Row, ...]:
    """Figures as cells: one number of decimals for each column, its best marked."""
    cells: list[list[Cell]] = []
    for column, figs in zip(columns, zip(*figures, strict=True), strict=True):
        places = rule(part for f in figs for part in (f.value, f.low, f.high))
        known = [f.value for f in figs if f.value is not None]
        best = {"high": max, "low": min}.get(column.better)
        top = best(known) if best and len(known) > 1 else None
        cells.append([replace(_cell(f, places), best=top is not None and f.value == top) for f in figs])
    by_row = zip(*cells, strict=True) if cells else (() for _ in names)
    return tuple(Row(name, note, tuple(row)) for (name, note), row in zip(names, by_row, strict=True))


def _cell(figure: _Figure, places: int) -> Cell:
    small = figure.small
    if figure.value is not None and figure.low is not None and figure.high is not None:
        interval = f"{show(figure.low, places)} {DASH} {show(figure.high, places)}"
        small = f"{interval}, {small}" if small else interval
    return Cell(figure.value, show(figure.value, places), small)

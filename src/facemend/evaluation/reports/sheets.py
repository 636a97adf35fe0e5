"""Contact sheets: the best, the median and the worst faces of a run, every method side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from facemend.evaluation.cases import Entry, Pixels, load_case
from facemend.evaluation.methods import Group
from facemend.evaluation.options import EvaluationOptions
from facemend.evaluation.reports.report import Sheet
from facemend.imaging import resize, to_float
from facemend.photo.compare import contact_sheet

FACES = 3
SIDE = 160
LABEL = 20
"""Letters that fit over a cell."""


def make_sheets(
    results: Mapping[str, Any], entries: Sequence[Entry], groups: Sequence[Group], options: EvaluationOptions
) -> list[Sheet]:
    """Restore the chosen faces once more and lay them out; one sheet each for best, median and worst.

    Args:
        results: as `suite.summarise` gives them.
        entries: the cases, in the order of the results.
        groups: the methods.
        options: of the run.
    """
    metric = "lpips" if options.reference else "niqe"
    main = main_method(results)
    values = main["values"][metric]
    known = [number for number, value in enumerate(values) if value is not None]
    order = sorted(known, key=lambda number: (values[number], entries[number].name))
    label = results["metrics"][metric]["label"]
    count = max(1, min(FACES, len(order) // 3))  # in small sets too, no face stands in two sheets
    middle = (len(order) - count) // 2
    chosen = {
        "Best": order[:count],
        "Median": order[middle : middle + count],
        "Worst": order[::-1][:count],
    }
    sheets = []
    for title, numbers in chosen.items():
        if not numbers:
            continue
        names = [f"{entries[n].name} ({label} {values[n]:.3f})" for n in numbers]
        caption = f"By {label} of {main['name']}: {'; '.join(names)}."
        picture = _sheet([entries[n] for n in numbers], groups, options)
        sheets.append(Sheet(f"{title} faces", caption, picture))
    return sheets


def main_method(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """The method that a report is about: the first model at the w nearest 0.5, else the last row."""
    methods: Sequence[Mapping[str, Any]] = results["methods"]
    models = [method for method in methods if method["kind"] == "model"]
    if not models:
        return methods[-1]
    first = [method for method in models if method["model"] == models[0]["model"]]
    return min(first, key=lambda method: 1 if method["w"] is None else abs(method["w"] - 0.5))


def _sheet(entries: Sequence[Entry], groups: Sequence[Group], options: EvaluationOptions) -> Any:
    cells: list[Pixels] = []
    labels: list[str] = []
    columns = 0
    for entry in entries:
        case = load_case(entry, options)
        row = [picture for group in groups for picture in group.run(entry, case)]
        names = [method.name for group in groups for method in group.methods]
        if case.hq is not None:
            row.append(case.hq)
            names.append("original")
        cells += row
        labels += [_short(name) for name in names]
        columns = len(row)
    images = [resize(to_float(cell), (SIDE, SIDE), "bicubic") for cell in cells]
    return contact_sheet(images, labels, columns=columns)


def _short(name: str) -> str:
    """A label that fits over a small cell; w, by which the rows of a model differ, is kept."""
    head, separator, w = name.rpartition(" w=")
    if not separator:
        return name[:LABEL]
    return head[: LABEL - len(separator + w)] + separator + w

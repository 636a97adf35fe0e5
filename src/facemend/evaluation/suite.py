"""The benchmark: every method on every picture, then one results.json and one report.html."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from facemend import __version__
from facemend.errors import ExistsError, OutputError
from facemend.evaluation.cases import Entry, common_size, describe, few, find_entries, load_case, usable
from facemend.evaluation.methods import Group, Method, open_groups
from facemend.evaluation.options import EvaluationOptions
from facemend.evaluation.reports.published import published_tables
from facemend.evaluation.reports.report import render
from facemend.evaluation.reports.sheets import make_sheets
from facemend.evaluation.scoring import Scorer, describe_metric, metric_weights, metrics_of
from facemend.evaluation.speed import measure_speed
from facemend.evaluation.store import FILE, Store
from facemend.evaluation.summary import means, slices, strengths
from facemend.files import place
from facemend.photo.timing import processor, versions

logger = logging.getLogger(__name__)

RESULTS, REPORT, SPEED = "results.json", "report.html", "speed.json"
SCHEMA = 1
_PACKAGES = ("numpy", "torch", "onnxruntime", "opencv-python-headless", "pillow", "spandrel")

Row = dict[str, Any]
Progress = Callable[[], None]


def evaluate(
    options: EvaluationOptions,
    *,
    overwrite: bool = False,
    on_start: Callable[[int, int], Progress] | None = None,
) -> Row:
    """Measure, summarise, write; a run that was interrupted goes on where it stopped.

    Args:
        options: what to do.
        overwrite: whether the folder's earlier evaluation of something else may be replaced.
        on_start: told how many cases there are and how many of them are done already; gives a function to
            call after each case.

    Returns:
        The content of results.json.

    Raises:
        FacemendError: pictures, models, weights or the folder cannot be used; the message says which and why.
    """
    listed = find_entries(options)
    entries = usable(listed, options)
    options = replace(options, size=common_size(entries, options), notes=_notes(options, listed, entries))
    groups = open_groups(options, entries)
    methods = [method for group in groups for method in group.methods]
    scorer = Scorer(options.reference, options.full, options.device)
    facts = _facts(options, entries, methods)
    _check_others(options.out, overwrite=overwrite)
    store = Store(options.out, facts, overwrite=overwrite)

    todo = [entry for entry in entries if entry.name not in store.done]
    done = on_start(len(entries), len(entries) - len(todo)) if on_start else lambda: None
    for entry in todo:
        case = load_case(entry, options)
        pictures = [picture for group in groups for picture in group.run(entry, case)]
        found = scorer.score(case, pictures)
        values = {m.name: {key: column[k] for key, column in found.items()} for k, m in enumerate(methods)}
        store.add(entry.name, {"values": values, "plan": case.plan, "pixels": case.digest})
        done()

    results = summarise(facts, [store.done[entry.name] for entry in entries])
    results["title"] = options.title or options.protocol or options.faces.name
    results["protocol"]["command"] = options.command
    _write_json(options.out / RESULTS, results)
    speed = _speed(options, groups) if options.speed else None
    sheets = make_sheets(results, entries, groups, options)
    tables = published_tables(options.protocol or None) or published_tables()
    page = render(results, speed=speed, sheets=sheets, published=tables)
    _write(options.out / REPORT, page)
    return results


def summarise(facts: Mapping[str, Any], rows: Sequence[Row]) -> Row:
    """The results from what was measured; the same rows give the same results, bit for bit.

    Args:
        facts: what decides the figures: protocol, versions, hashes, inputs, methods.
        rows: one a case, in the order of `facts["inputs"]`.
    """
    results: Row = json.loads(json.dumps(facts))  # a copy that may be changed, in the same order
    names = [method["name"] for method in results["methods"]]
    columns = {
        name: {metric: [row["values"][name][metric] for row in rows] for metric in results["metrics"]}
        for name in names
    }
    labels = [dict(case["labels"]) for case in results["inputs"]]
    difficulty = columns[names[0]]["lpips" if results["protocol"]["kind"] == "full-reference" else "niqe"]
    for label, strength in zip(labels, strengths(difficulty), strict=True):
        if strength:
            label["strength"] = strength
    for case, label, row in zip(results["inputs"], labels, rows, strict=True):
        case |= {"labels": label, "plan": row["plan"], "pixels": row["pixels"]}
    for method in results["methods"]:
        columns_here = columns[method["name"]]
        method |= {
            "values": columns_here,
            "means": means(columns_here),
            "slices": slices(columns_here, labels),
        }
    return results


def _check_others(folder: Path, *, overwrite: bool) -> None:
    """A folder without an evaluation may have files of these names, such as the report of a training."""
    if overwrite or (folder / FILE).exists():
        return
    for name in (RESULTS, REPORT, SPEED):
        if (folder / name).exists():
            raise ExistsError(folder / name)


def _facts(options: EvaluationOptions, entries: Sequence[Entry], methods: Sequence[Method]) -> Row:
    """Everything that decides the figures; no time, no place."""
    metrics = metrics_of(options.reference, options.full)
    return {
        "schema": SCHEMA,
        "facemend": __version__,
        "protocol": {
            "name": options.protocol or "own",
            "kind": "full-reference" if options.reference else "no-reference",
            "size": options.size,
            "crop": "whole aligned face",
            "degradation": options.preset if options.degrades else None,
            "seed": options.seed if options.degrades else None,
            "notes": list(options.notes),
        },
        "versions": versions(_PACKAGES)
        | {"machine": platform.machine(), "threads": str(torch.get_num_threads()), "device": options.device},
        "weights": metric_weights(options.reference),
        "metrics": {name: describe_metric(metric) for name, metric in metrics.items()},
        "inputs": [describe(entry, options) for entry in entries],
        "methods": [method.row() for method in methods],
    }


def _notes(options: EvaluationOptions, listed: Sequence[Entry], entries: Sequence[Entry]) -> tuple[str, ...]:
    notes = list(options.notes)
    if options.every > 1:
        notes.append(f"Only one face in {options.every} was taken, in the order of names.")
    if options.incomplete and options.lq is not None:
        notes.append("Faces without a damaged partner, if there were any, are left out.")
    kept = {entry.name for entry in entries}
    if left := [entry.name for entry in listed if entry.name not in kept]:
        notes.append(f"Left out, as they cannot be read or are no aligned faces: {few(left)}.")
    return (*notes, "Every picture is rounded to 8 bits before it is measured.")


def _speed(options: EvaluationOptions, groups: Sequence[Group]) -> Row | None:
    """Times of the models: measured once for a folder and a machine, as they differ from run to run."""
    models = [
        [method.model, dict(method.weights)]
        for group in groups
        for method in group.methods[:1]
        if method.model
    ]
    path = options.out / SPEED
    side = options.size or 256
    asked = {"models": models, "peers": list(options.peers), "side": side}
    if not models and not options.peers:
        return None
    if path.is_file():
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            if all(held[key] == value for key, value in asked.items()) and held["device"] == processor():
                return dict(held)
        except (OSError, ValueError, TypeError, KeyError):
            logger.info("%s: damaged, measured again", path)
    speed = measure_speed(options.models, options.peers, side) | asked
    _write_json(path, speed)
    return speed


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    _write(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def _write(path: Path, text: str) -> None:
    try:
        place(path, text.encode(), overwrite=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error

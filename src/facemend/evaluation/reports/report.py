"""The report of an evaluation: one HTML page that needs nothing but itself.

The page is written by a jinja2 template with autoescape on; style and script lie inline and are allowed by
their hashes in a content security policy that forbids everything else, so the page cannot load anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from facemend.errors import InputError, OutputError
from facemend.evaluation.reports import charts
from facemend.evaluation.reports.published import PublishedTable
from facemend.evaluation.reports.tables import (
    decimals,
    main_table,
    mean_of,
    number,
    published_table,
    show,
    slice_tables,
    speed_table,
    win_table,
    wins_over,
)
from facemend.files import place
from facemend.imaging import Picture, encode_picture

SCHEMA = 1
"""The form of results.json that is understood."""

MAX_INPUTS = 500
"""Pictures listed by name; the rest stands in results.json alone."""

_JPEG_QUALITY = 90
_QUALITY, _FIDELITY = "lpips", "ids"


@dataclass(frozen=True, eq=False)
class Sheet:
    """A contact sheet.

    Attributes:
        title: a heading of a few words.
        caption: what is seen, which method stands where; also the text for those who cannot see it.
        picture: the sheet; written as JPEG without its EXIF block.
    """

    title: str
    caption: str
    picture: Picture


def write_report(
    path: Path,
    results: Mapping[str, Any],
    *,
    speed: Mapping[str, Any] | None,
    sheets: Sequence[Sheet],
    published: Sequence[PublishedTable],
) -> None:
    """Write the report of a run. An existing file is replaced; the new one appears whole or not at all.

    Args:
        path: the HTML file; its folder must exist.
        results: what results.json holds, schema 1; the first method is the input.
        speed: what speed.json holds, None without one.
        sheets: contact sheets, in the order of the page.
        published: tables of papers that belong to the protocol.

    Raises:
        InputError: results of another schema, or without methods or metrics.
        OutputError: the file cannot be written.
    """
    data = render(results, speed=speed, sheets=sheets, published=published).encode()
    try:
        place(path, data, overwrite=True)
    except FileNotFoundError:
        raise OutputError(f"{path}: its folder does not exist: make it first") from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def render(
    results: Mapping[str, Any],
    *,
    speed: Mapping[str, Any] | None,
    sheets: Sequence[Sheet],
    published: Sequence[PublishedTable],
) -> str:
    """The page as text; see `write_report`."""
    if results.get("schema") != SCHEMA:
        raise InputError(
            f"results of schema {results.get('schema')!r}: this version reads {SCHEMA}; evaluate again"
        )
    if not results["methods"] or not results["metrics"]:
        raise InputError("results without methods or metrics make no report: evaluate again")
    style, script = (_text(f"report.{kind}") for kind in ("css", "js"))
    environment = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        results=results,
        style=Markup(style),
        script=Markup(script),
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        summary=summarise(results),
        main=main_table(results),
        wins=win_table(results),
        curve=_curve(results),
        multiples=_multiples(results),
        legend=[series.name for series in _lines(results, next(iter(results["metrics"])), None)],
        sheets=[_embedded(sheet) for sheet in sheets],
        slices=slice_tables(results),
        speed=None if speed is None else speed_table(speed),
        published=[(table, published_table(table, results)) for table in published],
        hashes=_hashes(results),
        max_inputs=MAX_INPUTS,
    )


def summarise(results: Mapping[str, Any]) -> list[str]:
    """The result in a few plain sentences, all of their numbers taken from the results."""
    metrics, methods = results["metrics"], results["methods"]
    key = _QUALITY if _QUALITY in metrics else next(iter(metrics))
    sentences = _headline(results, key)
    if key != _FIDELITY and _FIDELITY in metrics and (ranked := _ranked(methods, metrics, _FIDELITY)):
        best, _, text = ranked[0]
        others = [entry for entry in ranked if entry[0] is not methods[0]]
        if best is methods[0]:
            sentences.append(
                f"By {metrics[_FIDELITY]['label']} no method is closer to the true person than the input "
                f"({text})" + (f"; next is {others[0][0]['name']} ({others[0][2]})." if others else ".")
            )
        else:
            sentences.append(
                f"Closest to the true person by {metrics[_FIDELITY]['label']} is {best['name']} ({text})."
            )
    if results["protocol"]["kind"] == "no-reference":
        sentences.append(
            "There was no ground truth: nothing here tells whether a face is still that of the same person."
        )
    return sentences


def _headline(results: Mapping[str, Any], key: str) -> list[str]:
    """Who is best by one metric, by how much, and how many models beat the input."""
    metrics, methods = results["metrics"], results["methods"]
    spec, baseline = metrics[key], methods[0]
    ranked = _ranked(methods, metrics, key)
    if not ranked:
        return [f"{spec['label']} could not be measured for any method."]
    best, _, text = ranked[0]
    count = len(results["inputs"])
    pictures = "1 picture" if count == 1 else f"{count} pictures"
    first = f"Over {pictures}, {best['name']} has the best {spec['label']} ({text}"
    level = next((entry for entry in ranked if entry[0] is baseline), None)
    if best is not baseline and level is not None:
        wins, n = wins_over(best, baseline, key, spec["higher_is_better"])
        first += f"; the input has {level[2]}) and is better than the input on {wins} of {n}"
    else:
        first += ")"
    sentences = [first + "."]
    models = [entry for entry in ranked if entry[0]["kind"] == "model"]
    if level is not None and models:
        ahead = sum(
            entry[1] > level[1] if spec["higher_is_better"] else entry[1] < level[1] for entry in models
        )
        if len(models) == 1:
            verb = "has a better mean than" if ahead else "does not beat"
            sentences.append(f"The one model setting measured {verb} the input.")
        else:
            sentences.append(f"{ahead} of {len(models)} model settings have a better mean than the input.")
    return sentences


def _ranked(
    methods: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], key: str
) -> list[tuple[Mapping[str, Any], float, str]]:
    """(method, mean, mean as text), the best first; methods that were not measured are left out."""
    known = [(m, _mean(m, key)) for m in methods]
    places = decimals(value for _, value in known)
    entries = [(m, value, show(value, places)) for m, value in known if value is not None]
    return sorted(entries, key=lambda e: -e[1] if metrics[key]["higher_is_better"] else e[1])


def _mean(method: Mapping[str, Any], key: str) -> float | None:
    return number(mean_of(method["means"], key).get("mean"))


def _axis(spec: Mapping[str, Any]) -> charts.Axis:
    unit = f", {spec['unit']}" if spec.get("unit") else ""
    return charts.Axis(f"{spec['label']}{unit}", spec["higher_is_better"])


def _lines(results: Mapping[str, Any], y: str, x: str | None) -> list[charts.Series]:
    """For every model with a w: its means of `y` against those of `x`, or against w, in the order of w.

    Models without a point keep their (empty) line, so that each has one colour on the whole page.
    """
    metrics = results["metrics"]
    places = {key: decimals(_mean(m, key) for m in results["methods"]) for key in metrics}
    lines: dict[str, list[tuple[float, charts.Point]]] = {}
    for method in results["methods"]:
        if method["kind"] != "model" or (w := number(method.get("w"))) is None:
            continue
        line = lines.setdefault(method.get("model") or method["name"], [])
        up, across = _mean(method, y), w if x is None else _mean(method, x)
        if up is None or across is None or up in _INFINITE or across in _INFINITE:
            continue
        keys = (y,) if x is None else (y, x)
        shown = ((metrics[key]["label"], show(_mean(method, key), places[key])) for key in keys)
        detail = f"w = {w:g}: " + ", ".join(f"{label} {text}" for label, text in shown)
        entry = mean_of(method["means"], y)
        ends = number(entry.get("low")), number(entry.get("high"))
        line.append((w, charts.Point(f"w={w:g}", across, up, detail, *ends)))
    ordered = ((name, sorted(points, key=lambda p: p[0])) for name, points in lines.items())
    return [charts.Series(name, tuple(point for _, point in points)) for name, points in ordered]


_INFINITE = (float("inf"), float("-inf"))


def _curve(results: Mapping[str, Any]) -> Markup | None:
    """LPIPS against IDS over w; None unless some model was measured at two values of w."""
    metrics = results["metrics"]
    if _QUALITY not in metrics or _FIDELITY not in metrics:
        return None
    lines = _lines(results, _QUALITY, _FIDELITY)
    if not any(len(line.points) > 1 for line in lines):
        return None
    places = {key: decimals(_mean(m, key) for m in results["methods"]) for key in (_QUALITY, _FIDELITY)}
    marks = []
    for method in results["methods"]:
        single = method["kind"] != "model" or number(method.get("w")) is None
        quality, fidelity = _mean(method, _QUALITY), _mean(method, _FIDELITY)
        if single and quality is not None and fidelity is not None:
            detail = ", ".join(
                f"{metrics[key]['label']} {show(value, places[key])}"
                for key, value in ((_QUALITY, quality), (_FIDELITY, fidelity))
            )
            marks.append(charts.Point(method["name"], fidelity, quality, detail))
    title = f"{metrics[_QUALITY]['label']} against {metrics[_FIDELITY]['label']} over w"
    x, y = _axis(metrics[_FIDELITY]), _axis(metrics[_QUALITY])
    return Markup(charts.trade_off(lines, marks, x, y, ident="curve", title=title))


def _multiples(results: Mapping[str, Any]) -> list[tuple[charts.Axis, Markup]]:
    """Each metric against w, in small; empty unless some model was measured at two values of w."""
    drawn = []
    for index, (key, spec) in enumerate(results["metrics"].items()):
        lines = _lines(results, key, None)
        if not any(len(line.points) > 1 for line in lines):
            continue
        level = _mean(results["methods"][0], key)
        level = None if level in _INFINITE else level
        title = f"{spec['label']} against w"
        svg = charts.over_w(lines, level, _axis(spec), ident=f"over-w-{index}", title=title)
        drawn.append((_axis(spec), Markup(svg)))
    return drawn


def _embedded(sheet: Sheet) -> dict[str, Any]:
    # EXIF may hold where and when a photo was taken, which is nothing for a page that is passed on.
    data = encode_picture(replace(sheet.picture, exif=None), "jpeg", quality=_JPEG_QUALITY)
    address = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    size = {"width": sheet.picture.width, "height": sheet.picture.height}
    return {"title": sheet.title, "caption": sheet.caption, "address": address, **size}


def _hashes(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what, sha256) of every weight file of the run, each file of each model once."""
    rows = dict.fromkeys((name, sha) for name, sha in results["weights"].items())
    for method in results["methods"]:
        owner = method.get("model") or method["name"]
        rows |= dict.fromkeys(
            (f"{owner}: {name}", sha) for name, sha in (method.get("weights") or {}).items()
        )
    return list(rows)


def _csp_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text(name: str) -> str:
    return resources.files("facemend.evaluation").joinpath(name).read_text(encoding="utf-8")

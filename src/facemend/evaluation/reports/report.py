"""The report of an evaluation: what it says in words, its charts, and all parts of its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from facemend.charts import page
from facemend.charts.plots import Axis, Point, Series, over_w, trade_off
from facemend.evaluation.reports.published import PublishedTable
from facemend.evaluation.reports.tables import (
    decimals,
    main_table,
    published_table,
    show,
    slice_tables,
    speed_table,
    win_table,
    wins_over,
)
from facemend.imaging import Picture, encode_picture

MAX_INPUTS = 500
"""Pictures listed by name; the rest stands in results.json alone."""

_JPEG_QUALITY = 90
_QUALITY, _FIDELITY = "lpips", "ids"

Method = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Sheet:
    """A contact sheet.

    Attributes:
        title: a heading of a few words.
        caption: what is seen, which method stands where; also the text for those who cannot see it.
        picture: the sheet; written as JPEG without its metadata.
    """

    title: str
    caption: str
    picture: Picture


def render(
    results: Mapping[str, Any],
    *,
    speed: Mapping[str, Any] | None,
    sheets: Sequence[Sheet],
    published: Sequence[PublishedTable],
) -> str:
    """The page of a run as text.

    Args:
        results: as `suite.summarise` gives them; the first method is the input.
        speed: what speed.json holds, None without one.
        sheets: contact sheets, in the order of the page.
        published: tables of papers that belong to the protocol.
    """
    return page.render(
        "facemend.evaluation.reports",
        title=results["title"],
        script="report.js",
        results=results,
        summary=summarise(results),
        main=main_table(results),
        wins=win_table(results),
        curve=_curve(results),
        multiples=_multiples(results),
        models=[(series.name, "") for series in _lines(results, next(iter(results["metrics"])), None)],
        sheets=[(sheet, page.data_address(_jpeg(sheet.picture))) for sheet in sheets],
        slices=slice_tables(results),
        speed=None if speed is None else speed_table(speed),
        published=[(table, published_table(table, results)) for table in published],
        hashes=list(dict.fromkeys(_hashes(results))),
        max_inputs=MAX_INPUTS,
    )


def summarise(results: Mapping[str, Any]) -> list[str]:
    """The result in a few plain sentences, all of their numbers taken from the results."""
    metrics, methods = results["metrics"], results["methods"]
    sentences = _headline(results, _QUALITY if _QUALITY in metrics else next(iter(metrics)))
    if _FIDELITY in metrics and (ranked := _ranked(results, _FIDELITY)):
        (best, _, text), *others = ranked
        label = metrics[_FIDELITY]["label"]
        if best is methods[0]:
            after = f"; next is {others[0][0]['name']} ({others[0][2]})." if others else "."
            sentences.append(
                f"By {label} no method is closer to the true person than the input ({text}){after}"
            )
        else:
            sentences.append(f"Closest to the true person by {label} is {best['name']} ({text}).")
    if results["protocol"]["kind"] == "no-reference":
        sentences.append(
            "There was no ground truth: nothing here tells whether a face is still that of the same person."
        )
    return sentences


def _headline(results: Mapping[str, Any], key: str) -> list[str]:
    """Who is best by one metric, by how much, and how many models beat the input."""
    spec, baseline = results["metrics"][key], results["methods"][0]
    ranked = _ranked(results, key)
    if not ranked:
        return [f"{spec['label']} could not be measured for any method."]
    best, _, text = ranked[0]
    count = len(results["inputs"])
    first = f"Over {count} picture{'s'[: count != 1]}, {best['name']} has the best {spec['label']} ({text}"
    level = next((entry for entry in ranked if entry[0] is baseline), None)
    if level is None or best is baseline:
        sentences = [first + ")."]
    else:
        wins, n = wins_over(best, baseline, key, spec["higher_is_better"])
        sentences = [f"{first}; the input has {level[2]}) and is better than the input on {wins} of {n}."]
    models = [entry for entry in ranked if entry[0]["kind"] == "model"]
    if level is not None and models:
        higher = spec["higher_is_better"]
        ahead = sum(e[1] > level[1] if higher else e[1] < level[1] for e in models)
        if len(models) == 1:
            verb = "has a better mean than" if ahead else "does not beat"
            sentences.append(f"The one model setting measured {verb} the input.")
        else:
            sentences.append(f"{ahead} of {len(models)} model settings have a better mean than the input.")
    return sentences


def _ranked(results: Mapping[str, Any], key: str) -> list[tuple[Method, float, str]]:
    """(method, mean, mean as text), the best first; methods that were not measured are left out."""
    known = [(m, mean) for m in results["methods"] if (mean := _mean(m, key)) is not None]
    entries = [(m, mean, _shown(results, m, key)) for m, mean in known]
    return sorted(entries, key=lambda e: -e[1] if results["metrics"][key]["higher_is_better"] else e[1])


def _mean(method: Method, key: str) -> float | None:
    mean: float | None = method["means"][key]["mean"]
    return mean


def _shown(results: Mapping[str, Any], method: Method, key: str) -> str:
    return show(_mean(method, key), decimals(_mean(m, key) for m in results["methods"]))


def _axis(spec: Mapping[str, Any]) -> Axis:
    unit = f", {spec['unit']}" if spec["unit"] else ""
    return Axis(f"{spec['label']}{unit}", spec["higher_is_better"])


def _point(results: Mapping[str, Any], method: Method, y: str, x: str | None) -> Point | None:
    """Its mean of `y` against that of `x`, or against w; None where one was not measured."""
    w = method["w"]
    up, across = _mean(method, y), w if x is None else _mean(method, x)
    if up is None or across is None:
        return None
    keys = (y,) if x is None else (y, x)
    shown = (f"{results['metrics'][key]['label']} {_shown(results, method, key)}" for key in keys)
    label, lead = (method["name"], "") if w is None else (f"w={w:g}", f"w = {w:g}: ")
    entry = method["means"][y]
    return Point(label, across, up, lead + ", ".join(shown), entry["low"], entry["high"])


def _lines(results: Mapping[str, Any], y: str, x: str | None) -> list[Series]:
    """For every model with a w: its means of `y` against those of `x`, or against w, in the order of w.

    Models without a point keep their (empty) line, so that each has one colour on the whole page.
    """
    lines: dict[str, list[Point]] = {}
    for method in sorted((m for m in results["methods"] if m["w"] is not None), key=lambda m: m["w"]):
        point = _point(results, method, y, x)
        lines.setdefault(method["model"], []).extend([point] if point else [])
    names = dict.fromkeys(m["model"] for m in results["methods"] if m["w"] is not None)
    return [Series(name, tuple(lines[name])) for name in names]


def _curve(results: Mapping[str, Any]) -> str | None:
    """LPIPS against IDS over w; None unless some model was measured at two values of w."""
    metrics = results["metrics"]
    if _QUALITY not in metrics or _FIDELITY not in metrics:
        return None
    lines = _lines(results, _QUALITY, _FIDELITY)
    if not any(len(line.points) > 1 for line in lines):
        return None
    single = (_point(results, m, _QUALITY, _FIDELITY) for m in results["methods"] if m["w"] is None)
    x, y = _axis(metrics[_FIDELITY]), _axis(metrics[_QUALITY])
    title = f"{metrics[_QUALITY]['label']} against {metrics[_FIDELITY]['label']} over w"
    return trade_off(lines, [p for p in single if p], x, y, ident="curve", title=title)


def _multiples(results: Mapping[str, Any]) -> list[tuple[Axis, str]]:
    """Each metric against w, in small; empty unless some model was measured at two values of w."""
    drawn = []
    for index, (key, spec) in enumerate(results["metrics"].items()):
        lines = _lines(results, key, None)
        if any(len(line.points) > 1 for line in lines):
            names = {"ident": f"over-w-{index}", "title": f"{spec['label']} against w"}
            svg = over_w(lines, _mean(results["methods"][0], key), _axis(spec), **names)
            drawn.append((_axis(spec), svg))
    return drawn


def _jpeg(picture: Picture) -> bytes:
    # They may hold where and when a photo was taken, which is nothing for a page that is passed on.
    return encode_picture(picture.without_metadata(), "jpeg", quality=_JPEG_QUALITY)


def _hashes(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(what, sha256) of every weight file of the run."""
    yield from results["weights"].items()
    for method in results["methods"]:
        owner = method["model"] or method["name"]
        yield from ((f"{owner}: {name}", sha) for name, sha in method["weights"].items())

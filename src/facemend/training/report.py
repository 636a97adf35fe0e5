"""A run's folder as one page: warnings, curves, pictures, settings. Reads only; needs no torch."""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from PIL import Image

from facemend.charts.plots import Curve, number, over_steps
from facemend.charts.svg import MINUS
from facemend.errors import ExistsError, InputError, MissingExtraError
from facemend.files import json_lines, place, unwritable

# Pictures on the page, and their width in pixels.
PREVIEWS, PREVIEW_WIDTH = 5, 1100


@dataclass(frozen=True)
class Plot:
    """Figures that are shown together, with what they say to somebody who has to judge the run."""

    title: str
    names: tuple[str, ...]
    text: str
    log: bool = False


LOSSES = (
    Plot(
        "Picture losses",
        ("l1", "lpips", "lpips_alex", "lpips_vgg", "identity"),
        "How far restored pictures are from the true ones. They fall fast, then slowly for long; a jump up "
        "belongs to a new phase or to a rate that is too high.",
    ),
    Plot(
        "Spikes",
        ("spikes",),
        "Single huge values in the decoder's features, which show as dots. It falls to near 0.",
    ),
    Plot(
        "Codes",
        ("token", "feature", "code"),
        "token is the cross-entropy of the predicted codes in nats: it begins at the logarithm of the "
        "codebook's size (6.93 for 1,024) and ends near 2 to 4, as degraded faces do not tell every code.",
    ),
    Plot(
        "Code accuracy",
        ("top1", "top5"),
        "Share of codes that are predicted exactly, and among the first five. Even a good model stays far "
        "below 1 on heavy degradation; many codes look alike.",
    ),
    Plot(
        "Codebook",
        ("perplexity",),
        "How many codes are in use, evenly counted. Below a twentieth of the codebook the rest is dead.",
    ),
)
DISCRIMINATOR = Plot(
    "Discriminator",
    ("real", "fake", "d_loss", "gate"),
    "Its answers to real and made pictures, and its loss. A small gap that stays is healthy; a gap above 2 "
    "with a loss near 0 means that it teaches no more, a loss that stays near 2 that it knows nothing. gate "
    "is the share of steps in which its gradient was used.",
)
ADAPTIVE_WEIGHT = Plot(
    "Adaptive weight",
    ("lambda",),
    "Balance between the adversary and the picture losses, at most 1. Near 0 for long: no adversary.",
    log=True,
)
PROGRESS = (
    Plot(
        "Gradient",
        ("gradient",),
        "Length before clipping. A slow fall is healthy, a rise by tens is the sign of a divergence to come.",
        log=True,
    ),
    Plot("Speed", ("images_per_second",), "Faces a second, all processes together."),
)
HELD_OUT = {
    "psnr": "PSNR on held-out faces, dB: higher is better. Faithful, but says little about sharpness.",
    "lpips_alex": "LPIPS on held-out faces: lower is better. Nearest to how people judge likeness.",
    "token": "Token loss on held-out faces: if it rises while the training one falls, enough was seen.",
    "top1": "Share of codes of held-out faces that are predicted exactly.",
    "codes_used": "Share of the codebook that the held-out faces alone use.",
    "perplexity": "Codes in even use on the held-out faces.",
}


def write_report(
    folder: Path, out: Path | None = None, title: str | None = None, *, overwrite: bool = False
) -> Path:
    """Write the page of a run; returns its path.

    Args:
        folder: of the run, finished or not.
        out: file to write; by default report.html in the folder.
        title: heading; by default the folder's name.
        overwrite: whether `out` may be there already; the folder's own page always may.

    Raises:
        InputError: the folder holds no run, or nothing was logged yet.
        OutputError: `out` is there already, or cannot be written.
        MissingExtraError: jinja2 is not installed.
    """
    try:
        from facemend.charts.page import data_address, render
    except ImportError:
        raise MissingExtraError("the report of a run", "train") from None
    config, lines = _config(folder), read_log(folder)
    text = render(
        "facemend.training",
        title=title or folder.resolve().name,
        run=_facts(folder, config, lines),
        warnings=json_lines(folder / "warnings.jsonl"),
        plots=_plots(config, lines),
        phases=_phases(config),
        previews=[(step, data_address(jpeg)) for step, jpeg in _previews(folder / "previews")],
        settings=_flat(config),
    )
    target = out or folder / "report.html"
    if os.path.lexists(target) and not (overwrite or out is None):
        raise ExistsError(target)
    try:
        place(target, text.encode(), overwrite=True)
    except OSError as error:
        raise unwritable(target, error) from error
    return target


def read_log(folder: Path) -> list[dict[str, float]]:
    """Lines of log.jsonl in the order of the steps.

    After a resume steps are repeated: what was logged after the state that it began from no longer counts. A
    line that was cut off is left out.

    Raises:
        InputError: nothing was logged.
    """
    kept: dict[tuple[int, bool], dict[str, float]] = {}
    last = 0
    for line in json_lines(folder / "log.jsonl"):
        if isinstance(step := line.get("step"), int):
            if step < last:
                kept = {key: before for key, before in kept.items() if key[0] < step}
            held_out = any(name.startswith("held_out/") for name in line)
            kept[step, held_out], last = line, step
    if not kept:
        raise InputError(f"{folder / 'log.jsonl'}: nothing was logged yet; let the run go on for a while")
    return [kept[key] for key in sorted(kept)]


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{folder}: holds no run (config.json is missing or damaged)") from None
    if not isinstance(config, dict) or "stage" not in config:
        raise InputError(f"{path}: is no record of a run")
    return config


def _curves(lines: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, Curve]:
    """Values by name, for the names that occur."""
    curves: dict[str, Curve] = {}
    for name in names:
        curve = [
            (int(line["step"]), float(line[name]))
            for line in lines
            if isinstance(line.get(name), int | float) and math.isfinite(line[name])
        ]
        if curve:
            curves[name] = curve
    return curves


def _adversary_plots(config: Mapping[str, Any]) -> list[Plot]:
    """One of each discriminator of the run, and their weights together."""
    adversaries = config.get("adversary")
    suffixes = [""]
    # Older runs had one, in a table of its own.
    if isinstance(adversaries, list) and len(adversaries) > 1:
        suffixes = [f"_{adversary['name']}" for adversary in adversaries]
    plots = [
        replace(
            DISCRIMINATOR,
            title=f"{DISCRIMINATOR.title} {suffix[1:]}".strip(),
            names=tuple(name + suffix for name in DISCRIMINATOR.names),
        )
        for suffix in suffixes
    ]
    weights = tuple(name + suffix for name in ADAPTIVE_WEIGHT.names for suffix in suffixes)
    return [*plots, replace(ADAPTIVE_WEIGHT, names=weights)]


def _plots(config: Mapping[str, Any], lines: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    boundaries = list(accumulate(phase["steps"] for phase in config.get("phases", ())))
    found: list[dict[str, Any]] = []
    for plot in (*LOSSES, *_adversary_plots(config), *PROGRESS):
        if curves := _curves(lines, _with_scales(lines, plot.names)):
            found.append(_drawn(plot.title, plot.text, curves, boundaries, len(found), log=plot.log))
    logged = {name for line in lines for name in line if name.startswith("held_out/")}
    for metric, text in HELD_OUT.items():
        names = sorted(n for n in logged if _metric(n) == metric)
        if curves := _curves(lines, names):
            short = {name.removeprefix("held_out/"): curve for name, curve in curves.items()}
            title = f"Held out: {metric}"
            found.append(_drawn(title, text, short, boundaries, len(found), smooth=False))
    return found


def _metric(name: str) -> str:
    """`held_out/psnr_w0.5`, `held_out/psnr_lq` and `held_out/psnr_s8` -> `psnr`."""
    base = name.removeprefix("held_out/")
    head, _, tail = base.rpartition("_")
    return head if tail == "lq" or (tail[:1] in ("w", "s") and tail[1:2].isdigit()) else base


def _with_scales(lines: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[str]:
    """The names, and those of single scales and further terms of the same: token_s8, lpips_alex_2."""
    logged = {name for line in lines for name in line}
    ended = [(re.fullmatch(r"(.+)_s?(\d+)", name), name) for name in logged]
    more = sorted((int(end[2]), end[1], name) for end, name in ended if end)
    return [n for name in names for n in (name, *(each for _, base, each in more if base == name))]


def _drawn(
    title: str, text: str, curves: Mapping[str, Curve], boundaries: Sequence[int], index: int, **how: bool
) -> dict[str, Any]:
    legend = [(name, number(curve[-1][1])) for name, curve in curves.items()]
    svg = over_steps(curves, boundaries, ident=f"plot{index}", title=title, **how)
    return {"title": title, "text": text, "svg": svg, "legend": legend}


def _phases(config: Mapping[str, Any]) -> list[str]:
    found, start = [], 0
    for phase in config.get("phases", ()):
        what = ", ".join(f"{name} {_plain(value)}" for name, value in phase.items() if name != "steps")
        found.append(f"steps {start + 1:,} to {start + phase['steps']:,}: {what}")
        start += phase["steps"]
    return found


def _facts(
    folder: Path, config: Mapping[str, Any], lines: Sequence[Mapping[str, float]]
) -> list[tuple[str, str]]:
    steps, total = int(lines[-1]["step"]), sum(phase["steps"] for phase in config.get("phases", ()))
    environment, data = _facts_of(folder / "environment.json"), _facts_of(folder / "data.json")
    ended = " (finished)" if steps >= total else ""
    if not ended and _facts_of(folder / "ended.json").get("step") == steps:
        ended = " (ended by its minutes)"
    faces, left = 0, steps
    for phase in config.get("phases", ()):
        taken = min(left, phase["steps"])
        faces += taken * phase["batch"] * int(environment.get("processes", 1))
        left -= taken
    return [
        ("Stage", f"{config['stage']} of {config.get('network', '?')}"),
        ("Steps", f"{steps:,} of {total:,}{ended}"),
        ("Faces seen", f"{faces:,}"),
        *((name.capitalize(), str(value)) for name, value in environment.items()),
        ("Seed", str(config.get("seed", "?"))),
        *((f"Data: {name}", _plain(value)) for name, value in data.items() if value != ""),
    ]


def _facts_of(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return values if isinstance(values, dict) else {}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        elif name != "phases":
            rows.append((prefix + name, _plain(value)))
    return rows


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} {_plain(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_plain(v) for v in value) + "]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value).replace("-", MINUS) if _is_number(value) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _previews(folder: Path) -> list[tuple[str, bytes]]:
    """(step, JPEG), newest first: the last, the first, and some between."""
    files = sorted(folder.glob("step_*.png"))
    if len(files) > PREVIEWS:
        files = [files[round(k * (len(files) - 1) / (PREVIEWS - 1))] for k in range(PREVIEWS)]
    found = []
    for file in reversed(files):
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
        if picture.width > PREVIEW_WIDTH:
            height = round(picture.height * PREVIEW_WIDTH / picture.width)
            picture = picture.resize((PREVIEW_WIDTH, height), Image.Resampling.LANCZOS)
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=85)
        found.append((f"{int(file.stem.removeprefix('step_')):,}", data.getvalue()))
    return found

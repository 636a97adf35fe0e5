"""`facemend evaluate`: restorations scored by one printed protocol."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facemend.cli._shared.console import plural, progress, say, shown, warn
from facemend.errors import ConfigError, require_extra

if TYPE_CHECKING:
    from facemend.evaluation.options import EvaluationOptions

app = typer.Typer()

Texts = list[str] | None

_SHOWN = ("psnr", "ssim", "lpips", "lpips_vgg", "dists", "ids", "identity_distance", "lmd", "niqe")


@app.command()
def evaluate(
    faces: Annotated[
        Path | None,
        typer.Argument(
            metavar="FACES",
            help="Folder of clean aligned faces; with --no-reference, of damaged ones.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the report.")] = Path(
        "evaluation"
    ),
    model: Annotated[
        Texts,
        typer.Option(
            help="Model name, folder or weight file; several times for several. Default: the shipped one."
        ),
    ] = None,
    w: Annotated[
        Texts, typer.Option("-w", "--w", help="Fidelity weight, or auto; several times for several.")
    ] = None,
    peer: Annotated[
        Texts,
        typer.Option(
            help="bicubic, unsharp, realesrgan, realesr-animevideov3 or spandrel:FILE; may be repeated."
        ),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="How clean faces are degraded. Default: heavy.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="The k-th face is degraded with seed + k. Default: 0.")
    ] = None,
    lq: Annotated[
        Path | None, typer.Option(help="Folder of degraded faces, same names, instead of --preset.")
    ] = None,
    restored: Annotated[
        Texts, typer.Option(help="LABEL=FOLDER (or FOLDER): score pictures that were restored already.")
    ] = None,
    no_reference: Annotated[
        bool, typer.Option("--no-reference", help="FACES are real damaged faces: there are no originals.")
    ] = False,
    protocol: Annotated[
        str | None, typer.Option(help="A protocol by name; `--protocol list` shows them.")
    ] = None,
    incomplete: Annotated[
        bool,
        typer.Option(
            "--incomplete",
            help="Go on without faces that cannot be used or have no partner.",
        ),
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(help="Side that faces are brought to. Default: the protocol's, or the smallest."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="CSV with file, source, kind, wears, yaw for the slices. Default: FACES.csv."),
    ] = None,
    every: Annotated[int, typer.Option(help="Take every n-th face only.")] = 1,
    full: Annotated[bool, typer.Option("--full", help="LPIPS-VGG too: about a third more time.")] = False,
    device: Annotated[str, typer.Option(help="Where metrics are computed: cpu, cuda, cuda:1 ...")] = "cpu",
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="Measure times too.")] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another evaluation in the output folder.")
    ] = False,
) -> None:
    """Restore faces with one or several models and score them; writes results.json and report.html.

    An interrupted run goes on where it stopped when the same command is given again.
    """
    if protocol == "list":
        _list_protocols()
        return
    if faces is None:
        raise typer.BadParameter("give the folder of faces")
    degraded_by = {"--preset": preset, "--seed": seed}
    _refuse("--protocol", protocol, {"--lq": lq, "--no-reference": no_reference or None})
    _refuse("--no-reference", no_reference or None, {"--lq": lq, **degraded_by})
    _refuse("--lq", lq, degraded_by)
    if restored and not model:
        _refuse("--restored without --model", restored, {"--w": w or None})
    require_extra("evaluation", "eval")
    from facemend.cli._shared.weights import resolve_model
    from facemend.evaluation.options import EvaluationOptions
    from facemend.evaluation.suite import REPORT, RESULTS
    from facemend.evaluation.suite import evaluate as run
    from facemend.photo.options import DEFAULT_MODEL, RestoreOptions, read_w

    settings: dict[str, Any] = {"faces": faces, "out": output, "reference": not no_reference, "lq": lq}
    if protocol is not None:
        settings |= _from_protocol(protocol, faces, incomplete)
        _refuse(f"--protocol {protocol}", protocol, {} if "preset" in settings else degraded_by)
    _refuse("faces without originals", not settings["reference"] or None, {"--full": full or None})
    given: dict[str, Any] = {
        "preset": preset,
        "seed": seed,
        "size": size,
        "table": table,
        "models": tuple(resolve_model(RestoreOptions(model=name))[0].model for name in model)
        if model
        else None,
        "ws": tuple(map(read_w, w)) if w else None,
        "peers": tuple(peer) if peer else None,
    }
    given = {key: value for key, value in given.items() if value is not None}
    if protocol is not None:
        settings["notes"] += _deviations(settings, given)
    settings |= given
    settings["restored"] = _labelled(restored or [])
    if not model and not restored:
        settings["models"] = (DEFAULT_MODEL,)
    options = EvaluationOptions(
        **settings,
        every=every,
        incomplete=incomplete,
        full=full,
        device=device,
        speed=speed,
        command=shlex.join(["facemend", *sys.argv[1:]]),
    )
    results = _run(run, options, overwrite)
    for line in _table(results):
        say(line)
    say(f"-> {shown(output / REPORT)}, {shown(output / RESULTS)}")


def _refuse(option: str, given: object, others: Mapping[str, object]) -> None:
    """Say of options that another one leaves nothing to do, before they are passed over in silence."""
    useless = [name for name, value in others.items() if value is not None]
    if given is not None and useless:
        raise typer.BadParameter(
            f"{' and '.join(useless)} would change nothing beside {option}: leave one of them out"
        )


def _run(run: Any, options: EvaluationOptions, overwrite: bool) -> dict[str, Any]:
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(total: int, done: int) -> Any:
            if done:
                warn(f"going on: {done} of {plural(total, 'face')} measured already")
            return stack.enter_context(progress("evaluating", total - done))

        results: dict[str, Any] = run(options, overwrite=overwrite, on_start=start)
    return results


def _from_protocol(name: str, folder: Path, incomplete: bool) -> dict[str, Any]:
    """Settings of a protocol after its folder was checked."""
    from facemend.evaluation.protocols import check_layout, damaged_of
    from facemend.evaluation.protocols import protocol as find_protocol

    found = find_protocol(name)
    problems = check_layout(found, folder)
    for problem in problems:
        warn(f"{name}: {problem}")
    if problems and not incomplete:
        raise ConfigError(
            f"{folder}: is not the set of {name} ({plural(len(problems), 'problem')} above); "
            "mend the folder, or go on with --incomplete"
        )
    # The results are passed on: they need not say where on this machine the folder lies.
    shown = (
        p.replace(str(folder.absolute()), folder.name).replace(str(folder), folder.name) for p in problems
    )
    notes = (*found.notes, *(f"Not complete: {problem}." for problem in shown))
    settings: dict[str, Any] = {
        "protocol": found.name,
        "title": found.title,
        "reference": found.kind == "full-reference",
        "size": found.size,
        "notes": notes,
    }
    if found.paired:
        settings |= {"faces": folder / "hq", "lq": folder / "lq"}
    elif found.kind == "no-reference":
        settings["faces"] = damaged_of(folder)
    if found.degradation is not None:
        settings |= {"preset": found.degradation, "seed": found.seed or 0}
    return settings


def _list_protocols() -> None:
    from facemend.evaluation.protocols import protocols

    for found in protocols().values():
        count = plural(found.count, "face") if found.count else "any number of faces"
        say(f"{found.title}; {count}; {found.kind}; {found.layout}")


def _deviations(protocol: dict[str, Any], given: dict[str, Any]) -> tuple[str, ...]:
    """Sentences for the report where the command line asks for something else than the protocol."""
    return tuple(
        f"Not as the protocol says: {key} is {value}, not {protocol[key]}."
        for key, value in given.items()
        if key in ("preset", "seed", "size") and protocol.get(key) not in (None, value)
    )


def _labelled(items: list[str]) -> dict[str, Path]:
    """Label -> folder of restored pictures."""
    found: dict[str, Path] = {}
    for item in items:
        label, separator, folder = item.partition("=")
        if not separator:
            label, folder = Path(item).name, item
        if label in found:
            raise ConfigError(f"--restored names {label!r} twice: write LABEL=FOLDER with another label")
        found[label] = Path(folder)
    return found


def _table(results: dict[str, Any]) -> list[str]:
    """The means as aligned text: one row a method."""
    metrics = [name for name in _SHOWN if name in results["metrics"]]
    head = ["", *(results["metrics"][name]["label"] for name in metrics)]
    rows = [head]
    for method in results["methods"]:
        means = [method["means"][name]["mean"] for name in metrics]
        rows.append([method["name"], *("-" if mean is None else f"{mean:.3f}" for mean in means)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]

"""`facemend bench`: how fast is this machine, with which backend, threads and batch?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from facemend.cli._shared.console import say, warn
from facemend.cli._shared.options import checked
from facemend.photo.options import RestoreOptions

app = typer.Typer()

DEFAULTS = RestoreOptions()
_MEASURED = {
    "network": "the network alone",
    "photos": "whole photos (the made-up group photo takes longest)",
    "commands": "whole commands",
    "parts": "where the time of one goes",
}
_BAR = 60
"""Characters that stand for a whole command."""


@app.command()
def bench(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PHOTO]...", help="Photos; default: a portrait, and a made-up group photo."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model to measure; several times for several.")
    ] = None,
    backend: Annotated[list[str] | None, typer.Option(help="onnx, torch; several times for several.")] = None,
    device: Annotated[str, typer.Option(help="See `facemend doctor`.")] = DEFAULTS.device,
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32, and with torch bf16; several times for several.")
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=0, help="CPU threads, 0 = automatic; several times for several.")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Faces a run; several times for several.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs that count.")] = 3,
    against: Annotated[
        str,
        typer.Option(help='Another program, or version, to time beside ours: "COMMAND {input} {output}".'),
    ] = "",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file too.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace that file.")] = False,
) -> None:
    """Measure speed and memory of this machine: network, whole photos, whole commands and their parts."""
    from facemend.imaging import Outputs
    from facemend.photo.bench import BenchOptions, run_bench

    options = checked(
        BenchOptions,
        # The same pixels for every model, whatever its size.
        restore=checked(RestoreOptions, device=device, backend=(backend or ["onnx"])[0], upscale=1),
        models=tuple(model or ()),
        backends=tuple(backend or ["onnx"]),
        precisions=tuple(precision or ["fp32"]),
        threads=tuple(threads or [0]),
        batches=tuple(batch or [1, 4]),
        repeats=repeats,
        photos=tuple(photos or ()),
        against=against,
    )
    outputs = Outputs(options.photos, overwrite=overwrite)
    if json_file is not None:
        outputs.claim(json_file)
    result = run_bench(options, on_part=lambda part: warn(f"measuring: {_MEASURED[part]}"))
    for line in table(result):
        say(line)
    if json_file is not None:
        outputs.save_text(json_file, json.dumps(result, indent=1) + "\n")


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """The figures of `run_bench` in lines."""
    machine = result["machine"]
    yield f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
    yield ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield f"{result['date']}, medians of {result['repeats']}; ms unless said"
    steps = ("encode", "decode", "decode_w0", "whole")
    heads = (*steps, "faces/s", "w0/whole", "redo/whole", "peak MB")
    yield ""
    yield _line("network", "batch", heads)
    for row in result["network"]:
        model = Path(row["model"]).name  # a folder's path would not fit
        how = f"{model} {row['backend']} {row['device']} {row['precision']}, {row['threads']} threads"
        shares = (row["faces_per_s"], row["w0_share"], row["redo_share"], row["peak_mb"])
        yield _line(how, row["batch"], (*(row["ms"][step] for step in steps), *shares))
    parts = ("detect", "encode", "decode", "mask", "paste", "whole")
    yield ""
    yield _line("photo", "faces", (*parts, "outside", "peak MB"))
    for row in result["photos"]:
        times = (row["ms"].get(part, 0.0) for part in parts)
        name = f"{row['photo']} {row['width']}x{row['height']}"
        yield _line(name, row["faces"], (*times, row["outside_share"], row["peak_mb"]))
    yield ""
    yield _line("whole process (default model)", "", ("s", "ours/it"))
    for row in result["commands"]:
        yield _line(row["command"], "", (row["s"], row["ratio"]))
    yield ""
    yield "where the time of one goes          s  share  (default model)"
    yield from bars(result["parts"])


def bars(parts: Mapping[str, float]) -> Iterator[str]:
    """Lines of parts that follow each other: seconds, share of the whole, and a bar where it stands."""
    whole, before = sum(parts.values()) or 1.0, 0.0
    for name, seconds in parts.items():
        left = round(_BAR * before / whole)
        before += seconds
        bar = "█" * (round(_BAR * before / whole) - left)
        yield f"{name:<26}{seconds:>11.3f}{seconds / whole:>7.0%} {' ' * left}{bar}".rstrip()


def _line(name: str, number: object, values: tuple[object, ...]) -> str:
    cells = "".join(f"{'-' if value is None else value:>11}" for value in values)
    return f"{name:<46}{number:>6}{cells}"

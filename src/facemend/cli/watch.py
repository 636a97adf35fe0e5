"""`facemend watch`: a folder that photos come into, and one that the same come out of, restored."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from os.path import isdir, realpath, samestat
from pathlib import Path
from typing import Annotated, Any

import typer

from facemend.cli._shared.console import say, shown
from facemend.cli._shared.options import (
    AUTO_W,
    DEFAULTS,
    PIPE,
    Background,
    Grain,
    Likeness,
    PhotoOptions,
    Strength,
    checked,
    examples,
    fidelity,
    takes,
)
from facemend.cli._shared.photos import follow, tell_ignored
from facemend.cli._shared.stopping import STOPPED
from facemend.cli._shared.weights import load, resolve_model
from facemend.errors import InputError, require_extra
from facemend.photo.options import RestoreOptions, read_upscale

app = typer.Typer()


@app.command(
    epilog=examples(
        "`facemend watch scans/ -o restored/`: what the scanner writes",
        "`facemend watch scans/ -o restored/ --ext png --quiet 5`: as PNG, from a slow disk",
    )
)
@takes(PhotoOptions)
def watch(
    folder: Annotated[Path, typer.Argument(help="Folder that photos are put into.")],
    given: PhotoOptions,
    w: Annotated[
        str,
        typer.Option(
            "-w",
            "--w",
            metavar="0..1|auto",
            help=f"Fidelity: 0 = most redrawn, 1 = closest to the photo; {AUTO_W}.",
        ),
    ] = str(DEFAULTS.w),
    likeness: Likeness = DEFAULTS.likeness,
    strength: Strength = DEFAULTS.strength,
    upscale: Annotated[
        str, typer.Option(help="Output size: 1, 2 or 4 times the input; auto: see `facemend restore`.")
    ] = "auto",
    background: Background = DEFAULTS.background,
    grain: Grain = DEFAULTS.grain,
    quiet: Annotated[
        float, typer.Option(min=0.1, help="Seconds for which a file must not have changed: it is whole then.")
    ] = 2.0,
) -> None:
    """Restore photos as they come into a folder, until Ctrl-C; what was done before is left out.

    With --overwrite a photo that changes is done again; without it, that is said.
    """
    from facemend.folder.plan import REPORT, plan_batch
    from facemend.folder.records import FolderStore, Records, pixel_options, sole_run
    from facemend.folder.run import run_batch
    from facemend.folder.watch import settled
    from facemend.imaging import Outputs
    from facemend.photo.networks import MAX_JOBS, share_cores
    from facemend.photo.restore import Restorer

    require_extra("facemend watch", "watch")
    root = given.output
    _check(folder, given)
    assert root is not None
    own = fidelity(w, likeness, strength)
    own |= {"upscale": read_upscale(upscale), "background": background, "grain": grain}
    options = checked(RestoreOptions, **given.settings(**own))
    plan = partial(plan_batch, [folder], root, leave_out=given.crops, **given.naming)
    checked(plan)
    options, model = resolve_model(options)
    options, jobs = share_cores(options, model, MAX_JOBS, given.jobs)
    restorer = load(Restorer, options, model)
    records = Records(FolderStore(root), pixel_options(options, model))
    how: dict[str, Any] = {"crops": given.crops, "compare": given.compare, "jobs": jobs, "options": options}
    with sole_run(root, *([given.crops] if given.crops else [])):
        say(f"watching {shown(folder)} for photos -> {shown(root)}; Ctrl-C ends it")
        try:
            for batch in settled(plan, _wakes(folder, quiet), quiet, tell=tell_ignored):
                outputs = Outputs(batch.inputs, overwrite=given.overwrite)
                reports = run_batch(batch, restorer.restore, outputs, records=records, **how)
                follow(reports, len(batch.jobs), options, None, outputs, lasting=root / REPORT)
        except KeyboardInterrupt:
            raise typer.Exit(STOPPED) from None


def _check(folder: Path, given: PhotoOptions) -> None:
    if not isdir(folder):
        raise typer.BadParameter(f"{folder}: is no folder")
    if given.output == PIPE:
        raise typer.BadParameter("-o -: photos that come one after the other need a folder")
    if given.output is None or realpath(given.output) == realpath(folder):
        raise typer.BadParameter("watch needs another folder for the results: -o FOLDER")
    if given.indices:
        raise typer.BadParameter(f"--faces {given.faces}: numbers go with one photo, as each has its own")
    if given.report is not None:
        raise typer.BadParameter(f"--report: {given.output}/facemend.jsonl is the report")


def _wakes(folder: Path, quiet: float) -> Iterator[Collection[object]]:
    """What changed in the folder, as it changes; nothing now and after each time in which nothing did.

    Raises:
        InputError: the folder is gone, or another one is in its place, of which the system tells nothing.
    """
    from watchfiles import watch as changes

    wait = max(50, int(quiet * 1000))
    watched = folder.stat()
    yield ()
    for changed in changes(
        folder, watch_filter=None, rust_timeout=wait, yield_on_timeout=True, debounce=wait
    ):
        if not isdir(folder) or not samestat(folder.stat(), watched):
            raise InputError(f"{folder}: was removed or replaced: start again to watch what is there now")
        yield changed

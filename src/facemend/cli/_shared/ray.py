"""`facemend restore --engine ray`: a folder over a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import typer

from facemend.cli._shared.console import warn
from facemend.cli._shared.photos import Run, checked, follow, tell_ignored, with_model
from facemend.photo.options import RestoreOptions


def run_cluster(photos: Sequence[Path], output: Path | None, options: RestoreOptions, run: Run) -> None:
    """Restore a folder by the workers of a Ray cluster; ends the command if a photo failed.

    Args:
        photos: the one folder, a path or URL.
        output: the folder for the results, likewise.
        options: how to restore; a device that is no GPU means CPUs.
        run: how; `jobs` is the number of workers.
    """
    from facemend.folder.plan import REPORT
    from facemend.folder.ray import Cluster, plan_cluster
    from facemend.folder.ray import run_cluster as spread
    from facemend.folder.records import sole_run
    from facemend.folder.urls import UrlStore, as_url
    from facemend.imaging import Outputs

    if len(photos) != 1 or output is None:
        raise typer.BadParameter("--engine ray takes one folder (a path or URL), and an --output")
    if run.report is not None and run.report.suffix.lower() != ".jsonl":
        raise typer.BadParameter("--report must be FILE.jsonl with --engine ray")
    options = with_model(options, run.task)
    source, target = as_url(photos[0]), as_url(output)
    rows, ignored = checked(plan_cluster, source, target)
    outputs = Outputs([], overwrite=run.overwrite)
    if run.report is not None:
        outputs.claim(run.report)
    root = UrlStore(target).folder
    if root is None and run.report is None:
        warn("facemend: no report is kept: --report FILE.jsonl writes one on this machine")
    with nullcontext() if root is None else sole_run(root):
        cluster = Cluster(run.jobs, "cpu" if options.device == "auto" else options.device)
        reports = spread(rows, source, target, options, cluster, overwrite=run.overwrite)
        lasting = None if root is None else root / REPORT
        all_well = follow(reports, len(rows), options, run, outputs, lasting)
    tell_ignored(ignored)
    if not all_well:
        raise typer.Exit(1)


def check_engine(engine: str, others: dict[str, object]) -> None:
    """Refuse options that a cluster has no use for.

    Raises:
        typer.BadParameter: an unknown engine, or such an option.
    """
    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"--engine must be local or ray, not {engine}")
    if engine == "ray" and (named := [name for name, value in others.items() if value]):
        raise typer.BadParameter(f"{', '.join(named)}: not with --engine ray")

"""`facemend restore --engine ray`: a folder over a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import typer

from facemend.cli._shared.console import warn
from facemend.cli._shared.options import PhotoOptions, checked
from facemend.cli._shared.photos import follow, reports_of, tell_ignored
from facemend.cli._shared.weights import resolve_model
from facemend.photo.options import RestoreOptions


def run_cluster(photos: Sequence[Path], given: PhotoOptions, own: Mapping[str, Any]) -> None:
    """Restore a folder by the workers of a Ray cluster; ends the command if a photo failed.

    Args:
        photos: the one folder, a path or URL.
        given: what was asked for: `output` is a folder, likewise; a device that is no GPU means CPUs; `jobs`
            is the number of workers.
        own: further fields of `RestoreOptions`.
    """
    from facemend.folder.plan import REPORT
    from facemend.folder.ray import Cluster, plan_cluster
    from facemend.folder.ray import run_cluster as spread
    from facemend.folder.records import sole_run
    from facemend.folder.urls import UrlStore, as_url

    others = {
        "--compare": given.compare,
        "--crops": given.crops,
        "--ext": given.ext is not None,
        "--suffix": given.suffix is not None,
        f"--faces {given.faces}": given.indices,
    }
    if named := [name for name, value in others.items() if value]:
        raise typer.BadParameter(f"{', '.join(named)}: not with --engine ray")
    options = checked(RestoreOptions, **given.settings(**own))
    if len(photos) != 1 or given.output is None:
        raise typer.BadParameter("--engine ray takes one folder (a path or URL), and an --output")
    if given.report is not None and given.report.suffix.lower() != ".jsonl":
        raise typer.BadParameter("--report must be FILE.jsonl with --engine ray")
    options, model = resolve_model(options)
    source, target = as_url(photos[0]), as_url(given.output)
    rows, ignored = checked(plan_cluster, source, target)
    outputs = reports_of(given, [], goes_on=True)
    root = UrlStore(target).folder
    if root is None and given.report is None:
        warn("facemend: no report is kept: --report FILE.jsonl writes one on this machine")
    with nullcontext() if root is None else sole_run(root):
        cluster = Cluster(given.jobs, "cpu" if options.device == "auto" else options.device)
        reports = spread(rows, source, target, options, cluster, model=model, overwrite=given.overwrite)
        lasting = None if root is None else root / REPORT
        with closing(reports):  # Ctrl-C, too, ends the cluster in good order
            places = [target if root is None else root]
            all_well = follow(
                reports, len(rows), options, given.report, outputs, places=places, lasting=lasting
            )
    tell_ignored(ignored)
    if not all_well:
        raise typer.Exit(1)

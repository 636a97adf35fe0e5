"""`facemend restore`: photos, folders and films in, the same restored out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facemend.cli._shared import films as video
from facemend.cli._shared import photos as shared
from facemend.cli._shared import ray as cluster
from facemend.cli._shared.photos import DEFAULTS, Run, checked, run_photos
from facemend.photo.options import RestoreOptions

if TYPE_CHECKING:
    from facemend.photo.file import Work

app = typer.Typer()


@app.command()
def restore(
    photos: shared.Photos,
    output: shared.Output = None,
    w: Annotated[
        float | None,
        typer.Option(
            "-w",
            min=0,
            max=1,
            help="Fidelity: 0 = best looking face, 1 = closest to the photo; default: 0.5, films 0.7.",
        ),
    ] = None,
    upscale: Annotated[int, typer.Option(help="Output size: 1, 2 or 4 times the input.")] = DEFAULTS.upscale,
    background: Annotated[
        str, typer.Option(help="What enlarges the rest of the photo: lanczos, or realesrgan (sharper, slow).")
    ] = DEFAULTS.background,
    faces: shared.Faces = DEFAULTS.faces,
    aligned: shared.Aligned = DEFAULTS.aligned,
    compare: shared.Compare = False,
    overwrite: shared.Overwrite = False,
    crops: shared.Crops = None,
    report: shared.Report = None,
    min_face: shared.MinFace = DEFAULTS.min_face,
    model: shared.Model = DEFAULTS.model,
    threads: shared.Threads = DEFAULTS.threads,
    jobs: shared.Jobs = 0,
    engine: shared.Engine = "local",
    device: shared.Device = DEFAULTS.device,
    backend: shared.Backend = DEFAULTS.backend,
    precision: shared.Precision = DEFAULTS.precision,
    start: video.Start = None,
    end: video.End = None,
    codec: video.Codec = None,
    crf: video.Crf = None,
) -> None:
    """Restore the faces in photos, folders of photos, and films."""
    from facemend.folder.plan import plan_batch

    cluster.check_engine(engine, {"--compare": compare, "--crops": crops, "--start": start, "--end": end})
    unfit = {"--compare": compare, "--crops": crops, "--report": report, "--jobs": jobs, "--aligned": aligned}
    film = video.FilmOptions(start, end, codec, crf)
    are_films = engine == "local" and video.films_among(
        photos, film, [name for name, value in unfit.items() if value]
    )
    options = checked(
        RestoreOptions,
        w=w if w is not None else video.default_w() if are_films else DEFAULTS.w,
        upscale=upscale,
        background=background,
        faces=faces,
        aligned=aligned,
        model=model,
        threads=threads,
        device=device,
        backend=backend,
        precision=precision,
        min_face=min_face,
    )
    if are_films:
        video.run_films(photos, output, options, film, overwrite)
        return
    run = Run(jobs, overwrite, compare, crops, report, resumes=True)
    if engine == "ray":
        cluster.run_cluster(photos, output, options, run)
        return
    run_photos(checked(plan_batch, photos, output), options, run, _open)


def _open(options: RestoreOptions) -> tuple[Work, tuple[str, ...]]:
    from facemend.photo.restore import Restorer

    restorer = Restorer(options)
    return restorer.restore, restorer.notes

"""A run of `video` or `restore` over films, and its progress."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facemend.cli._shared.console import plural, say, shown, warn
from facemend.cli._shared.options import FilmOptions, PhotoOptions, SharedOptions, checked
from facemend.cli._shared.weights import resolve_model
from facemend.errors import FacemendError

if TYPE_CHECKING:
    from facemend.video.restore import OnFrame, VideoOptions, VideoResult

_TIME = re.compile(r"(?:(\d+):)?(?:(\d+):)?(\d+(?:\.\d+)?)")
_PHOTOS_ONLY = ("compare", "crops", "report", "jobs", "aligned")


def films_among(inputs: Sequence[Path], given: PhotoOptions) -> bool:
    """Whether the inputs of `restore` are films: all of them or none.

    Raises:
        BadParameter: films and other inputs, or options that films do not have.
    """
    films = [path for path in inputs if _is_film(path)]
    if films and len(films) < len(inputs):
        raise typer.BadParameter("films and photos do not go together: use a command for each")
    unfit = [f"--{name}" for name in _PHOTOS_ONLY if getattr(given, name)]
    if films and unfit:
        raise typer.BadParameter(f"{', '.join(unfit)}: goes with photos only")
    return bool(films)


def _is_film(path: Path) -> bool:
    from facemend.video.read import VIDEO_SUFFIXES

    return path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()


def film_options(given: PhotoOptions) -> FilmOptions:
    """What `restore` was asked for, of a film."""
    return FilmOptions(**{field.name: getattr(given, field.name) for field in fields(SharedOptions)})


def run_films(films: Sequence[Path], given: FilmOptions, own: Mapping[str, Any]) -> None:
    """Restore films one after the other, and tell of each; ends the command if one failed.

    Args:
        films: files.
        given: what was asked for; the model may be a weight file, which is imported at its first use.
        own: further fields of `RestoreOptions`; w may be None for the default of films.
    """
    from facemend.photo.networks import Networks
    from facemend.photo.options import RestoreOptions
    from facemend.video.restore import DEFAULT_W, restore_video

    if photos := [shown(path) for path in films if not _is_film(path)]:
        raise typer.BadParameter(f"{photos[0]}: is no film by its name; photos go with `facemend restore`")
    options = checked(RestoreOptions, **({"w": DEFAULT_W} | given.settings(**own)))
    jobs = [(film, _output(film, given.output, several=len(films) > 1)) for film in films]
    plans = [checked(_video_options, target, given) for _, target in jobs]
    options, model = resolve_model(options)
    networks: Networks | None = None
    failed = False
    for (film, target), video in zip(jobs, plans, strict=True):
        try:
            networks = networks or Networks.load(options, model=model)
            with _progress(shown(film)) as on_frame:
                result = restore_video(film, target, options, video, networks=networks, on_frame=on_frame)
            _tell(film, result)
        except FacemendError as error:
            if len(films) == 1:
                raise
            warn(f"facemend: {error}")
            failed = True
        except KeyboardInterrupt:
            warn("facemend: stopped; the same command goes on from there")
            raise typer.Exit(130) from None
    if failed:
        raise typer.Exit(1)


def _output(film: Path, output: Path | None, *, several: bool) -> Path:
    from facemend.video.mux import FORMATS

    name = film.with_suffix(film.suffix if film.suffix.lower() in FORMATS else ".mkv").name
    if output is None:
        return film.with_name(f"{Path(name).stem}_restored{Path(name).suffix}")
    if output.suffix and not output.is_dir():
        if several:
            raise typer.BadParameter(f"{output}: several films need a folder to write to, not a file")
        return output
    return output / name


def _video_options(output: Path, given: FilmOptions) -> VideoOptions:
    from facemend.video.encode import FilmCoding
    from facemend.video.mux import Span
    from facemend.video.restore import VideoOptions

    codec = given.codec or ("vp9" if output.suffix.lower() == ".webm" else "h264")
    span = Span(_time(given.start), _time(given.end))
    return VideoOptions(span, FilmCoding(codec, given.crf), given.overwrite)


def _time(text: str | None) -> Fraction | None:
    """Seconds of `SS`, `MM:SS` or `HH:MM:SS`, each with decimals."""
    if text is None:
        return None
    parts = _TIME.fullmatch(text.strip())
    if parts is None:
        raise typer.BadParameter(f"{text!r} is no time: use seconds, MM:SS or HH:MM:SS")
    first, second, seconds = parts.groups()
    hours, minutes = (first, second) if second is not None else (None, first)
    return Fraction(seconds) + 60 * int(minutes or 0) + 3600 * int(hours or 0)


def _tell(film: Path, result: VideoResult) -> None:
    for note in result.notes:
        warn(f"{shown(film)}: {note}")
    resumed = f", {result.resumed} of them before" if result.resumed else ""
    faces = f"{result.faces / result.frames:.1f} faces a frame" if result.faces else "no face found"
    say(f"{shown(result.output)}: {plural(result.frames, 'frame')}{resumed}, {faces}")


@contextmanager
def _progress(label: str) -> Iterator[OnFrame]:
    """A progress bar on stderr with frames a second and the time left; nothing if that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.2f} fps" if task.speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        on_frame = _shown_on(bar.add_task, bar.update, label)
        yield on_frame


def _shown_on(add: Callable[..., object], update: Callable[..., None], label: str) -> OnFrame:
    """Begins the bar with the first frame told, so that frames of an earlier run do not count as speed."""
    task: list[object] = []

    def on_frame(done: int, total: int) -> None:
        if not task:
            task.append(add(label, total=total, completed=done - 1))
        update(task[0], completed=done, total=max(total, done))

    return on_frame

"""A run of `video` or `restore` over films, and its progress."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from functools import partial
from os.path import isdir  # as that of pathlib, but does not raise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facemend.cli._shared.console import plural, say, shown, warn
from facemend.cli._shared.options import FilmOptions, PhotoOptions, SharedOptions, checked
from facemend.cli._shared.photos import (
    other_count,
    tell_ignored,
    tell_otherwise,
    tell_places,
    tell_unlisted,
)
from facemend.cli._shared.pipe import is_piped
from facemend.cli._shared.stopping import STOPPED, interruptible
from facemend.cli._shared.weights import resolve_model
from facemend.errors import FacemendError, InputError
from facemend.files import file_sha256

if TYPE_CHECKING:
    from facemend.folder.plan import PhotoJob
    from facemend.folder.records import FolderStore, Record, Records, Stamp
    from facemend.imaging import Outputs
    from facemend.photo.networks import Networks
    from facemend.photo.options import RestoreOptions
    from facemend.video.restore import OnFrame, VideoOptions, VideoResult
    from facemend.weights.models import ModelInfo

_TIME = re.compile(r"(?:(\d+):)?(?:(\d+):)?(\d+(?:\.\d+)?)")
_FILES_OF_PHOTOS = ("compare", "crops", "report", "ext", "suffix", "quality")
_PHOTOS_ONLY = (*_FILES_OF_PHOTOS, "jobs", "aligned", "size", "max_faces")


def films_among(inputs: Sequence[Path], given: PhotoOptions) -> bool:
    """Whether `restore` is to make films of its inputs: of all of them or none.

    Raises:
        BadParameter: films and other inputs, or options that films do not have.
    """
    from facemend.video.kinds import VIDEO_SUFFIXES  # light: most runs are about photos

    to_film = given.output is not None and given.output.suffix.lower() in VIDEO_SUFFIXES
    films = [path for path in inputs if _is_film(path, animations=to_film)]
    if films and len(films) < len(inputs):
        raise typer.BadParameter("films and photos do not go together: use a command for each")
    usual = {field.name: field.default for field in fields(given)}
    unfit = [f"--{name.replace('_', '-')}" for name in _PHOTOS_ONLY if getattr(given, name) != usual[name]]
    if films and unfit:
        raise typer.BadParameter(f"{', '.join(unfit)}: goes with photos only")
    return bool(films)


def _is_film(path: Path, *, animations: bool) -> bool:
    from facemend.video.kinds import ANIMATIONS, is_film

    return not isdir(path) and (is_film(path) or (animations and path.suffix.lower() in ANIMATIONS))


def film_options(given: PhotoOptions) -> FilmOptions:
    """What `restore` was asked for, of a film."""
    return FilmOptions(**{field.name: getattr(given, field.name) for field in fields(SharedOptions)})


def run_films(inputs: Sequence[Path], given: FilmOptions, own: Mapping[str, Any]) -> None:
    """Restore films one after the other, and tell of each; ends the command if one failed.

    Args:
        inputs: films, animations and folders of films; what is done in a folder is left out.
        given: what was asked for; the model may be a weight file, which is imported at its first use.
        own: further fields of `RestoreOptions`; w may be None for the default of films.
    """
    from facemend.folder.plan import FileKind, plan_batch
    from facemend.folder.records import sole_run
    from facemend.imaging import Outputs
    from facemend.photo.options import RestoreOptions
    from facemend.video.kinds import VIDEO_SUFFIXES
    from facemend.video.mux import FORMATS
    from facemend.video.restore import DEFAULT_W

    if is_piped(inputs, given.output):
        raise typer.BadParameter("- is for one photo: films are files, as they are read and written in parts")
    named = [path for path in inputs if not isdir(path)]
    if photos := [shown(path) for path in named if not _is_film(path, animations=True)]:
        raise typer.BadParameter(f"{photos[0]}: is no film by its name; photos go with `facemend restore`")
    if given.indices:
        raise typer.BadParameter(f"--faces {given.faces}: numbers go with one photo only")
    options = checked(RestoreOptions, **({"w": DEFAULT_W} | given.settings(**own)))
    kind = FileKind("films", VIDEO_SUFFIXES, tuple(FORMATS), ".mkv")
    batch = checked(plan_batch, inputs, given.output, kind=kind)
    for output, count in Counter(job.output for job in batch.jobs).items():
        if count > 1:
            raise typer.BadParameter(f"{shown(output)}: {count} films would have that name: one at a time")
    plans = [checked(_video_options, job.output, given) for job in batch.jobs]
    options, model = resolve_model(options)
    films = _Films(options, model, batch.root, Outputs(batch.inputs, overwrite=True))
    with nullcontext() if batch.root is None else sole_run(batch.root):
        for number, (job, video) in enumerate(zip(batch.jobs, plans, strict=True)):
            try:
                films.do(job, video)
            except FacemendError as error:
                if len(batch.jobs) == 1:
                    raise
                warn(f"facemend: {error}")
                films.failed += 1
            except KeyboardInterrupt:
                _tell_stop(job, len(batch.jobs) - number - 1)
                raise typer.Exit(STOPPED) from None
    tell_ignored(batch.ignored, "films")
    tell_unlisted(batch)
    if len(inputs) > len(named):
        films.sum_up(batch.places)
    if films.failed or films.otherwise or batch.unlisted or not batch.jobs:
        raise typer.Exit(1)


@dataclass
class _Films:
    """A run over films.

    Attributes:
        options: how faces are restored.
        model: the one that they name.
        root: the folder that films of a folder go to, with the records of what is done; None: it has none.
        outputs: sees to it that no film replaces an input, or another film of the run.
        networks: loaded once they are needed.
        done: films that went well now.
        before: films that an earlier run had done.
        otherwise: how many an earlier run had done with which other options.
        failed: the others.
    """

    options: RestoreOptions
    model: ModelInfo | None
    root: Path | None
    outputs: Outputs
    networks: Networks | None = None
    done: int = 0
    before: int = 0
    otherwise: Counter[str] = field(default_factory=Counter)
    failed: int = 0

    def do(self, job: PhotoJob, video: VideoOptions) -> None:
        """Restore a film and tell of it, unless that was done before."""
        from facemend.folder.records import Stamp
        from facemend.video.restore import load_networks, restore_video

        self.outputs.claim(job.output, done=True)
        records = self._records(video)
        stamp = Stamp.of(job.source)
        if records is not None and self._is_done(job, records, stamp, overwrite=video.overwrite):
            return
        self.networks = self.networks or interruptible(partial(load_networks, self.options, self.model))
        with _progress(shown(job.source)) as on_frame:
            work = partial(restore_video, job.source, job.output, self.options, video)
            result = interruptible(partial(work, networks=self.networks, on_frame=on_frame))
        if records is not None and stamp is not None:
            record = interruptible(partial(_record, job, stamp, records))
            if record is None:
                warn(f"{shown(job.source)}: has changed meanwhile: to restore it as it is now, --overwrite")
            else:
                records.put(record)
        self.done += 1
        _tell(job.source, result)

    def _records(self, video: VideoOptions) -> Records[FolderStore] | None:
        from facemend.folder.records import FolderStore, Records, pixel_options

        if self.root is None:
            return None
        span = {side: None if value is None else str(value) for side, value in asdict(video.span).items()}
        how = pixel_options(self.options, self.model) | asdict(video.coding) | span
        how |= {"fast": True} if video.fast else {}  # which records from before it was there do not have
        return Records(FolderStore(self.root), how)

    def _is_done(
        self, job: PhotoJob, records: Records[FolderStore], stamp: Stamp | None, *, overwrite: bool
    ) -> bool:
        """Whether there is nothing to do, which is counted."""
        record = records.find(records.store.below(job.output), stamp, partial(_sha256, job.source))
        if record is None or not records.is_whole(record.outputs):
            return False
        others = records.other_options(record)
        if others and overwrite:
            return False
        if others:
            self.otherwise[others] += 1
        else:
            self.before += 1
        return True

    def sum_up(self, places: Sequence[Path]) -> None:
        """Tell what became of the films of folders."""
        tell_otherwise(self.otherwise, "film", places)
        if not self.done + self.before + self.failed + sum(self.otherwise.values()):
            warn("facemend: no films found")
            return
        others = other_count(self.otherwise)
        say(f"{plural(self.done, 'film')} done, {self.before} done before{others}, {self.failed} failed")
        tell_places(places)


def _record(job: PhotoJob, stamp: Stamp, records: Records[FolderStore]) -> Record | None:
    """The record of a film that is done; None where another one has taken its place meanwhile."""
    from facemend.folder.records import Output, Record, Stamp

    made = Output(records.store.below(job.output), job.output.stat().st_size, _sha256(job.output))
    source = _sha256(job.source)
    if Stamp.of(job.source) != stamp:
        return None
    return Record(job.relative.as_posix(), stamp, source, records.options, (made,))


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot be read ({error.strerror or error})") from error


def _tell_stop(job: PhotoJob, left: int) -> None:
    from facemend.video.segments import kept_frames

    frames = kept_frames(job.output)
    kept = f"{plural(frames, 'frame')} of it are kept" if frames else "nothing of it is kept"
    goes_on = "goes on from there" if frames else "begins it anew"
    films = f", and {plural(left, 'film')} after it are left" if left else ""
    warn(f"facemend: stopped in {shown(job.source)}: {kept}{films}; the same command {goes_on}")


def _video_options(output: Path, given: FilmOptions) -> VideoOptions:
    from facemend.video.encode import FilmCoding
    from facemend.video.mux import Span
    from facemend.video.restore import VideoOptions

    codec = given.codec or ("vp9" if output.suffix.lower() == ".webm" else "h264")
    span = Span(_time(given.start), _time(given.end))
    return VideoOptions(span, FilmCoding(codec, given.crf), given.overwrite, given.fast)


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

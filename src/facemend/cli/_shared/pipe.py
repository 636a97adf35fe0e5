"""One photo from stdin, to stdout, or both: `facemend restore - -o - < old.jpg > new.jpg`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os.path import isdir  # as that of pathlib, but does not raise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facemend.cli._shared.console import warn
from facemend.cli._shared.options import PIPE, PhotoOptions, checked
from facemend.cli._shared.photos import chosen, tell
from facemend.cli._shared.stopping import interruptible
from facemend.cli._shared.weights import load, resolve_model
from facemend.errors import InputError, OutputError

if TYPE_CHECKING:
    from facemend.photo.result import PhotoResult
    from facemend.photo.task import PhotoTask

_STDIN = Path("stdin")
"""What messages call it."""


def is_piped(photos: Sequence[Path], output: Path | None) -> bool:
    """Whether a photo comes from stdin or goes to stdout."""
    return PIPE in photos or output == PIPE


def run_piped(
    home: Callable[[], tuple[type[PhotoTask], Callable[..., PhotoResult]]],
    photos: Sequence[Path],
    given: PhotoOptions,
    own: Mapping[str, Any] | None = None,
    mask: Path | None = None,
) -> None:
    """Work on one photo; stdout has nothing but the result, and that only once it is whole.

    Args:
        home: imports what does it, and gives its class and its method for one photo.
        photos: a file, or `PIPE`.
        given: what was asked for; without an output, or with `PIPE`, the result goes to stdout.
        own: further fields of `RestoreOptions`, which only this command has.
        mask: file of what is to be filled in.
    """
    from facemend.folder.run import make_report, settled
    from facemend.imaging import Outputs, encode_for, read_content, suffix_of
    from facemend.photo.file import do_file
    from facemend.photo.networks import task_options

    _check(photos, given)
    task, work = home()
    extension = given.naming["extension"]
    options = checked(task_options, task.task, None, given.settings(**own or {}))
    options, model = resolve_model(options, task.task)
    source = _STDIN if photos[0] == PIPE else photos[0]
    outputs = Outputs([source, *([mask] if mask else [])], overwrite=given.overwrite)
    target = None if given.output in (None, PIPE) else given.output
    if target is not None:
        outputs.claim(target)
    if model is not None and task.task != "restoration":
        warn(f"network: {model.name}, from {model.origin}")
    content = interruptible(_read_stdin) if photos[0] == PIPE else read_content(source)
    worker = load(task, options, model)
    picture, result = interruptible(partial(do_file, partial(work, worker), source, mask, content, options))
    name = target or Path("stdout").with_suffix(extension or suffix_of(picture.format))
    result, copied = settled(picture, result, name)
    report = make_report(source, name, result, 0.0)
    tell(report, worker.notes, auto=options.w == "auto")
    if result.factor > 1 and options.upscale == "auto":
        warn(f"{source}: {result.factor} times as large: --upscale 1 keeps the size")
    for face in report.faces if options.w == "auto" else ():
        if face.get("looks"):
            warn(chosen(face).strip())
    data = content if copied else encode_for(name, result.picture)
    if target is not None:
        outputs.save_content(target, data)
        return
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(f"stdout: cannot be written ({error.strerror})") from error


def _check(photos: Sequence[Path], given: PhotoOptions) -> None:
    """Refuse what does not go with a pipe."""
    named = ("compare", "crops", "report", "suffix", "jobs")
    if unfit := [f"--{name}" for name in named if getattr(given, name)]:
        raise typer.BadParameter(f"{', '.join(unfit)}: not with stdin or stdout (-)")
    if len(photos) != 1 or isdir(photos[0]):
        raise typer.BadParameter("- is one photo: give no others, and no folder")
    if given.output not in (None, PIPE) and (isdir(given.output) or not given.output.suffix):
        raise typer.BadParameter(f"-o {given.output}: a photo from stdin has no name: name the file")
    if given.output in (None, PIPE) and sys.stdout is None:
        raise OutputError("stdout: is closed: use -o FILE")
    if given.output in (None, PIPE) and sys.stdout.isatty():
        raise typer.BadParameter(
            "a photo is not written to a terminal: redirect it (> new.jpg), or use -o FILE"
        )


def _read_stdin() -> bytes:
    from facemend.imaging import largest_file

    limit = largest_file()
    if sys.stdin is None:
        raise InputError("stdin: is closed: pipe a photo into it (< old.jpg)")
    content = sys.stdin.buffer.read(limit + 1)
    if not content:
        raise InputError("stdin: nothing came: pipe a photo into it (< old.jpg)")
    if len(content) > limit:
        raise InputError(f"stdin: more than {limit / 1e9:.1f} GB is too large for a picture file")
    return content

"""What the commands say: results on stdout, progress and problems on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from os.path import realpath
from pathlib import Path
from time import monotonic

import typer

_EVERY_S = 60.0


def say(line: str) -> None:
    """A result, on stdout."""
    typer.echo(printable(line))


def warn(line: str) -> None:
    """A problem or notice, on stderr."""
    typer.echo(printable(line), err=True)


def printable(line: str) -> str:
    """The text with what would steer a terminal (in file names, say) as escapes; it stays one line."""
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in line)


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr with the time left; a line every minute if that is no terminal.

    Yields:
        Function to call once an item is done.
    """
    if total < 2 or not sys.stderr.isatty():
        yield _lines(label, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)


def _lines(label: str, total: int) -> Callable[[], None]:
    """Tells of the items done every minute, for logs of long runs."""
    begun = told = monotonic()
    done = 0

    def advance() -> None:
        nonlocal told, done
        done += 1
        if monotonic() - told >= _EVERY_S:
            told = monotonic()
            left = timedelta(seconds=round((told - begun) / done * (total - done)))
            warn(f"{label}: {done} of {total}, {left} left")

    return advance


@contextmanager
def byte_progress(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar of a download on stderr with speed and time left; nothing if that is no terminal.

    Yields:
        Function to call with the bytes that are there and their total (None: not known).
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as SpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), SpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def plural(number: int, noun: str) -> str:
    """`1 face`, `2 faces`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown(path: Path | str) -> str:
    """A path as short as can be: relative to the current folder if it lies inside it; a URL as it is."""
    if isinstance(path, str):
        return path
    try:
        return str(Path(realpath(path)).relative_to(Path.cwd())) or "."
    except ValueError:
        return str(path)

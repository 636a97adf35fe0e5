"""A folder that photos come into: each is done once it is whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

from facemend.folder.plan import Batch
from facemend.folder.records import Stamp


def settled(
    plan: Callable[[], Batch],
    wakes: Iterable[Collection[object]],
    quiet: float,
    clock: Callable[[], float] = monotonic,
    tell: Callable[[Sequence[Path]], None] = lambda ignored: None,
) -> Iterator[Batch]:
    """The photos that are new or changed, once nobody has written to them for a while.

    A file that is still copied decodes as a photo that was cut off, so its bytes cannot tell that it is
    whole. What is given out once is not given out again before it changes, whatever became of it.

    Args:
        plan: looks at the folder and says what is there to do.
        wakes: ends each wait: with what has changed in the folder, or with nothing after a time.
        quiet: seconds for which a file must have stayed as it is.
        clock: seconds.
        tell: of the files that are no photos by their names, of each once.
    """
    told: set[Path] = set()
    since: dict[Path, tuple[Stamp, float]] = {}
    done: dict[Path, Stamp] = {}
    waiting = True
    for changes in wakes:
        if not changes and not waiting:
            continue
        batch, now = plan(), clock()
        if others := [path for path in batch.ignored if path not in told]:
            told.update(others)
            tell(others)
        stamps = {job.source: Stamp.of(job.source) for job in batch.jobs}
        there = {path: stamp for path, stamp in stamps.items() if stamp is not None}
        before = since
        since = {
            path: before[path] if path in before and before[path][0] == stamp else (stamp, now)
            for path, stamp in there.items()
        }
        left = {path: began for path, (stamp, began) in since.items() if done.get(path) != stamp}
        ready = {path for path, began in left.items() if now - began >= quiet}
        waiting = len(ready) < len(left)
        if ready:
            done |= {path: there[path] for path in ready}
            yield replace(batch, jobs=tuple(job for job in batch.jobs if job.source in ready))

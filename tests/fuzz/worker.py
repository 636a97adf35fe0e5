"""A process that reads, restores and writes broken pictures or films, and prints one line of JSON for each.

    python worker.py pictures|films MODEL FOLDER FIRST LAST

Apart from the tests, so that a crash or a hang of a decoder costs this process only.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from mutations import FILM_MUTATIONS, MUTATIONS, film_seeds, mutated, seeds

from facemend.errors import FacemendError
from facemend.folder.plan import plan_batch
from facemend.imaging import WRITABLE, Outputs, read_picture
from facemend.photo.file import do_file
from facemend.photo.networks import Networks
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import Restorer
from facemend.video.encode import FilmCoding
from facemend.video.read import probe
from facemend.video.restore import VideoOptions, restore_video

MEMORY = 8 << 30
"""Address space of the process: a file of kilobytes must not need more."""


def main(kind: str, model: str, folder: Path, first: int, last: int) -> None:
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if kind == "films":
        files, mutations = film_seeds(), FILM_MUTATIONS
        options = RestoreOptions(model=model, threads=1)
        networks = Networks.load(options)
        attempts = [partial(attempt_film, suffix, options, networks) for suffix in (".mkv", ".mp4")]
    else:
        files, mutations = seeds(), MUTATIONS
        # Half of the files as photos (detector, no face in them), half as aligned faces (network, paste).
        restorers = [Restorer(model=model, threads=1, aligned=aligned) for aligned in (False, True)]
        attempts = [partial(attempt, restorer) for restorer in restorers]
    say({"ready": True})
    for number in range(first, last):
        name, data = mutated(number, files, mutations)
        source = folder / name
        source.write_bytes(data)
        say({"begin": name})
        start = time.perf_counter()
        outcome = attempts[number // len(files) % len(attempts)](source, folder / "out")
        say({"done": name, "seconds": round(time.perf_counter() - start, 2), **outcome})
        if "problem" not in outcome:
            source.unlink()


def attempt(restorer: Restorer, source: Path, out: Path) -> dict[str, str]:
    """Restore one picture as a folder run does, and look at what is left behind."""
    (job,) = plan_batch([source], out).jobs
    assert job.output.suffix in WRITABLE

    def work() -> None:
        outputs = Outputs([source], overwrite=False)
        outputs.claim(job.output)
        _, result = do_file(restorer.restore, source)
        outputs.save(job.output, result.picture)

    return watched(work, read_picture, source, job.output)


def attempt_film(
    suffix: str, options: RestoreOptions, networks: Networks, source: Path, out: Path
) -> dict[str, str]:
    """The same of a film."""
    output = out / f"{source.name}{suffix}"
    coding = FilmCoding(crf=51)
    work = partial(restore_video, source, output, options, VideoOptions(coding=coding), networks=networks)
    return watched(work, probe, source, output)


def watched(
    work: Callable[[], object], read: Callable[[Path], object], source: Path, output: Path
) -> dict[str, str]:
    """Do the work, and look at what is left behind."""
    out = output.parent
    error = None
    try:
        work()
    except FacemendError as caught:
        error = str(caught)
    except BaseException:
        return {"problem": traceback.format_exc()}
    left = sorted(out.iterdir()) if out.is_dir() else []
    for path in left:
        if path != output:
            return {"problem": f"left behind: {path.name}"}
    if error is None:
        if left != [output]:
            return {"problem": "nothing was written"}
        read(output)
        output.unlink()
        return {"outcome": "restored"}
    if left:
        return {"problem": f"refused ({error}), but written"}
    if "not enough memory" in error or "cannot be written" in error:
        return {"problem": error}
    if "\n" in error or source.name not in error:
        return {"problem": f"not one line that names the file: {error!r}"}
    return {"outcome": "refused", "error": error}


def say(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))

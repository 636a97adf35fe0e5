"""A process that reads, restores and writes broken files, and prints one line of JSON for each.

    python worker.py MODEL FOLDER FIRST LAST

Apart from the tests, so that a crash or a hang of a decoder costs this process only.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from mutations import mutated, seeds

from facemend.errors import FacemendError
from facemend.folder.plan import plan_batch
from facemend.imaging import WRITABLE, Outputs, read_picture
from facemend.photo.file import do_file
from facemend.photo.restore import Restorer

MEMORY = 8 << 30
"""Address space of the process: a file of kilobytes must not need more."""


def main(model: str, folder: Path, first: int, last: int) -> None:
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Half of the files as photos (detector, no face in them), half as aligned faces (network, paste).
    restorers = [Restorer(model=model, threads=1, aligned=aligned) for aligned in (False, True)]
    files = seeds()
    say({"ready": True})
    for number in range(first, last):
        name, data = mutated(number, files)
        source = folder / name
        source.write_bytes(data)
        say({"begin": name})
        start = time.perf_counter()
        outcome = attempt(restorers[number // len(files) % 2], source, folder / "out")
        say({"done": name, "seconds": round(time.perf_counter() - start, 2), **outcome})
        if "problem" not in outcome:
            source.unlink()


def attempt(restorer: Restorer, source: Path, out: Path) -> dict[str, str]:
    """Restore one file as a folder run does, and look at what is left behind."""
    (job,) = plan_batch([source], out).jobs
    outputs = Outputs([source], overwrite=False)
    error = None
    try:
        outputs.claim(job.output)
        _, result = do_file(restorer.restore, source)
        outputs.save(job.output, result.picture)
    except FacemendError as caught:
        error = str(caught)
    except BaseException:
        return {"problem": traceback.format_exc()}
    left = sorted(out.iterdir()) if out.is_dir() else []
    for path in left:
        if path != job.output:
            return {"problem": f"left behind: {path.name}"}
    if error is None:
        if left != [job.output] or job.output.suffix not in WRITABLE:
            return {"problem": "nothing was written"}
        read_picture(job.output)
        job.output.unlink()
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
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

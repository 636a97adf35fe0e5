#!/usr/bin/env python3
"""Films and folders as whole processes: wall and processor seconds, of several checkouts in turn.

Without --film a portrait pans through 640 x 480, one face. Every run is a process of its own; the checkouts
take turns, and medians are printed. On a machine that does other work only the processor seconds tell much.

Example: scripts/measure_runs.py --photos ALBUM --checkout . --checkout ../main --cores 2
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from facemend.photo.options import DEFAULT_MODEL
from measure_flicker import PORTRAIT, RATE, make_clip

ROOT = Path(__file__).resolve().parents[1]


def make_film(path: Path, frames: int) -> Path:
    """A portrait that pans through a small frame."""
    import av

    from facemend.imaging import read_picture
    from facemend.predictors.detector import FaceDetector

    image = read_picture(PORTRAIT).as_float()
    (face,) = FaceDetector().detect(image, max_faces=1)
    clip = make_clip(image, face, frames, side=200, size=(640, 480), noise=8, crf=23)
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=RATE, width=640, height=480, options={"crf": "18"})
        stream.pix_fmt = "yuv420p"
        for frame in clip.film:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        film.mux(stream.encode(None))
    return path


def measured(checkout: Path, arguments: list[str], output: Path, cores: int) -> tuple[float, float]:
    """Wall and processor seconds of one command that writes to a new output."""
    command = [sys.executable, "-m", "facemend", *arguments, "-o", str(output)]
    place = {"PYTHONPATH": str(checkout.resolve() / "src")}

    def pinned() -> None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    subprocess.run(command, env=os.environ | place, check=True, stdout=subprocess.DEVNULL, preexec_fn=pinned)
    wall, after = perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkout", type=Path, action="append", help="repeat it; default: this one")
    parser.add_argument("--cores", type=int, action="append", help="repeat it; default: 2")
    parser.add_argument("--photos", type=Path, help="a folder of photos to measure, too")
    parser.add_argument("--film", type=Path, help="to measure instead of the made one")
    parser.add_argument("--frames", type=int, default=100, help="of the made film")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument(
        "--fast", action="store_true", help="films with --fast, too; all checkouts must have it"
    )
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    most = len(os.sched_getaffinity(0))
    if not all(1 <= cores <= most for cores in given.cores or ()):
        parser.error(f"--cores: 1 to {most} here")
    with tempfile.TemporaryDirectory() as folder:
        film = given.film or make_film(Path(folder, "film.mp4"), given.frames)
        work = {"film": ["video", str(film), "--model", given.model]}
        work |= {"film --fast": [*work["film"], "--fast"]} if given.fast else {}
        work |= {"folder": ["restore", str(given.photos), "--model", given.model]} if given.photos else {}
        cases = [
            (name, checkout, cores)
            for name in work
            for cores in given.cores or [2]
            for checkout in given.checkout or [ROOT]
        ]
        found: dict[object, list[tuple[float, float]]] = {case: [] for case in cases}
        for run in range(given.runs):
            for number, case in enumerate(cases):
                name, checkout, cores = case
                output = Path(folder, f"{run}-{number}{'' if name == 'folder' else '.mp4'}")
                found[case].append(measured(checkout, work[name], output, cores))
        for case in cases:
            wall, processor = (statistics.median(values) for values in zip(*found[case], strict=True))
            print(f"{case[0]:12}{case[2]} cores {wall:8.2f} s wall {processor:8.2f} s processor  {case[1]}")


if __name__ == "__main__":
    main()

"""How fast this machine restores: the network, whole photos, and whole commands beside another program's."""

from __future__ import annotations

import multiprocessing
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from itertools import count, product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from facemend.errors import BackendError, ConfigError
from facemend.imaging import Picture, read_picture, resize
from facemend.photo.networks import load_network
from facemend.photo.options import RestoreOptions, make_options
from facemend.photo.restore import Restorer
from facemend.predictors.restorer import FaceRestorer
from facemend.runtime.cores import usable_cores
from facemend.weights.catalog import assets_folder

REPEATS = 5
PORTRAIT = "demo/portrait.jpg"
CROWD_SIZE, CROWD_FACES = (4000, 3000), (5, 4)
"""Size in pixels, and faces across and down, of the photo that stands for a group photo."""
STEPS = ("encode", "decode", "decode_w0", "whole")
NETWORK_PARTS = ("detect", "encode", "decode")
INPUT, OUTPUT = "{input}", "{output}"
_OURS = (sys.executable, "-m", "facemend", "restore", INPUT, "-o", OUTPUT, "--upscale", "1")
_PACKAGES = ("facemend", "numpy", "onnxruntime", "opencv-python-headless", "torch")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure; each of several values with each of the others.

    Attributes:
        restore: device and the rest; its model, backend, precision and threads are replaced by those below.
        models: networks; photos are restored with the first. None: that of `restore`.
        backends: "onnx", "torch".
        precisions: "fp32", "bf16"; bf16 is measured with torch only.
        threads: CPU threads; 0: automatic.
        batches: faces a run.
        repeats: runs of each that count, at least 1; medians are told.
        photos: files of photos; none: the demo portrait, and 20 of it in one photo of 12 megapixels.
        against: command of another program with {input} and {output} in it; empty: none.

    Raises:
        ConfigError: a value is out of range, or `against` lacks a place for a file.
    """

    restore: RestoreOptions
    models: tuple[str, ...] = ()
    backends: tuple[str, ...] = ("onnx",)
    precisions: tuple[str, ...] = ("fp32",)
    threads: tuple[int, ...] = (0,)
    batches: tuple[int, ...] = (1, 4)
    repeats: int = REPEATS
    photos: tuple[Path, ...] = ()
    against: str = ""

    def __post_init__(self) -> None:
        if self.repeats < 1 or any(batch < 1 for batch in self.batches):
            raise ConfigError("repeats and batches must be 1 or more")
        words = _words(self.against)
        missing = [place for place in (INPUT, OUTPUT) if words and not any(place in word for word in words)]
        if missing:
            raise ConfigError(f"the command to compare with needs {missing[0]} where the file belongs")
        if not self.setups():
            raise ConfigError("precision bf16 needs backend torch; add it")

    def setups(self) -> list[RestoreOptions]:
        """The ways to run the network."""
        return [
            make_options(
                self.restore,
                {"model": model, "backend": backend, "precision": precision, "threads": threads},
            )
            for model, backend, precision, threads in product(
                self.models or (self.restore.model,), self.backends, self.precisions, self.threads
            )
            if precision == "fp32" or backend == "torch"
        ]


def run_bench(options: BenchOptions) -> dict[str, Any]:
    """Measure; what is compared takes turns in one process, and memory is measured in processes of their own.

    Returns:
        `date`, `machine`, `network` (a row for each setup and batch), `photos` and `commands`.

    Raises:
        FacemendError: a model, device or photo cannot be used, or a command failed.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "repeats": options.repeats,
        "network": measure_network(options),
        "photos": measure_photos(options),
        "commands": measure_commands(options),
    }


def machine() -> dict[str, Any]:
    """Processor, cores, system and versions."""
    return {
        "processor": processor(),
        "cores": usable_cores(),
        "system": platform.platform(),
        "versions": versions(_PACKAGES),
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Of Python, and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def measure_network(options: BenchOptions) -> list[dict[str, Any]]:
    """A row for each setup and batch: ms of encode, decode, decode at w = 0 and the whole, and the ratios.

    `w0_share` is a pass at w = 0 over a whole one, `redo_share` another w of a known face over a whole pass.
    """
    rows: list[dict[str, Any]] = []
    works: dict[str, Callable[[], object]] = {}
    for setup in options.setups():
        network = load_network(setup)
        for batch in options.batches:
            shape = (batch, network.image_size, network.image_size, 3)
            faces = np.random.default_rng(0).random(shape, dtype=np.float32)
            known = network.encode(faces)
            parts: dict[str, Callable[[], object]] = {
                "encode": partial(network.encode, faces),
                "decode": partial(network.decode, known, 0.5),
                "decode_w0": partial(network.decode, known, 0.0),
                "whole": partial(whole_pass, network, faces),
            }
            works |= {f"{len(rows)} {part}": work for part, work in parts.items()}
            how = {
                "model": setup.model,
                "backend": setup.backend,
                "device": network.device,
                "precision": setup.precision,
            }
            rows.append({**how, "threads": setup.threads or usable_cores(), "batch": batch})
            rows[-1]["peak_mb"] = apart(setup.model, _network_peak, setup, faces)
    seconds = interleaved(works, options.repeats)
    for number, row in enumerate(rows):
        ms = {part: 1000 * median(seconds[f"{number} {part}"]) for part in STEPS}
        row["ms"] = {part: round(value, 2) for part, value in ms.items()}
        row["faces_per_s"] = round(1000 * row["batch"] / ms["whole"], 2)
        row["w0_share"] = round((ms["encode"] + ms["decode_w0"]) / ms["whole"], 3)
        row["redo_share"] = round(ms["decode"] / ms["whole"], 3)
    return rows


def whole_pass(network: FaceRestorer, faces: NDArray[np.float32]) -> None:
    """Restore faces (N, S, S, 3), and drop them."""
    network.decode(network.encode(faces), 0.5)


def _network_peak(setup: RestoreOptions, faces: NDArray[np.float32]) -> float | None:
    whole_pass(load_network(setup), faces)
    return peak_mb()


def measure_photos(options: BenchOptions) -> list[dict[str, Any]]:
    """A row for each photo: its faces, ms of each part and of the whole, reading and writing left out.

    `outside_share` is what is spent outside detector and network.
    """
    setup = options.setups()[0]
    restorer = Restorer(setup)
    rows: dict[str, dict[str, Any]] = {}
    runs: dict[str, list[Mapping[str, float]]] = {}
    works: dict[str, Callable[[], object]] = {}
    for source in options.photos or (None, CROWD_SIZE):
        picture = _photo(source)
        name = str(source) if isinstance(source, Path) else "crowd" if source else "portrait"
        faces = len(restorer.restore(picture).faces)
        rows[name] = {"photo": name, "width": picture.width, "height": picture.height, "faces": faces}
        rows[name]["peak_mb"] = apart(name, _photo_peak, setup, source)
        runs[name] = []
        works[name] = partial(_timed, restorer, picture, runs[name])
    for name, seconds in interleaved(works, options.repeats).items():
        whole, held = 1000 * median(seconds), runs[name][1:]
        ms = {part: 1000 * median(run[part] for run in held) for part in held[0]}
        inside = sum(ms.get(part, 0.0) for part in NETWORK_PARTS)
        rows[name]["ms"] = {part: round(value, 2) for part, value in (ms | {"whole": whole}).items()}
        rows[name]["outside_share"] = round(1 - inside / whole, 3)
    return list(rows.values())


def _timed(restorer: Restorer, picture: Picture, held: list[Mapping[str, float]]) -> None:
    held.append(restorer.restore(picture).seconds)


def _photo_peak(setup: RestoreOptions, source: Path | tuple[int, int] | None) -> float | None:
    picture = _photo(source)
    Restorer(setup).restore(picture)
    return peak_mb()


def _photo(source: Path | tuple[int, int] | None) -> Picture:
    if isinstance(source, Path):
        return read_picture(source)
    portrait = read_picture(assets_folder() / PORTRAIT)
    return crowd(portrait, source) if source else portrait


def crowd(portrait: Picture, size: tuple[int, int], faces: tuple[int, int] = CROWD_FACES) -> Picture:
    """Many of one portrait in one photo, at sizes from 0.7 to 1 of their place.

    Args:
        portrait: a picture with one face.
        size: (width, height) of the photo, pixels.
        faces: how many (across, down).
    """
    columns, rows = faces
    cell = min(size[0] // columns, size[1] // rows)
    pixels = np.full((size[1], size[0], 3), 128, portrait.pixels.dtype)
    for number, (row, column) in enumerate(product(range(rows), range(columns))):
        side = round(cell * (1 - 0.3 * (number % 4) / 3))
        x, y = column * size[0] // columns, row * size[1] // rows
        pixels[y : y + side, x : x + side] = resize(portrait.pixels, (side, side), "lanczos")
    return Picture(pixels)


def measure_commands(options: BenchOptions) -> list[dict[str, Any]]:
    """Median seconds of whole processes on the first photo: ours with the default model, and the other's."""
    source = options.photos[0] if options.photos else assets_folder() / PORTRAIT
    commands = {"facemend restore": list(_OURS)}
    if options.against:
        commands[options.against] = _words(options.against)
    with tempfile.TemporaryDirectory() as folder:
        outputs = (Path(folder) / f"{number}.png" for number in count())
        works = {name: partial(_run, words, source, outputs) for name, words in commands.items()}
        seconds = interleaved(works, options.repeats)
    return [{"command": name, "s": round(median(runs), 3)} for name, runs in seconds.items()]


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"the command to compare with cannot be read ({error})") from None


def _run(words: Sequence[str], source: Path, outputs: Iterator[Path]) -> None:
    """Run a command, never through a shell; its output is the next of `outputs`.

    Raises:
        BackendError: it cannot be started, fails or writes nothing.
    """
    output = next(outputs)
    line = [word.replace(INPUT, str(source)).replace(OUTPUT, str(output)) for word in words]
    try:
        done = subprocess.run(line, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise BackendError(f"{words[0]}: cannot be started ({error.strerror})") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-1]
        raise BackendError(f"{words[0]}: failed with status {done.returncode} ({last[:200]})")
    if not output.exists():
        raise BackendError(f"{words[0]}: wrote nothing to {OUTPUT}")


def processor() -> str:
    """The processor in words."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            names = [line.partition(":")[2].strip() for line in stream if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else (platform.processor() or platform.machine())


def peak_mb() -> float | None:
    """Most memory that this process has held, in 10^6 bytes; None where the system does not tell."""
    try:
        # Not ru_maxrss there: Linux hands the parent's peak down to the processes that it starts.
        with open("/proc/self/status", encoding="ascii", errors="replace") as stream:
            peak = next(int(line.split()[1]) * 1024 for line in stream if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        try:
            import resource
        except ImportError:  # Windows
            return None
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return round(peak / 1e6, 1)


def interleaved(
    candidates: Mapping[str, Callable[[], object]], repeats: int = REPEATS
) -> dict[str, list[float]]:
    """Seconds of each run of each candidate, which take turns, so that what disturbs one disturbs all.

    Args:
        candidates: what to run, by name; each runs once more before, to load and allocate.
        repeats: runs that count.
    """
    for work in candidates.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, work in candidates.items():
            start = perf_counter()
            work()
            seconds[name].append(perf_counter() - start)
    return seconds


def median_seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median of the runs of one candidate, after one that does not count."""
    return median(interleaved({"it": work}, repeats)["it"])


def apart(
    what: str, work: Callable[..., Result], *arguments: Any, hint: str = "use a smaller model"
) -> Result:
    """Run a function in a process of its own, so that its memory is its own.

    Args:
        what: name of it in messages.
        work: function of a module.
        arguments: of the function; all must be picklable.
        hint: what the user can do if the process dies.

    Raises:
        BackendError: the process died, for example for want of memory.
    """
    # Unlike multiprocessing.Pool, this one does not wait for ever for a process that was killed.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work, *arguments).result()
        except BrokenProcessPool as error:
            raise BackendError(
                f"{what}: the process that measures it died, perhaps for want of memory; {hint}"
            ) from error

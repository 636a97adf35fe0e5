"""How fast this machine restores: the network, whole photos, and whole commands beside another program's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemend.errors import ConfigError
from facemend.imaging import Picture, read_header, read_picture, resize
from facemend.photo.commands import measure_commands, places_missing, where_time_goes
from facemend.photo.networks import load_network
from facemend.photo.options import RestoreOptions, make_options
from facemend.photo.restore import Restorer
from facemend.photo.timing import REPEATS, apart, interleaved, machine, peak_mb
from facemend.predictors.restorer import FaceRestorer
from facemend.runtime.cores import usable_cores
from facemend.weights.catalog import assets_folder

PORTRAIT = "demo/portrait.jpg"
CROWD_SIZE, CROWD_FACES = (4000, 3000), (5, 4)
"""Size in pixels, and faces across and down, of the photo that stands for a group photo."""
STEPS = ("encode", "decode", "decode_w0", "whole")
NETWORK_PARTS = ("detect", "encode", "decode")


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
        if missing := places_missing(self.against):
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


def run_bench(options: BenchOptions, *, on_part: Callable[[str], None] = lambda part: None) -> dict[str, Any]:
    """Measure; what is compared takes turns in one process, and memory is measured in processes of their own.

    Args:
        options: what to measure.
        on_part: told what is measured next, before it begins.

    Returns:
        `date`, `machine`, `network` (a row for each setup and batch), `photos`, `commands` and `parts`:
        seconds of each part of one `facemend restore` of the first photo, from start to end of the process.

    Raises:
        FacemendError: a model, device or photo cannot be used, or a command failed.
    """
    for photo in options.photos:  # refused before the work
        read_header(photo)
    first = options.photos[0] if options.photos else assets_folder() / PORTRAIT
    works: dict[str, Callable[[], Any]] = {
        "network": partial(measure_network, options),
        "photos": partial(measure_photos, options),
        "commands": partial(measure_commands, first, options.against, options.repeats),
        "parts": partial(where_time_goes, first, options.repeats),
    }
    told: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "repeats": options.repeats,
    }
    for part, work in works.items():
        on_part(part)
        told[part] = work()
    return told


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
    runs: dict[str, list[tuple[int, Mapping[str, float]]]] = {}
    works: dict[str, Callable[[], object]] = {}
    for source in options.photos or (None, CROWD_SIZE):
        picture = _photo(source)
        name = str(source) if isinstance(source, Path) else "crowd" if source else "portrait"
        rows[name] = {"photo": name, "width": picture.width, "height": picture.height}
        rows[name]["peak_mb"] = apart(name, _photo_peak, setup, source)
        runs[name] = []
        works[name] = partial(_timed, restorer, picture, runs[name])
    for name, seconds in interleaved(works, options.repeats).items():
        whole, held = 1000 * median(seconds), [parts for _, parts in runs[name][1:]]
        rows[name]["faces"] = runs[name][0][0]
        ms = {part: 1000 * median(run[part] for run in held) for part in held[0]}
        inside = sum(ms.get(part, 0.0) for part in NETWORK_PARTS)
        rows[name]["ms"] = {part: round(value, 2) for part, value in (ms | {"whole": whole}).items()}
        rows[name]["outside_share"] = round(1 - inside / whole, 3)
    return list(rows.values())


def _timed(restorer: Restorer, picture: Picture, held: list[tuple[int, Mapping[str, float]]]) -> None:
    result = restorer.restore(picture)
    held.append((len(result.faces), result.seconds))


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

#!/usr/bin/env python3
"""How the time grows with the work: faces and megapixels of a photo, pixels of a film, photos of a folder.

Each input is made from the portrait that ships with facemend. Every size takes turns with the others of its
kind, and the medians are told: as a table, as JSON, and as one plot (time over work, both relative to the
smallest, logarithmic). The exponent is the slope there: 1 is proportional, less means that a fixed part is
shared; the last one is that of the two largest sizes, where a part that grows faster would show first.
Needs the extra `video` for films. About 12 minutes on two quiet cores; one with --quick.

    python scripts/bench_growth.py -o docs/images
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import linear_regression, median
from xml.etree import ElementTree as ET

import av
import numpy as np

from facemend.charts.svg import Frame, tag
from facemend.folder.plan import plan_batch
from facemend.folder.run import run_batch
from facemend.imaging import Outputs, Picture, encode_picture, read_picture, resize, write_picture
from facemend.photo.bench import PORTRAIT, crowd
from facemend.photo.networks import Networks, find_named, share_cores
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import Restorer
from facemend.photo.timing import interleaved, machine
from facemend.video.restore import load_networks, restore_video
from facemend.weights.catalog import assets_folder

LINEAR = 1.15
"""Largest exponent that passes for linear: clocks are not exact."""
COLOURS = ("#b3261e", "#1f5fa8", "#1b7a43", "#8a4fa3")
OPTIONS = RestoreOptions(upscale=1)
GRID = (10, 8)  # places for faces, across and down


@dataclass(frozen=True)
class Sizes:
    """What is measured."""

    photo: tuple[int, int] = (4000, 3000)
    faces: tuple[int, ...] = (1, 5, 20, 80)
    megapixels: tuple[float, ...] = (1, 4, 12, 24, 48)
    film_heights: tuple[int, ...] = (240, 360, 480, 720, 1080)
    frames: int = 24
    photos: tuple[int, ...] = (10, 100, 1000)
    repeats: int = 2


QUICK = Sizes((1000, 750), (1, 2, 8), (0.2, 0.8), (120, 240), 3, (2, 8), 1)


@dataclass(frozen=True)
class Growth:
    """Seconds by size of one kind of work."""

    name: str
    unit: str
    seconds: Mapping[float, float]

    def exponent(self, last: int = 0) -> float:
        """Slope of log(seconds) over log(size), of all or of the last so many sizes."""
        points = [(math.log(size), math.log(s)) for size, s in self.seconds.items()][-last:]
        return linear_regression(*zip(*points, strict=True)).slope

    @property
    def is_linear(self) -> bool:
        """Whether it grows no faster than the work, all over and at its end."""
        return max(self.exponent(), self.exponent(2)) <= LINEAR


def measured(name: str, unit: str, works: Mapping[float, Callable[[], object]], repeats: int) -> Growth:
    print(f"measuring: {name}", flush=True)
    told = interleaved({str(size): work for size, work in works.items()}, repeats)
    return Growth(name, unit, {size: median(told[str(size)]) for size in works})


def restored(restorer: Restorer, photo: bytes) -> bytes:
    """From file to file, but for the disk."""
    return encode_picture(restorer.restore(photo).picture, "jpeg")


def with_faces(portrait: Picture, size: tuple[int, int], count: int) -> bytes:
    """A photo with so many faces of one size, whose other places are empty."""
    pixels = crowd(portrait, size, GRID).pixels
    for place in range(count, GRID[0] * GRID[1]):
        row, column = divmod(place, GRID[0])
        y, x = row * size[1] // GRID[1], column * size[0] // GRID[0]
        pixels[y : (row + 1) * size[1] // GRID[1], x : (column + 1) * size[0] // GRID[0]] = 128
    return encode_picture(Picture(pixels), "jpeg")


def of_megapixels(portrait: Picture, megapixels: float) -> bytes:
    """The same four faces in a photo of that size."""
    height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
    return encode_picture(crowd(portrait, (height * 4 // 3, height), (2, 2)), "jpeg")


def film(portrait: Picture, height: int, frames: int, path: Path) -> Path:
    """The portrait, which moves slowly through a film of 16:9."""
    width = height * 16 // 9 // 2 * 2
    face = resize(portrait.pixels, (height * 3 // 4, height * 3 // 4), "area")
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, width=width, height=height)
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            pixels = np.full((height, width, 3), 96, np.uint8)
            x = (width - len(face)) // 2 + number * height // 720
            pixels[height // 8 : height // 8 + len(face), x : x + len(face)] = face
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    return path


def restore_film(source: Path, networks: Networks) -> None:
    with tempfile.TemporaryDirectory() as folder:
        restore_video(source, Path(folder) / "out.mp4", networks=networks)


def restore_folder(source: Path, networks: Networks) -> None:
    with tempfile.TemporaryDirectory() as folder:
        batch = plan_batch([source], Path(folder) / "out")
        options, jobs = share_cores(OPTIONS, find_named(OPTIONS), len(batch.jobs))
        outputs = Outputs(batch.inputs, overwrite=False)
        reports = run_batch(batch, Restorer(options, networks=networks).restore, outputs, jobs=jobs)
        assert all(report.error is None for report in reports)


def folder_of(portrait: Picture, count: int, path: Path) -> Path:
    path.mkdir()
    small = Picture(resize(portrait.pixels, (256, 256), "area"))
    for number in range(count):
        write_picture(path / f"{number:04}.jpg", small)
    return path


def measure(sizes: Sizes, folder: Path) -> Iterator[Growth]:
    portrait = read_picture(assets_folder() / PORTRAIT)
    networks = Networks.load(OPTIONS)
    restorer = Restorer(OPTIONS, networks=networks)
    photos = {float(n): with_faces(portrait, sizes.photo, n) for n in sizes.faces}
    works: dict[float, Callable[[], object]] = {n: partial(restored, restorer, p) for n, p in photos.items()}
    yield measured("faces in a photo", "faces", works, sizes.repeats)
    works = {mp: partial(restored, restorer, of_megapixels(portrait, mp)) for mp in sizes.megapixels}
    yield measured("size of a photo", "megapixels", works, sizes.repeats)
    films = {h: film(portrait, h, sizes.frames, folder / f"{h}.mp4") for h in sizes.film_heights}
    own = load_networks(OPTIONS)  # several frames at once share the cores
    works = {h * h * 16 / 9 / 1e6: partial(restore_film, path, own) for h, path in films.items()}
    yield measured("size of a film", "megapixels a frame", works, sizes.repeats)
    # Longest, and steady in itself: a run is many photos.
    folders = {float(n): folder_of(portrait, n, folder / f"of-{n}") for n in sizes.photos}
    works = {n: partial(restore_folder, path, networks) for n, path in folders.items()}
    yield measured("photos in a folder", "photos", works, 1)


def table(growths: Sequence[Growth]) -> Iterator[str]:
    yield "| work | seconds by size | exponent | of the last two | no worse than linear |"
    yield "|---|---|---|---|---|"
    for g in growths:
        cells = ", ".join(f"{size:,.4g}: {s:.3g}" for size, s in g.seconds.items())
        verdict = "yes" if g.is_linear else "NO"
        yield f"| {g.name} ({g.unit}) | {cells} | {g.exponent():.2f} | {g.exponent(2):.2f} | {verdict} |"


def plot(growths: Sequence[Growth]) -> str:
    """One SVG: time over work, both as multiples of the smallest size's, with the line of proportion."""
    curves = [[(math.log10(x), math.log10(y)) for x, y in relative(g)] for g in growths]
    across = max(x for curve in curves for x, _ in curve) + 0.05
    up = max(across, *(y for curve in curves for _, y in curve))
    low = min(0.0, *(y for curve in curves for _, y in curve))
    frame = Frame((640, 420), (60, 16, 14, 46), 13, (0.0, across), (low - 0.05, up))
    svg = frame.open("growth", "How the time grows with the work", "; ".join(_told(g) for g in growths))
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    svg.set("font-family", "sans-serif")
    tag(svg, "rect", x=0, y=0, width=640, height=420, fill="#fff")
    values = [digit * 10**power for power in range(math.ceil(up) + 1) for digit in (1, 2, 5)]
    ticks = [(math.log10(value), f"{value:,}") for value in values]
    axes = frame.axes(
        svg,
        "times as much work as the smallest",
        "times as long",
        [t for t in ticks if t[0] <= across],
        [t for t in ticks if t[0] <= up],
    )
    axes.set("stroke", "#ddd")
    for text in axes.iter("text"):
        text.set("stroke", "none")
    frame.line(svg, [(0, 0), (across, across)], stroke="#999", stroke_dasharray="5 4", fill="none")
    for number, (growth, curve) in enumerate(zip(growths, curves, strict=True)):
        colour = COLOURS[number]
        frame.line(svg, curve, stroke=colour, stroke_width="2", fill="none")
        dots = tag(svg, "g", fill=colour)
        for point, (size, s) in zip(curve, growth.seconds.items(), strict=True):
            frame.dot(dots, point, 3.5, f"{growth.name}, {size:,.4g} {growth.unit}: {s:.3g} s")
        tag(dots, "text", _told(growth), x=78, y=34 + 18 * number)
    tag(svg, "text", "dashed: proportional", x=78, y=34 + 18 * len(growths), fill="#777")
    return ET.tostring(svg, encoding="unicode")


def relative(growth: Growth) -> list[tuple[float, float]]:
    (size, seconds), *_ = growth.seconds.items()
    return [(x / size, s / seconds) for x, s in growth.seconds.items()]


def _told(growth: Growth) -> str:
    first, *_, last = growth.seconds
    return f"{growth.name}, {first:,.4g} to {last:,.4g} {growth.unit}: exponent {growth.exponent():.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: a minute, to see that it works")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("growth"), help="folder for plot and figures"
    )
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        growths = list(measure(QUICK if given.quick else Sizes(), Path(folder)))
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "growth.svg").write_text(plot(growths), encoding="utf-8")
    figures = {g.name: {"unit": g.unit, "seconds": g.seconds, "exponent": g.exponent()} for g in growths}
    told = {"machine": machine(), "growth": figures}
    (given.output / "growth.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print("\n".join(table(growths)))
    return 0 if all(growth.is_linear for growth in growths) else 1


if __name__ == "__main__":
    raise SystemExit(main())

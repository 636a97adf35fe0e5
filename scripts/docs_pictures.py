#!/usr/bin/env python3
"""Make before_after.jpg, w_dial.jpg and auto.jpg of docs/images anew: what the default model does.

Needs the light install alone. growth.svg is of scripts/bench_growth.py; page.jpg and around.jpg are made by
hand.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from facemend import Picture, Restorer, degrade
from facemend.cli.demo import demo
from facemend.imaging import from_float, read_picture, resize, to_float, write_picture
from facemend.photo.compare import contact_sheet
from facemend.photo.result import RestoredFace

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
PORTRAIT = ROOT / "tests/data/portrait.jpg"
PRESETS = ("heavy", "medium", "light")
SIDE = 256  # of a face on the sheet
QUALITY = 85  # a page should load quickly


def what_was_done(face: RestoredFace) -> str:
    """The label of a face that auto has seen."""
    if not face.choice.strength:
        return "left"
    share = f", {face.choice.strength:.0%} of it" if face.choice.strength < 1 else ""
    return f"w {face.choice.w:g}{share}"


def auto_sheet() -> Picture:
    """One portrait degraded more and less, and what auto makes of it."""
    truth = from_float(Restorer(w="auto", upscale=1).restore(PORTRAIT).faces[0].crop)
    before = [*(degrade(truth, name, seed=3)[0] for name in PRESETS), truth]
    restorer = Restorer(w="auto", upscale=1, aligned=True)
    results = [restorer.restore(Picture.from_array(face)) for face in before]
    after = [from_float(result.picture.as_float()) for result in results]
    labels = [*PRESETS, "as it is", *(what_was_done(result.faces[0]) for result in results)]
    cells = [from_float(resize(to_float(face), (SIDE, SIDE), "area")) for face in (*before, *after)]
    return contact_sheet(cells, labels, columns=len(before))


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        demo(Path(temporary), overwrite=True)
        for name in ("before_after", "w_dial"):
            made = read_picture(Path(temporary, f"{name}.png"))
            write_picture(IMAGES / f"{name}.jpg", made, overwrite=True, quality=QUALITY)
    write_picture(IMAGES / "auto.jpg", auto_sheet(), overwrite=True, quality=QUALITY)


if __name__ == "__main__":
    main()

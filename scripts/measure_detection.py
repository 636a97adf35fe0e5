"""Maintainer's tool: recall and processor time of the detector on crowds made of aligned faces.

`python scripts/measure_detection.py FACES [ROUNDS]`: FACES is a folder of aligned faces (FFHQ template). Each
crowd has faces of one size, upright or rolled by up to 30 degrees, clean or damaged with the medium preset. A
face is found if its five landmarks lie within a quarter of its eye distance, on average. With PYTHONPATH
another checkout is measured.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from facemend.degradations import degrade
from facemend.degradations.presets import preset
from facemend.faces.template import template_points
from facemend.faces.warp import transform
from facemend.imaging import as_picture, resize
from facemend.predictors.detector import FaceDetector

SIZES = (40, 64, 110, 200)  # sides of the aligned crops; a face takes about .6 of it
CANVAS = (1200, 900)


def crowd(
    files: list[Path], side: int, damaged: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (H, W, 3) uint8 and the true landmarks (N, 5, 2)."""
    width, height = CANVAS
    slope = np.linspace(60, 190, width)[None, :, None] + np.linspace(-30, 30, height)[:, None, None]
    canvas = np.clip(slope + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)
    step, points = round(1.2 * side), []
    for y in range(0, height - step, step):
        for x in range(0, width - step, step):
            crop = np.ascontiguousarray(
                resize(as_picture(files[rng.integers(len(files))]).pixels, (256, 256))
            )
            if damaged:
                crop = degrade(crop, preset("medium"), int(rng.integers(2**31)))[0]
            turn = cv2.getRotationMatrix2D(
                (127.5, 127.5), float(rng.uniform(-30, 30) * (rng.random() < 0.5)), 1
            )
            crop = resize(cv2.warpAffine(crop, turn, (256, 256), borderMode=cv2.BORDER_REFLECT), (side, side))
            left, top = x + int(rng.integers(step - side + 1)), y + int(rng.integers(step - side + 1))
            canvas[top : top + side, left : left + side] = crop
            small = (transform(turn, template_points(256)) + 0.5) * side / 256 - 0.5
            points.append(small + np.array([left, top]))
    return canvas, np.array(points)


def compare(found: np.ndarray, true: np.ndarray) -> tuple[int, int]:
    """How many of the true faces were found, and how many finds are of none."""
    if not len(found):
        return 0, 0
    eyes = np.linalg.norm(true[:, 1] - true[:, 0], axis=1)
    off = np.linalg.norm(found[None] - true[:, None], axis=3).mean(2) / eyes[:, None]
    return int((off.min(1) < 0.25).sum()), int((off.min(0) >= 0.25).sum())


def main() -> None:
    cv2.setNumThreads(1)
    files = sorted(path for path in Path(sys.argv[1]).iterdir() if path.suffix in (".webp", ".jpg", ".png"))
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    detector = FaceDetector(threads=1)
    print("side  damaged  faces  found  false  ms")
    for side in SIZES:
        for damaged in (False, True):
            pixels, true = crowd(files, side, damaged, np.random.default_rng(side))
            seconds = []
            for _ in range(rounds):
                start = time.process_time()
                faces = detector.detect(pixels)
                seconds.append(time.process_time() - start)
            right, wrong = compare(np.array([face.landmarks for face in faces]), true)
            spent = 1000 * statistics.median(seconds)
            print(f"{side:4}  {damaged!s:7}  {len(true):5}  {right:5}  {wrong:5}  {spent:.0f}", flush=True)


if __name__ == "__main__":
    main()

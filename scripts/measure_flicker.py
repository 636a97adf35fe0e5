#!/usr/bin/env python3
"""Flicker of restored films: frame by frame against held steady, on a film whose motion is known.

A portrait pans and shakes through a small frame, is blurred, gets noise and is compressed, as a film is. It
is restored twice: each frame by itself, as a photo; and as `facemend video` does. Printed are

    change   mean change of the face from frame to frame once the known motion is taken out, levels of 255
    flicker  change beyond that of the clean film, which only shows how exactly the motion can be taken out
    over     change beyond that of the degraded film that was restored
    LPIPS    distance of the aligned face to the clean one, mean over the frames

Example: scripts/measure_flicker.py --frames 40 --w 0.7
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np

from facemend.faces.align import similarity
from facemend.faces.mask import ellipse_mask
from facemend.faces.template import template_points
from facemend.faces.warp import compose, invert, warp
from facemend.imaging import Picture, from_float, read_picture, to_float
from facemend.photo.networks import Networks
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import Restorer
from facemend.types import Face, FloatImage, Matrix23
from facemend.video.frames import FilmState, FrameRestorer

ROOT = Path(__file__).resolve().parents[1]
PORTRAIT = ROOT / "tests/data/portrait.jpg"
SETTLED = 3  # frames that are not counted: nothing is averaged yet
RATE = 25
CROP = 256


@dataclass(frozen=True)
class Clip:
    """A film whose motion is known.

    Attributes:
        clean: frames (H, W, 3) float32 RGB [0, 1].
        film: the same degraded, uint8.
        aligned: of each frame, frame pixels -> pixels of the aligned crop.
    """

    clean: Sequence[FloatImage]
    film: Sequence[np.ndarray]
    aligned: Sequence[Matrix23]


def make_clip(
    image: FloatImage,
    face: Face,
    frames: int,
    *,
    side=110,
    size=(320, 240),
    noise=12.0,
    blur=1.6,
    crf=30,
    seed=0,
) -> Clip:
    """A portrait that pans by a pixel a frame and shakes, as a degraded film.

    Args:
        image: the portrait.
        face: in it.
        frames: length.
        side: height of the face in the film, pixels.
        size: of the film, (width, height).
        noise: sigma, levels of 255.
        blur: sigma, pixels.
        crf: of its H.264.
        seed: of shakes and noise.
    """
    rng = np.random.default_rng(seed)
    onto = similarity(face.landmarks, template_points("ffhq", CROP))
    middle = np.array([face.box.x1 + face.box.x2, face.box.y1 + face.box.y2]) / 2
    scale = side / face.box.height
    clean, aligned = [], []
    shake = np.zeros(4)
    for number in range(frames):
        shake = 0.6 * shake + rng.normal(0, 1, 4) * (0.6, 0.6, np.radians(0.15), 0.002)
        turn = scale * (1 + shake[3]) * np.exp(1j * shake[2])
        linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
        there = np.array(size) / 2 + (number - frames / 2 + shake[0], shake[1])
        matrix = np.column_stack([linear, there - linear @ middle])
        clean.append(np.clip(warp(image, matrix, size), 0, 1))
        aligned.append(compose(onto, invert(matrix)))
    soft = [cv2.GaussianBlur(frame, (0, 0), blur) if blur else frame for frame in clean]
    noisy = [from_float((f + rng.normal(0, noise / 255, f.shape)).astype(np.float32)) for f in soft]
    return Clip(clean, _compressed(noisy, crf), aligned)


def _compressed(frames: Sequence[np.ndarray], crf: int) -> list[np.ndarray]:
    height, width = frames[0].shape[:2]
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=RATE, width=width, height=height, options={"crf": str(crf)})
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        film.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def by_frame(clip: Clip, options: RestoreOptions, networks: Networks) -> list[FloatImage]:
    """Each frame restored by itself."""
    restorer = Restorer(options, networks=networks, upscale=1)
    return [to_float(restorer.restore(Picture(frame)).picture.pixels) for frame in clip.film]


def steady(clip: Clip, options: RestoreOptions, networks: Networks) -> list[FloatImage]:
    """Restored as a film."""
    restorer, state, results = FrameRestorer(options, networks), FilmState(), []
    for number, frame in enumerate(clip.film):
        canvas = frame.copy()
        state, _ = restorer.step(state, frame, canvas, (number + 1) / RATE)
        results.append(to_float(canvas))
    return results


def faces_of(clip: Clip, frames: Sequence[FloatImage]) -> list[FloatImage]:
    """The face of each frame where the known motion puts it: it stands still but for the restoration."""
    return [warp(frame, matrix, (CROP, CROP)) for frame, matrix in zip(frames, clip.aligned, strict=True)][
        SETTLED:
    ]


def change(faces: Sequence[FloatImage]) -> float:
    """Mean change from frame to frame inside the face, levels of 255."""
    mask = ellipse_mask(CROP)[..., None]
    steps = [(np.abs(b - a) * mask).sum() for a, b in pairwise(faces)]
    return float(255 * np.mean(steps) / (3 * mask.sum()))


def lpips(faces: Sequence[FloatImage], clean: Sequence[FloatImage]) -> float:
    """Mean distance to the clean faces."""
    import torch

    from facemend.metrics.learned import lpips as measure

    def tensor(face: FloatImage) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(np.clip(face, 0, 1).transpose(2, 0, 1)[None]))

    with torch.no_grad():
        return float(
            np.mean([float(measure(tensor(a), tensor(b))) for a, b in zip(faces, clean, strict=True)])
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--w", type=float, nargs="+", default=[0.7])
    parser.add_argument("--side", type=int, default=110, help="height of the face, pixels")
    parser.add_argument("--noise", type=float, default=12, help="sigma, levels of 255")
    parser.add_argument("--blur", type=float, default=1.6, help="sigma, pixels")
    parser.add_argument("--crf", type=int, default=30, help="of the film that is restored")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()

    image = read_picture(PORTRAIT).as_float()
    options = RestoreOptions(threads=given.threads)
    networks = Networks.load(options)
    assert networks.detector is not None
    (face,) = networks.detector.detect(image, max_faces=1)
    kind = {name: getattr(given, name) for name in ("side", "noise", "blur", "crf", "seed")}
    clip = make_clip(image, face, given.frames, **kind)
    clean, film = faces_of(clip, clip.clean), faces_of(clip, [to_float(frame) for frame in clip.film])
    least, usual = change(clean), change(film)
    print(f"{'':24}{'change':>8}{'flicker':>9}{'over':>8}{'LPIPS':>8}")
    print(f"{'clean film':24}{least:8.3f}{0:9.3f}{least - usual:8.3f}{0:8.4f}")
    print(f"{'degraded film':24}{usual:8.3f}{usual - least:9.3f}{0:8.3f}{lpips(film, clean):8.4f}")
    for w in given.w:
        for name, restore in (("frame by frame", by_frame), ("steady", steady)):
            faces = faces_of(clip, restore(clip, RestoreOptions(w=w, threads=given.threads), networks))
            shaking = change(faces)
            numbers = f"{shaking:8.3f}{shaking - least:9.3f}{shaking - usual:8.3f}{lpips(faces, clean):8.4f}"
            print(f"{f'{name}, w = {w:g}':24}{numbers}", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Flicker of restored films: frame by frame against held steady, on a film whose motion is known.

A portrait pans and shakes through a small frame, is blurred, gets noise and is compressed, as a film is; with
--speech its chin goes up and down, too. It is restored three times: each frame by itself, as a photo; as
`facemend video` does; and as that does with --fast. Printed are

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
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np

from facemend.faces.align import similarity
from facemend.faces.mask import ellipse_mask
from facemend.faces.template import template_points
from facemend.faces.warp import compose, invert, scale_of, warp
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
SYLLABLE, MOUTH = 7, 0.1  # frames from one to the next; reach of what moves, share of the crop's side


@dataclass(frozen=True)
class Clip:
    """A film whose motion is known.

    Attributes:
        clean: frames (H, W, 3) float32 RGB [0, 1].
        film: the same degraded, uint8.
        aligned: of each frame, frame pixels -> pixels of the aligned crop.
        opened: of each frame, how far the mouth is opened, pixels of the aligned crop.
    """

    clean: Sequence[FloatImage]
    film: Sequence[np.ndarray]
    aligned: Sequence[Matrix23]
    opened: Sequence[float]


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
    speech=0.0,
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
        speech: how far the chin goes down when the mouth opens, share of the aligned crop's side.
    """
    rng = np.random.default_rng(seed)
    onto = similarity(face.landmarks, template_points(CROP))
    middle = np.array([face.box.x1 + face.box.x2, face.box.y1 + face.box.y2]) / 2
    scale = side / face.box.height
    opened = [speech * CROP * np.sin(np.pi * number / SYLLABLE) ** 2 for number in range(frames)]
    clean, aligned = [], []
    shake = np.zeros(4)
    for number in range(frames):
        shake = 0.6 * shake + rng.normal(0, 1, 4) * (0.6, 0.6, np.radians(0.15), 0.002)
        turn = scale * (1 + shake[3]) * np.exp(1j * shake[2])
        linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
        there = np.array(size) / 2 + (number - frames / 2 + shake[0], shake[1])
        matrix = np.column_stack([linear, there - linear @ middle])
        clean.append(np.clip(warp(with_mouth(image, onto, opened[number]), matrix, size), 0, 1))
        aligned.append(compose(onto, invert(matrix)))
    soft = [cv2.GaussianBlur(frame, (0, 0), blur) if blur else frame for frame in clean]
    noisy = [from_float((f + rng.normal(0, noise / 255, f.shape)).astype(np.float32)) for f in soft]
    return Clip(clean, _compressed(noisy, crf), aligned, opened)


def with_mouth(image: FloatImage, onto: Matrix23, by: float, *, shut=False) -> FloatImage:
    """The picture with its chin moved down by so many pixels of the aligned crop, or, shut, back up.

    Args:
        image: (H, W, 3) float32.
        onto: picture pixels -> pixels of the aligned crop.
        by: how far the middle of the mouth moves.
        shut: undo it.
    """
    if not by:
        return image
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    middle = template_points(CROP)[3:].mean(0) + np.array([0, 0.06 * CROP])

    def moved(shift: np.ndarray | float) -> np.ndarray:
        there = [row[0] * x + row[1] * (y + shift) + row[2] - m for row, m in zip(onto, middle, strict=True)]
        bump = np.exp(-(there[0] ** 2 + there[1] ** 2) / (2 * (MOUTH * CROP) ** 2))
        return by / scale_of(onto) * bump

    shift = moved(moved(moved(0.0))) if shut else -moved(0.0)
    return cv2.remap(image, x, (y + shift).astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


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


def steady(clip: Clip, options: RestoreOptions, networks: Networks, *, fast=False) -> list[FloatImage]:
    """Restored as a film."""
    restorer, state, results = FrameRestorer(options, networks, fast=fast), FilmState(), []
    for number, frame in enumerate(clip.film):
        canvas = frame.copy()
        seen = restorer.see(state.scene, frame, (number + 1) / RATE)
        state = restorer.show(state.faces, restorer.draw(seen), canvas)
        results.append(to_float(canvas))
    return results


def faces_of(clip: Clip, frames: Sequence[FloatImage]) -> list[FloatImage]:
    """The face of each frame where the known motion puts it: it stands still but for the restoration."""
    still = np.eye(2, 3)
    motions = zip(frames, clip.aligned, clip.opened, strict=True)
    return [with_mouth(warp(f, m, (CROP, CROP)), still, by, shut=True) for f, m, by in motions][SETTLED:]


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
    parser.add_argument("--speech", type=float, default=0, help="how far the chin moves, share of the crop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    if given.frames < SETTLED + 2:
        parser.error(f"--frames: {SETTLED + 2} or more, as the first {SETTLED} do not count")

    image = read_picture(PORTRAIT).as_float()
    options = RestoreOptions(threads=given.threads)
    networks = Networks.load(options)
    assert networks.detector is not None
    (face,) = networks.detector.detect(image, max_faces=1)
    kind = {name: getattr(given, name) for name in ("side", "noise", "blur", "crf", "seed", "speech")}
    clip = make_clip(image, face, given.frames, **kind)
    clean, film = faces_of(clip, clip.clean), faces_of(clip, [to_float(frame) for frame in clip.film])
    least, usual = change(clean), change(film)
    print(f"{'':24}{'change':>8}{'flicker':>9}{'over':>8}{'LPIPS':>8}")
    print(f"{'clean film':24}{least:8.3f}{0:9.3f}{least - usual:8.3f}{0:8.4f}")
    print(f"{'degraded film':24}{usual:8.3f}{usual - least:9.3f}{0:8.3f}{lpips(film, clean):8.4f}")
    for w in given.w:
        ways = (("frame by frame", by_frame), ("steady", steady), ("fast", partial(steady, fast=True)))
        for name, restore in ways:
            faces = faces_of(clip, restore(clip, RestoreOptions(w=w, threads=given.threads), networks))
            shaking = change(faces)
            numbers = f"{shaking:8.3f}{shaking - least:9.3f}{shaking - usual:8.3f}{lpips(faces, clean):8.4f}"
            print(f"{f'{name}, w = {w:g}':24}{numbers}", flush=True)


if __name__ == "__main__":
    main()

"""The MTCNN cascade: three small nets propose, refine and landmark faces on one picture.

Boxes are (N, 4) float64 arrays of x1, y1, x2, y2 on pixel edges: the picture spans 0 to W and 0 to H, so a
box is x2 - x1 pixels wide. Landmarks have pixel centres at whole numbers, like `facemend.types.Landmarks5`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.warp import invert, transform, warp
from facemend.imaging import AnyPixels
from facemend.runtime.devices import AUTO
from facemend.runtime.onnx import open_graphs
from facemend.runtime.runner import Runner
from facemend.types import Matrix23
from facemend.weights.catalog import asset_path

Boxes = NDArray[np.float64]
Floats = NDArray[np.float64]

CELL = 12  # side of the window that P-Net judges
STRIDE = 2
RNET_SIZE = 24
ONET_SIZE = 48
PYRAMID_FACTOR = 0.709
MAX_PROPOSALS = 2000  # bounds the work on pictures full of texture
BATCH = 256
MAX_PASSES = 5
SETTLED = 5.0  # degrees between two passes
LEVEL_FROM = 15.0  # degrees; less roll than this the nets were trained on


@dataclass(frozen=True)
class Thresholds:
    """Lowest face probability that passes each net, in [0, 1]."""

    proposal: float = 0.6
    refine: float = 0.7
    output: float = 0.7


@dataclass(frozen=True)
class Found:
    """What the cascade found: boxes (N, 4), scores (N,), landmarks (N, 5, 2)."""

    boxes: Boxes
    scores: Floats
    landmarks: Floats

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Found:
        """The rows that `index` picks."""
        return Found(self.boxes[index], self.scores[index], self.landmarks[index])


def nms(boxes: Boxes, scores: Floats, limit: float, *, smaller: bool = False) -> NDArray[np.intp]:
    """Non-maximum suppression: indices of the boxes to keep, best first.

    Args:
        boxes: (N, 4).
        scores: (N,).
        limit: a box goes when it overlaps a better one by more than this.
        smaller: measure the overlap over the smaller box (removes boxes inside boxes), not over the union.
    """
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = np.ascontiguousarray(boxes[order].T)
    left = np.stack([x1, y1, x2, y2, (x2 - x1) * (y2 - y1)])  # one row a number: several times as fast
    keep: list[int] = []
    while order.size:
        keep.append(int(order[0]))
        (x1, y1, x2, y2, area), rest = left[:, 0], left[:, 1:]
        width = np.minimum(rest[2], x2) - np.maximum(rest[0], x1)
        common = np.maximum(width, 0) * np.maximum(np.minimum(rest[3], y2) - np.maximum(rest[1], y1), 0)
        base = np.minimum(rest[4], area) if smaller else rest[4] + area - common
        apart = common <= limit * np.maximum(base, 1e-9)
        order, left = order[1:][apart], rest[:, apart]
    return np.array(keep, np.intp)


def squared(boxes: Boxes) -> Boxes:
    """The boxes made square about their centres, with the longer side, on whole pixels."""
    side = np.maximum(boxes[:, 2:] - boxes[:, :2], 1).max(1, keepdims=True)
    corner = np.round((boxes[:, :2] + boxes[:, 2:] - side) / 2)
    return np.hstack([corner, corner + np.maximum(np.round(side), 1)])


def moved(boxes: Boxes, offsets: Floats) -> Boxes:
    """The boxes with their four edges moved by fractions of their width and height."""
    width = (boxes[:, 2:] - boxes[:, :2])[:, [0, 1, 0, 1]]
    return boxes + offsets * width


def normalised(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """RGB [0, 1] -> the nets' range, (x * 255 - 127.5) / 128."""
    return (image * np.float32(255 / 128) - np.float32(127.5 / 128)).astype(np.float32, copy=False)


def cut(image: NDArray[np.float32], box: Floats, size: int) -> NDArray[np.float32]:
    """A whole-pixel box cut out and resized to (size, size, 3); the picture's border goes on beyond it."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (int(v) for v in box)
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        columns = np.clip(np.arange(x1, x2), 0, width - 1)
        rows = np.clip(np.arange(y1, y2), 0, height - 1)
        part = image[rows[:, None], columns]
    else:
        part = image[y1:y2, x1:x2]
    return np.asarray(cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA), np.float32)


def _rolls(landmarks: Floats) -> Floats:
    """Roll of each face in degrees, from the line of its eyes; (N, 5, 2) -> (N,)."""
    eyes = landmarks[:, 1] - landmarks[:, 0]
    return np.asarray(np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0])), np.float64)


def _level_crop(box: Floats, roll: float) -> Matrix23:
    """Photo pixels -> pixels of an O-Net crop round the box; turned level if the roll (degrees) is large."""
    angle = np.radians(roll) if abs(roll) >= LEVEL_FROM else 0.0
    scale = ONET_SIZE / max(float((box[2:] - box[:2]).max()), 1.0)
    centre = (box[:2] + box[2:]) / 2 - 0.5  # from pixel edges to pixel centres
    linear = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, (ONET_SIZE - 1) / 2 - linear @ centre])


class Mtcnn:
    """The three nets and the steps between them.

    Args:
        pnet: runner of P-Net; inputs and outputs of the three as in the catalogue.
        rnet: runner of R-Net.
        onet: runner of O-Net.
    """

    def __init__(self, pnet: Runner, rnet: Runner, onet: Runner) -> None:
        self._pnet, self._rnet, self._onet = pnet, rnet, onet

    @classmethod
    def shipped(cls, threads: int | None = None, device: str = AUTO) -> Mtcnn:
        """The nets that ship with the package.

        Args:
            threads: CPU threads; default: all usable cores.
            device: where to run, see `open_graphs`; their inputs have another shape for every photo.

        Raises:
            WeightsError: a file is missing.
            BackendError: a file cannot be run.
        """
        paths = [asset_path(name) for name in ("pnet", "rnet", "onet")]
        return cls(*open_graphs(paths, device, threads=threads, any_shape=True).runners)

    def find(self, image: NDArray[np.float32], min_face: float, thresholds: Thresholds) -> Found:
        """Run the cascade.

        Args:
            image: (H, W, 3) float32 RGB [0, 1].
            min_face: smallest face side to look for, pixels.
            thresholds: what passes.
        """
        pixels = normalised(image)
        boxes = self._propose(pixels, min_face, thresholds.proposal)
        boxes = self._refine(pixels, boxes, thresholds.refine)
        return self._output(pixels, boxes, thresholds.output)

    def _propose(self, pixels: NDArray[np.float32], min_face: float, threshold: float) -> Boxes:
        height, width = pixels.shape[:2]
        scale = CELL / max(min_face, CELL)
        boxes, scores = np.empty((0, 4)), np.empty(0)
        while min(height, width) * scale >= CELL:
            size = (max(round(width * scale), CELL), max(round(height * scale), CELL))
            small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            found = self._propose_at(small, (width, height), threshold)
            boxes, scores = np.vstack([boxes, found[0]]), np.append(scores, found[1])
            scale *= PYRAMID_FACTOR
        return boxes[nms(boxes, scores, 0.7)[:MAX_PROPOSALS]]

    def _propose_at(
        self, small: NDArray[np.float32], whole: tuple[int, int], threshold: float
    ) -> tuple[Boxes, Floats]:
        """Boxes and scores that P-Net sees on a copy of the picture; boxes at its `whole` (width, height)."""
        out = self._pnet.run({"image": np.ascontiguousarray(small.transpose(2, 0, 1)[None])})
        probability = out["probability"][0]
        rows, columns = np.nonzero(probability >= threshold)
        scores = probability[rows, columns].astype(np.float64)
        offsets = out["offsets"][0][:, rows, columns].T.astype(np.float64)
        corner = np.stack([columns, rows], 1) * float(STRIDE)
        back = np.array([whole[0] / small.shape[1], whole[1] / small.shape[0]] * 2)
        boxes = np.hstack([corner, corner + CELL]) * back
        keep = nms(boxes, scores, 0.5)[:MAX_PROPOSALS]
        return moved(boxes[keep], offsets[keep]), scores[keep]

    def _refine(self, pixels: NDArray[np.float32], boxes: Boxes, threshold: float) -> Boxes:
        boxes = squared(boxes)
        out = self._batched(self._rnet, pixels, boxes, RNET_SIZE)
        passed = out["probability"] >= threshold
        boxes, scores, offsets = boxes[passed], out["probability"][passed], out["offsets"][passed]
        keep = nms(boxes, scores, 0.7)
        return moved(boxes[keep], offsets[keep])

    def _output(self, pixels: NDArray[np.float32], boxes: Boxes, threshold: float) -> Found:
        boxes = squared(boxes)
        out = self._batched(self._onet, pixels, boxes, ONET_SIZE)
        passed = out["probability"] >= threshold
        boxes, offsets = boxes[passed], out["offsets"][passed]
        side = (boxes[:, 2] - boxes[:, 0])[:, None, None]
        points = boxes[:, None, :2] + out["landmarks"][passed].reshape(-1, 2, 5).transpose(0, 2, 1) * side
        found = Found(moved(boxes, offsets), out["probability"][passed], points)
        return found.take(nms(found.boxes, found.scores, 0.7, smaller=True))

    def landmark(self, image: AnyPixels, found: Found) -> Found:
        """More passes of O-Net on the boxes found, turned level: better landmarks and a second opinion.

        A face turned by 90 degrees first looks turned by some 30; each levelled pass sees more of the turn,
        so the passes go on until the roll stands still.

        Args:
            image: (H, W, 3) float32 RGB [0, 1], uint8 or uint16.
            found: what `find` found in it.

        Returns:
            The same boxes with the scores and landmarks of the last pass. A face whose roll never stood still
            scores 0.
        """
        if not len(found):
            return found
        scores, points = found.scores.copy(), found.landmarks.copy()
        turning = np.arange(len(found))
        for _ in range(MAX_PASSES):
            before = _rolls(points[turning])
            scores[turning], points[turning] = self._level_pass(image, found.boxes[turning], points[turning])
            after = _rolls(points[turning])
            level = np.maximum(np.abs(before), np.abs(after)) < LEVEL_FROM  # another pass would see the same
            settled = np.abs((after - before + 180) % 360 - 180)[~level] < SETTLED
            turning = turning[~level]
            if settled.all():
                break
        scores[turning[~settled]] = 0
        return Found(found.boxes, scores, points)

    def _level_pass(self, image: AnyPixels, boxes: Boxes, landmarks: Floats) -> tuple[Floats, Floats]:
        """Scores and landmarks of O-Net on crops that the given landmarks say are level."""
        rolls = _rolls(landmarks)
        matrices = [_level_crop(box, roll) for box, roll in zip(boxes, rolls, strict=True)]
        size = (ONET_SIZE, ONET_SIZE)
        crops = [warp(image, m, size, border="replicate", interpolation="linear") for m in matrices]
        batch = normalised(np.stack(crops)).transpose(0, 3, 1, 2)
        out = self._onet.run({"image": np.ascontiguousarray(batch)})
        points = out["landmarks"].reshape(-1, 2, 5).transpose(0, 2, 1) * ONET_SIZE - 0.5
        back = [transform(invert(m), p) for m, p in zip(matrices, points, strict=True)]
        return out["probability"].astype(np.float64), np.stack(back)

    @staticmethod
    def _batched(
        net: Runner, pixels: NDArray[np.float32], boxes: Boxes, size: int
    ) -> dict[str, NDArray[np.float64]]:
        parts: list[dict[str, NDArray[np.float32]]] = []
        for start in range(0, max(len(boxes), 1), BATCH):
            crops = [cut(pixels, box, size) for box in boxes[start : start + BATCH]]
            batch = np.stack(crops) if crops else np.empty((0, size, size, 3), np.float32)
            parts.append(net.run({"image": np.ascontiguousarray(batch.transpose(0, 3, 1, 2))}))
        return {key: np.concatenate([part[key] for part in parts]).astype(np.float64) for key in parts[0]}

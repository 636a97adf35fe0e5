"""Find faces and their five landmarks in a photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.select import plausible
from facemend.imaging import AnyPixels, shrink, to_float
from facemend.predictors.mtcnn import Found, Mtcnn, Thresholds, nms
from facemend.runtime.devices import AUTO
from facemend.types import Box, Face, FloatImage

MAX_SIDE = 2048
SMALL_SIDE = 160
TINY_FACE = 10
DEFAULT_MIN_FACE = 20.0
MIN_FACE_SHARE = 0.025
LARGE_SHARE = 0.15
TURNED_SIDE = 320
TURNED_SHARE = 0.15  # of the short side: smaller turned faces are not looked for beside upright ones
TURNED_OVERLAP = 0.3
UPRIGHT_LEAD = 0.01
SMALL_FACE = 32  # pixels; smaller ones are often texture: they must be sure
USUAL = Thresholds()
SURE = Thresholds(output=0.9)  # a retry looks where faces are rare


@dataclass(frozen=True)
class _Try:
    """One look at the photo.

    Attributes:
        scale: size of the copy that is searched, relative to the photo.
        min_face: smallest face side, pixels of the copy.
        turns: quarter turns (counter-clockwise) of the copy.
        thresholds: what passes.
    """

    scale: float
    min_face: float
    turns: int = 0
    thresholds: Thresholds = USUAL


class FaceDetector:
    """MTCNN with retries: small copies, enlarged copies, quarter turns, lower thresholds.

    May be used from several threads at once.

    Args:
        threads: of the nets; default: all usable cores.
        device: where they run; "auto": on an NVIDIA card where that works, else on the CPU.

    Raises:
        WeightsError: a shipped file is missing.
        BackendError: a shipped file cannot be run.
    """

    def __init__(self, *, threads: int | None = None, device: str = AUTO) -> None:
        self._mtcnn = Mtcnn.shipped(threads, device)

    def detect(self, image: AnyPixels, *, max_faces: int | None = None, turned: bool = True) -> list[Face]:
        """Find the faces.

        Args:
            image: (H, W, 3) float32 RGB [0, 1], uint8 or uint16.
            max_faces: keep at most this many, the surest; None: all.
            turned: whether faces on their side or head are looked for beside upright ones too, on a small
                copy. Where there are no upright ones, they always are.

        Returns:
            Faces from left to right, landmarks in pixels of `image`; empty when there is none.
        """
        for group in _tries(image.shape[1], image.shape[0]):
            looks = [self._search(image, attempt) for attempt in group]
            found = max(looks, key=lambda look: float(look.scores.max(initial=0)))
            if len(found):
                if turned and group[0].turns == 0:
                    found = self._with_turned(image, found)
                order = np.argsort(-found.scores, kind="stable")[:max_faces]
                faces = [_face(found, i, image.shape) for i in order]
                return sorted(faces, key=lambda face: (face.box.x1, face.box.y1))
        return []

    def _with_turned(self, image: AnyPixels, upright: Found) -> Found:
        """Those and the faces that are sure on a turned copy and lie elsewhere."""
        scale = min(1.0, TURNED_SIDE / max(image.shape[:2]))
        smallest = max(DEFAULT_MIN_FACE, TURNED_SHARE * min(image.shape[:2]) * scale)
        parts = [upright, *(self._search(image, _Try(scale, smallest, turns, SURE)) for turns in (1, 2, 3))]
        boxes, scores, points = (
            np.concatenate(values)
            for values in zip(*((part.boxes, part.scores, part.landmarks) for part in parts), strict=True)
        )
        # A face on its head may pass for an upright one too, but less surely.
        order = scores + UPRIGHT_LEAD * (np.arange(len(scores)) < len(upright))
        return Found(boxes, scores, points).take(nms(boxes, order, TURNED_OVERLAP, smaller=True))

    def follow(self, image: AnyPixels, faces: Sequence[Face]) -> list[Face]:
        """Look again at faces whose places are known, such as those of the frame before; costs little.

        Args:
            image: (H, W, 3) float32 RGB [0, 1], uint8 or uint16.
            faces: roughly where they are now.

        Returns:
            Each with the landmarks and the score seen there; the score is 0 where that is no face.
        """
        if not faces:
            return []
        boxes = np.array([(f.box.x1, f.box.y1, f.box.x2, f.box.y2) for f in faces], np.float64) + 0.5
        points = np.stack([face.landmarks for face in faces]).astype(np.float64)
        seen = self._mtcnn.landmark(image, Found(boxes, np.ones(len(faces)), points))
        rows = zip(faces, seen.landmarks, seen.scores, boxes, strict=True)
        return [
            Face(
                face.box,
                landmarks.astype(np.float32),
                float(score) if plausible(landmarks) and _inside(landmarks, box) else 0.0,
            )
            for face, landmarks, score, box in rows
        ]

    def _search(self, image: AnyPixels, attempt: _Try) -> Found:
        copy = np.ascontiguousarray(np.rot90(_resized(image, attempt.scale), attempt.turns))
        found = self._mtcnn.find(copy, attempt.min_face, attempt.thresholds)
        second = self._mtcnn.landmark(copy, found)
        # Both passes must call it a face, and its points must look like one.
        scores = np.minimum(found.scores, second.scores)
        sides = (found.boxes[:, 2:] - found.boxes[:, :2]).max(1, initial=0)
        needed = np.where(sides < SMALL_FACE, SURE.output, attempt.thresholds.output)
        good = [
            score >= need and plausible(points) and _inside(points, box)
            for score, need, points, box in zip(scores, needed, second.landmarks, found.boxes, strict=True)
        ]
        kept = Found(found.boxes, scores, second.landmarks).take(np.array(good, bool))
        kept = kept.take(nms(kept.boxes, kept.scores, 0.5, smaller=True))
        return _back(kept, (copy.shape[1], copy.shape[0]), attempt.turns, (image.shape[1], image.shape[0]))


def _tries(width: int, height: int) -> Iterator[tuple[_Try, ...]]:
    """The looks at a photo of that size, likeliest first; of a group the surest counts."""
    short, long = min(width, height), max(width, height)
    scale = min(1.0, MAX_SIDE / long)
    normal = _Try(scale, max(MIN_FACE_SHARE * short * scale, DEFAULT_MIN_FACE))
    yield (normal,)
    # A large blurred or half-toned face is cleaner on a small copy.
    if long > 1.5 * SMALL_SIDE:
        yield (_Try(SMALL_SIDE / long, DEFAULT_MIN_FACE, thresholds=SURE),)
    # Tiny faces need more pixels than they have.
    enlarged = min(DEFAULT_MIN_FACE / TINY_FACE, MAX_SIDE / long)
    if enlarged > 1.0:
        yield (_Try(enlarged, DEFAULT_MIN_FACE, thresholds=SURE),)
    coarse = max(normal.min_face, 0.05 * short * scale)
    yield tuple(_Try(scale, coarse, turns, SURE) for turns in (1, 2, 3))
    # Profiles and very faint faces: only large ones, or texture would pass.
    yield (_Try(scale, max(coarse, LARGE_SHARE * short * scale), thresholds=Thresholds(0.5, 0.5, 0.6)),)


def _resized(image: AnyPixels, scale: float) -> FloatImage:
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    if scale <= 1:
        return shrink(image, size)
    enlarged = cv2.resize(to_float(image), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(enlarged, 0, 1), np.float32)


def _inside(points: NDArray[np.float64], box: NDArray[np.float64]) -> bool:
    """Whether the landmarks lie in the box, give or take a quarter of its side."""
    margin = 0.25 * (box[2:] - box[:2])
    return bool(((points >= box[:2] - margin) & (points <= box[2:] + margin)).all())


def _back(found: Found, size: tuple[int, int], turns: int, photo: tuple[int, int]) -> Found:
    """Map boxes and landmarks from a turned copy of `size` to the photo; both sizes are (width, height)."""
    edges, points = found.boxes.reshape(-1, 2, 2), found.landmarks + 0.5  # all on pixel edges from here
    width, height = size
    for _ in range(turns):  # undo one counter-clockwise quarter turn: (x, y) of the copy was (height - y, x)
        edges = np.stack([height - edges[..., 1], edges[..., 0]], -1)
        points = np.stack([height - points[..., 1], points[..., 0]], -1)
        width, height = height, width
    factor = np.array([photo[0] / width, photo[1] / height])
    edges, points = edges * factor, points * factor - 0.5
    boxes = np.concatenate([edges.min(1), edges.max(1)], -1)
    return Found(boxes, found.scores, points)


def _face(found: Found, index: int, shape: tuple[int, ...]) -> Face:
    # The box from pixel edges to pixel centres, cut to the photo.
    limit = np.array([shape[1], shape[0]] * 2) - 1.0
    x1, y1, x2, y2 = (float(v) for v in np.clip(found.boxes[index] - 0.5, 0, limit))
    return Face(Box(x1, y1, x2, y2), found.landmarks[index].astype(np.float32), float(found.scores[index]))

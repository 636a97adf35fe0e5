"""The faces of a film from frame to frame: found now and then, followed in between, faded in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from facemend.faces.align import similarity
from facemend.faces.motion import GrayPlane, is_cut, motion, thumbnail
from facemend.faces.select import select
from facemend.faces.track import OneEuro, Points, Smoothed, iou, match, moved, smooth
from facemend.imaging import from_float, luma
from facemend.photo.options import RestoreOptions
from facemend.predictors.detector import FaceDetector
from facemend.types import Face, FloatImage, Matrix23

DETECT_EVERY = 8
"""Frames between two searches of the whole frame; a lost face and a cut bring the next one forward."""
PATIENCE = 5
"""Frames in which a face that is not seen is carried on by the motion of the picture."""
FADE = 5
"""Frames in which a face comes and goes."""
LANDMARKS = OneEuro(least=0.7, slope=0.5)
"""Measured in face sides a second. What the picture's motion explains is taken out before, so the rest is
the detector's shaking: a low cutoff."""

_SURE = 0.7  # the detector's own limit
_SAME = 0.3  # overlap of a face with itself, frame to frame
_TWICE = 0.6  # overlap of two tracks of one face
_NEAR = 0.25  # landmarks stray from where they are expected by no more than this share of the face's side
_STILL = np.array([[1.0, 0, 0], [0, 1, 0]])


@dataclass(frozen=True, eq=False)
class Track:
    """One face over the frames.

    Attributes:
        number: its name in this film.
        face: where it is, with smoothed landmarks.
        velocity: state of the landmarks' filter, (5, 2) pixels a second.
        missed: frames since it was last seen.
        strength: how far its restoration shows, [0, 1].
        step: 2x3, how the picture under it moved, frame before -> this frame; None: it could not be told.
    """

    number: int
    face: Face
    velocity: Points
    missed: int = 0
    strength: float = 0.0
    step: Matrix23 | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """All that the tracker knows after a frame.

    Attributes:
        tracks: from left to right.
        gray: luma of the frame, (H, W) uint8; None before the first.
        seconds: time of the frame.
        change: of the thumbnail, frame before -> this frame.
        since: frames since the whole frame was searched.
        born: faces so far.
    """

    tracks: tuple[Track, ...] = ()
    gray: GrayPlane | None = field(default=None, repr=False)
    seconds: float = 0.0
    change: float = 0.0
    since: int = 0
    born: int = 0


class FaceTracker:
    """Follows the faces of a film. Holds no state: what it knows is in the `Scene`.

    Args:
        detector: finds and follows faces in a frame.
        options: which faces are wanted.
    """

    def __init__(self, detector: FaceDetector, options: RestoreOptions) -> None:
        self._detector, self._options = detector, options

    def step(self, scene: Scene, image: FloatImage, seconds: float) -> Scene:
        """What is known after one more frame.

        Args:
            scene: after the frame before.
            image: the frame, (H, W, 3) float32 RGB [0, 1].
            seconds: its time, later than that of the frame before.

        Raises:
            BackendError: the detector failed.
        """
        gray: GrayPlane = np.asarray(from_float(luma(image)), np.uint8)
        change = _change(scene.gray, gray)
        before = None if is_cut(change, scene.change) else scene.gray
        fresh = before is None
        carried = [] if before is None else [_carried(track, before, gray) for track in scene.tracks]
        seen = self._followed(image, carried)
        since = scene.since + 1
        found: list[Face] = []
        if fresh or since >= DETECT_EVERY or any(each is None for each in seen):
            found, since = self._found(image, carried, seen), 0
        elapsed = max(seconds - scene.seconds, 1e-3)
        tracks = [_updated(track, face, elapsed) for track, face in zip(carried, seen, strict=True)]
        tracks += [Track(scene.born + i, face, np.zeros((5, 2))) for i, face in enumerate(found)]
        kept = self._faded(_once(tracks), (image.shape[1], image.shape[0]), 1.0 if fresh else 1 / FADE)
        born = scene.born + len(found)
        return Scene(kept, gray, seconds, 0.0 if fresh else change, since, born)

    def _followed(self, image: FloatImage, tracks: Sequence[Track]) -> list[Face | None]:
        """Where each face is seen near the place expected; None where it is not."""
        faces = self._detector.follow(image, [track.face for track in tracks])
        return [
            face if face.score >= _SURE and _is_near(face, track.face) else None
            for face, track in zip(faces, tracks, strict=True)
        ]

    def _found(self, image: FloatImage, tracks: Sequence[Track], seen: list[Face | None]) -> list[Face]:
        """Search the whole frame: fills in what was not seen, and gives the faces that are new."""
        found = self._detector.detect(image, max_faces=self._options.max_faces, turned=False)
        pairs = match([track.face.box for track in tracks], [face.box for face in found], _SAME)
        for i, j in pairs:
            seen[i] = seen[i] or found[j]
        known = {j for _, j in pairs}
        return [face for j, face in enumerate(found) if j not in known]

    def _faded(self, tracks: Sequence[Track], size: tuple[int, int], by: float) -> tuple[Track, ...]:
        """The tracks that go on, each stronger or weaker by a little, or at once where a scene begins."""
        least = self._options.min_face
        large = [t for t in tracks if min(t.face.box.width, t.face.box.height) >= least]
        present = [t for t in large if t.missed <= PATIENCE]
        chosen = {id(f) for f in select([t.face for t in present], self._options.choice, size=size)}
        wanted = {t.number for t in present if id(t.face) in chosen}
        going = []
        for track in sorted(tracks, key=lambda t: t.face.box.x1):
            change = by if track.number in wanted else -by
            strength = min(max(track.strength + change, 0.0), 1.0)
            if strength > 0 or track.missed == 0:
                going.append(replace(track, strength=strength))
        return tuple(going)


def _change(before: GrayPlane | None, after: GrayPlane) -> float:
    if before is None:
        return 0.0
    return float(np.abs(thumbnail(after) - thumbnail(before)).mean())


def _carried(track: Track, before: GrayPlane, after: GrayPlane) -> Track:
    """The track where the motion of the picture takes it."""
    step = motion(before, after, track.face.box)
    return replace(track, face=moved(track.face, _STILL if step is None else step), step=step)


def _is_near(seen: Face, expected: Face) -> bool:
    away = float(np.linalg.norm(seen.landmarks - expected.landmarks, axis=1).mean())
    return away <= _NEAR * max(expected.box.width, expected.box.height)


def _updated(track: Track, seen: Face | None, elapsed: float) -> Track:
    if seen is None:
        # Neither the face nor what it lies on can be made out: it is gone.
        return replace(track, missed=track.missed + (1 if track.step is not None else PATIENCE + 1))
    if not _is_near(seen, track.face):  # found again elsewhere
        return replace(track, face=seen, velocity=np.zeros((5, 2)), missed=0, step=None)
    before = Smoothed(track.face.landmarks.astype(np.float64), track.velocity)
    side = max(track.face.box.width, track.face.box.height, 1.0)
    after = smooth(before, seen.landmarks, elapsed, LANDMARKS, side)
    # The box goes with the landmarks, or it would drift by the errors of every step.
    face = moved(track.face, similarity(before.points, after.points))
    face = Face(face.box, after.points.astype(np.float32), seen.score)
    return replace(track, face=face, velocity=after.velocity, missed=0)


def _once(tracks: Sequence[Track]) -> list[Track]:
    """The tracks without those that came to lie on an older one."""
    kept: list[Track] = []
    for track in sorted(tracks, key=lambda t: t.number):
        if not len(kept) or iou([track.face.box], [t.face.box for t in kept]).max() < _TWICE:
            kept.append(track)
    return kept

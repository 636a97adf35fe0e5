"""One frame of a film: follow its faces, restore them, hold them steady, paste them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from facemend.errors import InputError
from facemend.faces.align import align
from facemend.faces.paste import blend_into_pixels
from facemend.faces.warp import compose, invert, resize_matrix
from facemend.imaging import Pixels, is_gray, is_toned, to_float
from facemend.photo.networks import Networks
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import true_colours
from facemend.types import AlignedFace, FloatImage, Matrix23
from facemend.video.smoothing import Memory, steadied
from facemend.video.tracking import FaceTracker, Scene, Track

_TONE = 0.1  # share of a new frame in the opinion whether a face is monochrome


@dataclass(frozen=True, eq=False)
class FilmFace:
    """What is kept of a face from frame to frame.

    Attributes:
        memory: to hold it steady.
        tone: how far it was found monochrome of late, [0, 1].
    """

    memory: Memory
    tone: float


@dataclass(frozen=True, eq=False)
class FilmState:
    """All that the next frame depends on.

    Attributes:
        scene: what the tracker knows.
        faces: by the number of the track.
    """

    scene: Scene = field(default_factory=Scene)
    faces: Mapping[int, FilmFace] = field(default_factory=dict)


class FrameRestorer:
    """Restores the frames of a film, one after the other. Holds no state: that is the `FilmState`.

    Args:
        options: how to restore.
        networks: with a detector and a masker.

    Raises:
        InputError: they are for aligned crops only.
    """

    def __init__(self, options: RestoreOptions, networks: Networks) -> None:
        if networks.detector is None or networks.masker is None:
            raise InputError("films need a detector: load them with aligned=False")
        self._options, self._networks, self._masker = options, networks, networks.masker
        self._tracker = FaceTracker(networks.detector, options)

    def step(self, state: FilmState, frame: Pixels, canvas: Pixels, seconds: float) -> tuple[FilmState, int]:
        """Restore one frame.

        Args:
            state: after the frame before; `FilmState()` for the first.
            frame: (H, W, 3) RGB, uint8 or uint16, upright, as it was.
            canvas: the same frame at the size of the output, same type; restored in place.
            seconds: time of the frame.

        Returns:
            The state after it, and how many faces were restored.

        Raises:
            BackendError: a network failed.
        """
        image = to_float(frame)
        scene = self._tracker.step(state.scene, image, seconds)
        tracks, aligned = self._aligned(scene, image)
        if not tracks:
            return FilmState(scene), 0
        network = self._networks.restorer
        restored = network.decode(network.encode(np.stack([a.crop for a in aligned])), self._options.w)
        faces = {}
        for track, face, crop in zip(tracks, aligned, restored, strict=True):
            faces[track.number] = self._face(track, face, crop, state.faces.get(track.number))
            memory = faces[track.number].memory
            onto = compose(memory.matrix, self._back(frame, canvas))
            mask = memory.mask * np.float32(track.strength)
            strength = self._options.strength
            blend_into_pixels(canvas, face.crop, memory.restored, onto, mask, strength=strength)
        return FilmState(scene, faces), len(faces)

    def _aligned(self, scene: Scene, image: FloatImage) -> tuple[list[Track], list[AlignedFace]]:
        """The faces to restore, cut out."""
        tracks, aligned = [], []
        for track in scene.tracks:
            if track.strength <= 0:
                continue
            try:
                size, template = self._networks.restorer.image_size, self._networks.template
                aligned.append(align(image, track.face, size, template=template))
            except InputError:  # its landmarks fell onto one place: not this frame
                continue
            tracks.append(track)
        return tracks, aligned

    def _face(
        self, track: Track, face: AlignedFace, restored: FloatImage, known: FilmFace | None
    ) -> FilmFace:
        looks = float(is_gray(face.crop) or is_toned(face.crop))
        tone = looks if known is None else known.tone + _TONE * (looks - known.tone)
        coloured = true_colours(restored, face.crop, tone >= 0.5)
        mask = self._masker.mask(coloured, template=self._networks.template)
        now = Memory(face.matrix, face.crop, coloured, mask)
        if known is not None and track.step is not None:
            now = steadied(known.memory, now, track.step)
        return FilmFace(now, tone)

    @staticmethod
    def _back(frame: Pixels, canvas: Pixels) -> Matrix23:
        """Canvas pixels -> frame pixels."""
        return invert(resize_matrix(canvas.shape[1] / frame.shape[1], canvas.shape[0] / frame.shape[0]))

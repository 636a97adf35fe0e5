"""One frame of a film: follow its faces, restore them, hold them steady, paste them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from facemend.errors import InputError
from facemend.faces.align import align
from facemend.faces.mask import Mask
from facemend.faces.paste import blend_into_pixels
from facemend.faces.warp import compose, invert, resize_matrix
from facemend.imaging import Pixels, is_gray, is_toned, to_float
from facemend.photo.auto import Choice, choose
from facemend.photo.networks import Networks
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import true_colours
from facemend.predictors.restorer import EncodedFaces
from facemend.types import AlignedFace, Diagnosis, FloatImage
from facemend.video.smoothing import Look, Memory, steadied
from facemend.video.tracking import FaceTracker, Scene, Track

MASK_EVERY = 4
"""Frames from mask to mask, counted from a search of the whole frame; between them the mask is moved."""
FAST_EVERY = 4
"""The same of the frames that the network restores, where speed is asked for."""

_TONE = 0.1  # share of a new frame in the opinion whether a face is monochrome


@dataclass(frozen=True, eq=False)
class FilmFace:
    """What is kept of a face from frame to frame.

    Attributes:
        memory: to hold it steady.
        tone: how far it was found monochrome of late, [0, 1].
        choice: its w and strength; with w auto those of late, as what is said of a face flickers, too.
    """

    memory: Memory
    tone: float
    choice: Choice


@dataclass(frozen=True, eq=False)
class FilmState:
    """All that the next frame depends on.

    Attributes:
        scene: what the tracker knows.
        faces: by the number of the track.
    """

    scene: Scene = field(default_factory=Scene)
    faces: Mapping[int, FilmFace] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame whose faces are found, and perhaps restored.

    Attributes:
        scene: what the tracker knows after it.
        tracks: of the faces to restore.
        aligned: those faces.
        size: (width, height) of the frame.
        encoded: what the network's heavy half says of them; None for a face that it is not asked about.
        restored: what it makes of these, where w is the same for all.
    """

    scene: Scene
    tracks: tuple[Track, ...]
    aligned: tuple[AlignedFace, ...]
    size: tuple[int, int]
    encoded: tuple[EncodedFaces | None, ...] = ()
    restored: tuple[FloatImage | None, ...] = ()


class FrameRestorer:
    """Restores the frames of a film in three steps: `see`, `draw`, `show`. Holds no state.

    The first hangs on the frame before by its `Scene`, the last by its faces; the network's, which takes
    longest, on nothing, so that it may be done for several frames at once.

    Args:
        options: how to restore.
        networks: with a detector and a masker.
        fast: ask the network about every `FAST_EVERY`th frame only; those between go with them.

    Raises:
        InputError: they are for aligned crops only.
    """

    def __init__(self, options: RestoreOptions, networks: Networks, *, fast: bool = False) -> None:
        if networks.detector is None or networks.masker is None:
            raise InputError("films need a detector: load them with aligned=False")
        self._options, self._networks, self._masker = options, networks, networks.masker
        self._tracker = FaceTracker(networks.detector, options)
        self._every = FAST_EVERY if fast else 1

    def see(self, scene: Scene, frame: Pixels, seconds: float) -> Seen:
        """Find the faces of a frame, and cut them out.

        Args:
            scene: after the frame before.
            frame: (H, W, 3) RGB, uint8 or uint16, upright.
            seconds: time of the frame.

        Raises:
            BackendError: the detector failed.
        """
        image = to_float(frame)
        scene = self._tracker.step(scene, image, seconds)
        tracks, aligned = [], []
        for track in scene.tracks:
            if track.strength <= 0:
                continue
            try:
                aligned.append(align(image, track.face, self._networks.restorer.image_size))
            except InputError:  # its landmarks fell onto one place: not this frame
                continue
            tracks.append(track)
        return Seen(scene, tuple(tracks), tuple(aligned), (frame.shape[1], frame.shape[0]))

    def draw(self, seen: Seen) -> Seen:
        """Restore the faces of a frame with the network, each by itself; with w auto its heavy half alone.

        Raises:
            BackendError: the network failed.
        """
        due = seen.scene.since % self._every == 0
        wanted = [due or track.step is None for track in seen.tracks]
        crops = [face.crop for face, want in zip(seen.aligned, wanted, strict=True) if want]
        network = self._networks.restorer
        encoded = network.encode(np.stack(crops)) if crops else None
        each = iter(encoded.split([1] * len(crops)) if encoded else ())
        seen = replace(seen, encoded=tuple(next(each) if want else None for want in wanted))
        if encoded is None or self._options.w == "auto":
            return replace(seen, restored=(None,) * len(wanted))
        drawn = iter(network.decode(encoded, self._options.w))
        return replace(seen, restored=tuple(next(drawn) if want else None for want in wanted))

    def _choice(self, encoded: EncodedFaces | None, known: FilmFace | None) -> Choice:
        """W and strength of a face in this frame: a tenth of what is new, as with its tone."""
        options, network = self._options, self._networks.restorer
        if options.w != "auto":
            return Choice(float(options.w), float(options.strength))
        rows = None if encoded is None else encoded.diagnosis
        if rows is None:
            return known.choice if known else Choice(self._networks.default_w, float(options.strength))
        new = choose(Diagnosis.from_row(rows[0]), options.likeness, network.image_size)
        new = replace(new, strength=new.strength * float(options.strength))
        if known is None:
            return new
        w, strength = (
            getattr(known.choice, name) + _TONE * (getattr(new, name) - getattr(known.choice, name))
            for name in ("w", "strength")
        )
        return Choice(w, strength)

    def show(self, faces: Mapping[int, FilmFace], seen: Seen, canvas: Pixels) -> FilmState:
        """Hold the restored faces of a frame steady, and paste them.

        Args:
            faces: after the frame before, by the numbers of their tracks.
            seen: the frame.
            canvas: the same at the size of the output, (H, W, 3) RGB, uint8 or uint16; changed in place.

        Returns:
            The state after it, with the faces that were restored.

        Raises:
            BackendError: the masker failed.
        """
        shown: dict[int, FilmFace] = {}
        back = invert(resize_matrix(canvas.shape[1] / seen.size[0], canvas.shape[0] / seen.size[1]))
        for at, (track, face) in enumerate(zip(seen.tracks, seen.aligned, strict=True)):
            made = (seen.encoded[at], seen.restored[at])
            shown[track.number] = self._face(track, face, made, faces.get(track.number), seen.scene.since)
            memory, strength = shown[track.number].memory, shown[track.number].choice.strength
            onto = compose(memory.matrix, back)
            mask = memory.mask * np.float32(track.strength)
            if strength:  # without, the frame stays as it is to the last bit
                blend_into_pixels(canvas, face.crop, memory.restored, onto, mask, strength=strength)
        return FilmState(seen.scene, shown)

    def _face(
        self,
        track: Track,
        face: AlignedFace,
        made: tuple[EncodedFaces | None, FloatImage | None],
        known: FilmFace | None,
        since: int,
    ) -> FilmFace:
        encoded, restored = made
        if encoded is None and (known is None or track.step is None):
            # One that is wanted again may come in a frame that the network was not asked about.
            encoded = self._networks.restorer.encode(face.crop[None])
        choice = self._choice(encoded, known)
        if encoded is not None and restored is None:
            restored = self._networks.restorer.decode(encoded, choice.w)[0]
        looks = float(is_gray(face.crop) or is_toned(face.crop))
        tone = looks if known is None else known.tone + _TONE * (looks - known.tone)
        if known is None or track.step is None:
            assert restored is not None
            coloured = true_colours(restored, face.crop, tone >= 0.5)
            return FilmFace(Memory(face.matrix, face.crop, coloured, self._mask(coloured)), tone, choice)
        mask = None
        if restored is not None:
            restored = true_colours(restored, face.crop, tone >= 0.5)
            mask = self._mask(restored) if since % MASK_EVERY == 0 else None
        now = Look(face.matrix, face.crop, restored, mask)
        return FilmFace(steadied(known.memory, now, track.step), tone, choice)

    def _mask(self, restored: FloatImage) -> Mask:
        return self._masker.mask(restored)

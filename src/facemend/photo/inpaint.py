"""Holes in faces filled in by a network; nothing but what the mask covers is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemend.faces.fill import edge_width, fill_from_crop, fill_hole, hole_in_crop, meet_ring
from facemend.faces.holes import Hole, hole_of, without_hole
from facemend.imaging import AnyPicture, Picture, Pixels, keep_chroma, resize
from facemend.photo.file import do_picture
from facemend.photo.find import FoundFaces, check_size, is_monochrome
from facemend.photo.result import Clock, OnPart, PhotoResult, RestoredFace, unheard
from facemend.photo.task import PhotoTask
from facemend.types import AlignedFace, FloatImage


class Inpainter(PhotoTask):
    """Fills holes in the faces of photos; loads the networks once. May be used from several threads.

    Arguments and errors are those of `PhotoTask`; by default w = 1. `upscale` and `strength` may be nothing
    but 1.
    """

    task, done = "inpainting", "filled in"

    def inpaint(self, picture: AnyPicture, mask: AnyPicture, *, on_part: OnPart = unheard) -> PhotoResult:
        """Fill what a mask covers of the faces of a photo (or, if the options say `aligned`, of a crop).

        Only pixels in the hole change, and what was in them has no influence. Faces are looked for on a copy
        with a plain filling, so that one that is partly covered is found. What lies outside the faces' crops
        stays as it is; a note says how much that is.

        Args:
            picture: the photo, of any kind that `Restorer.restore` takes.
            mask: the same, of the photo's size; white (or True) where the photo is to be filled in.
            on_part: told the name of each part of the work before it begins; what it raises ends the work.

        Raises:
            InputError: no picture, damaged, larger than the options allow, or the mask does not fit.
            BackendError: a network failed.
        """
        return do_picture(lambda photo, white: self._inpaint(photo, white, Clock(on_part)), picture, mask)

    def _inpaint(self, picture: Picture, mask: Picture, clock: Clock) -> PhotoResult:
        check_size(picture, self.options)
        hole = hole_of(mask, picture)
        with clock("prepare"):
            plain = without_hole(picture, hole)
        found = self._find(plain, clock, whole=self.options.aligned)
        seen = [(face, hole_in_crop(hole, face.matrix, len(face.crop))) for face in found.aligned]
        hit = [(face, covered) for face, covered in seen if covered.any()]
        faces = self._filled(picture, hit, clock) if hit else ()
        among = found.chosen or range(len(seen))
        found = replace(
            found, chosen=tuple(i for i, (_, covered) in zip(among, seen, strict=True) if covered.any())
        )
        with clock("paste"):
            output, filled = self._pasted(picture, plain, hole, faces)
        return self._result(picture, output, found, faces, _left(found, int(hole.sum()), filled), clock)

    def _filled(
        self, picture: Picture, hit: Sequence[tuple[AlignedFace, Hole]], clock: Clock
    ) -> tuple[RestoredFace, ...]:
        """The faces as the network saw them, their holes white, and with these filled."""
        # White is what the networks learned to fill.
        given = [np.where(hole[..., None], np.float32(1), face.crop) for face, hole in hit]
        return tuple(
            RestoredFace(face.face, crop, _in_place(picture, face.crop, new, hole), face.matrix, self._choice)
            for (face, hole), crop, new in zip(hit, given, self._decoded(given, clock), strict=True)
        )

    def _pasted(
        self, picture: Picture, plain: Pixels, hole: Hole, faces: tuple[RestoredFace, ...]
    ) -> tuple[Picture, int]:
        """The photo with the filled faces, and how many pixels were filled."""
        if not faces:
            return picture, 0
        pixels: NDArray[Any] = picture.pixels.copy()
        if self.options.aligned:
            size = picture.width, picture.height
            new = resize(faces[0].restored, size, "lanczos")
            everywhere = np.ones(hole.shape, np.float32)
            fill_hole(pixels, plain, new, hole, everywhere, width=edge_width(max(size)), gray=picture.gray)
            return replace(picture, pixels=pixels), int(hole.sum())
        matrices = [face.matrix for face in faces]
        filled = sum(
            fill_from_crop(pixels, plain, face.restored, matrices, index, hole, gray=picture.gray)
            for index, face in enumerate(faces)
        )
        return replace(picture, pixels=pixels), filled


def _in_place(picture: Picture, crop: FloatImage, new: FloatImage, hole: Hole) -> FloatImage:
    """The crop with its hole filled: in the tone of a monochrome photo, its colours met round the hole."""
    if is_monochrome(picture, crop):
        new = keep_chroma(new, crop)
    met = np.clip(meet_ring(crop, new, hole), 0, 1)
    return np.where(hole[..., None], met, crop)


def _left(found: FoundFaces, wanted: int, filled: int) -> list[str]:
    """What the user should know of the rest of the hole."""
    if not found.aligned or filled == wanted:
        return []
    if not filled:
        return ["the mask touches no face: the photo was left as it is"]
    return [
        f"{max(0.01, 1 - filled / wanted):.0%} of what the mask covers lies outside the faces and was left "
        "as it is"
    ]

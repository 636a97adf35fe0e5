"""Colour for gray photos: the faces' chroma comes from a network, light and detail stay the photo's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemend.faces.paste import paint_into_pixels
from facemend.imaging import AnyPicture, Picture, Pixels, by_bands, resize, take_chroma, to_float
from facemend.photo.file import do_picture
from facemend.photo.find import FoundFaces, check_size, is_monochrome
from facemend.photo.result import Clock, OnPart, PhotoResult, RestoredFace, unheard
from facemend.photo.task import PhotoTask
from facemend.types import FloatImage

FACES_ONLY = "only faces get colour: the rest of the photo stays as it is"
IN_COLOUR = "the photo is in colour already: its faces get the network's colours"
PROFILE_LEFT_OUT = "the photo's gray colour profile does not fit a photo in colour and was left out"


class Colorizer(PhotoTask):
    """Colours the faces of photos; loads the networks once. May be used from several threads.

    Arguments and errors are those of `PhotoTask`; `w` may be nothing but 0, `upscale` and `strength` 1.
    """

    task, done = "colorization", "coloured"

    def colorize(self, picture: AnyPicture, *, on_part: OnPart = unheard) -> PhotoResult:
        """Colour the faces of a photo (or, if the options say `aligned`, a whole aligned crop).

        Luma stays, to the rounding of the pixels, so that no detail is lost or made up. The colour fades out
        softly round the heads; everything else stays as it is. A gray picture comes out in RGB, unless no
        face is found in it.

        Args:
            picture: the photo, of any kind that `Restorer.restore` takes.
            on_part: told the name of each part of the work before it begins; what it raises ends the work.

        Raises:
            InputError: no picture, damaged, or larger than the options allow.
            BackendError: a network failed.
        """
        return do_picture(lambda taken: self._colorize(taken, Clock(on_part)), picture)

    def _colorize(self, picture: Picture, clock: Clock) -> PhotoResult:
        check_size(picture, self.options)
        found = self._find(picture.pixels, clock, whole=self.options.aligned)
        if not found.aligned:
            return self._result(picture, picture, found, (), (), clock)
        decoded = self._decoded([face.crop for face in found.aligned], clock)
        pixels = (self._whole if self.options.aligned else self._paste)(picture, found, decoded, clock)
        output = replace(picture.in_rgb(), pixels=pixels)
        everywhere = np.ones(decoded.shape[1:3], np.float32)
        faces = tuple(
            RestoredFace(
                each.face, each.crop, take_chroma(each.crop, crop, everywhere), each.matrix, self._choice
            )
            for each, crop in zip(found.aligned, decoded, strict=True)
        )
        return self._result(picture, output, found, faces, self._told(picture, output, found), clock)

    def _paste(
        self, picture: Picture, found: FoundFaces, decoded: NDArray[np.float32], clock: Clock
    ) -> NDArray[Any]:
        """Pixels of the photo with the heads coloured."""
        masker = self._networks.masker
        assert masker is not None
        pixels = picture.pixels.copy()
        for face, crop in zip(found.aligned, decoded, strict=True):
            with clock("mask"):
                mask = masker.mask(crop)
            with clock("paste"):
                paint_into_pixels(pixels, crop, face.matrix, mask)
        return pixels

    def _whole(
        self, picture: Picture, found: FoundFaces, decoded: NDArray[np.float32], clock: Clock
    ) -> NDArray[Any]:
        """Pixels of an aligned crop, coloured to its borders."""
        with clock("paste"):
            coloured = resize(decoded[0], (picture.width, picture.height), "lanczos")
            depth = picture.pixels.dtype
            return by_bands(partial(_painted, picture.in_rgb()), picture.pixels, coloured, dtype=depth)

    def _told(self, picture: Picture, output: Picture, found: FoundFaces) -> list[str]:
        """What the user should know of this photo."""
        notes = [] if self.options.aligned else [FACES_ONLY]
        if not all(is_monochrome(picture, face.crop) for face in found.aligned):
            notes.append(IN_COLOUR)
        if output.icc != picture.icc:
            notes.append(PROFILE_LEFT_OUT)
        return notes


def _painted(photo: Picture, pixels: Pixels, coloured: FloatImage) -> Pixels:
    """Some rows of a photo with all of the chroma given, in its depth."""
    everywhere = np.ones(coloured.shape[:2], np.float32)
    return photo.from_floats(take_chroma(to_float(pixels), coloured, everywhere))

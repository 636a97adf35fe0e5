"""A photo whose faces are found, aligned and encoded: all that does not depend on w."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace

from facemend.errors import ConfigError
from facemend.faces.warp import compose, invert, resize_matrix, scale_of
from facemend.imaging import Picture
from facemend.predictors.restorer import EncodedFaces
from facemend.types import AlignedFace, Diagnosis, Face

NOT_CHOSEN = "not chosen"
"""The reason of a face that the user did not ask for."""


@dataclass(frozen=True, eq=False)
class SkippedFace:
    """A face that was found and left as it is, and why."""

    face: Face
    reason: str


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a result keeps, so that another w costs little; `facemend.photo.kept` keeps it on disk.

    Attributes:
        picture: the photo.
        aligned: the faces to restore, from left to right.
        encoded: what the network's heavy half said of them; None if there are none.
        monochrome: for each of them: its chroma is the photo's.
        skipped: faces that stay as they are.
        notes: what the user should know.
        factor: how many times as large the output shall be.
        whole: the picture is one aligned crop.
        background: the photo as it lies around the faces, cleaned or enlarged by a network; None: as it is.
        chosen: which of the faces that there were to choose from they are, by index; None: all.
    """

    picture: Picture
    aligned: tuple[AlignedFace, ...] = ()
    encoded: EncodedFaces | None = None
    monochrome: tuple[bool, ...] = ()
    skipped: tuple[SkippedFace, ...] = ()
    notes: tuple[str, ...] = ()
    factor: int = 1
    whole: bool = False
    background: Picture | None = None
    chosen: tuple[int, ...] | None = None

    def diagnoses(self, size: int) -> list[Diagnosis | None]:
        """What the model says of each face; None where it says nothing.

        A face has no more resolution than the pixels that it had in the photo.

        Args:
            size: side of the model's faces, pixels.
        """
        rows = self.encoded.diagnosis if self.encoded else None
        if rows is None:
            return [None] * len(self.aligned)
        said = map(Diagnosis.from_row, rows)
        return [
            replace(each, resolution=min(each.resolution, size / scale_of(face.matrix)))
            for each, face in zip(said, self.aligned, strict=True)
        ]

    def only(self, faces: Iterable[int]) -> Prepared:
        """The same with some of the faces; the others join those that stay as they are.

        Args:
            faces: indices into `aligned`, in any order.

        Raises:
            ConfigError: there is no such face.
        """
        count = len(self.aligned)
        try:
            chosen = sorted({operator.index(face) for face in faces})
        except TypeError:
            raise ConfigError(f"faces must be indices such as (0, 2), got {faces!r}") from None
        for index in chosen:
            if not 0 <= index < count:
                known = f"there are faces 0 to {count - 1}" if count else "there are no faces"
                raise ConfigError(f"no face {index} was found: {known}")
        if len(chosen) == count:
            return self
        left = [SkippedFace(self.aligned[i].face, NOT_CHOSEN) for i in range(count) if i not in chosen]
        outputs = (
            {name: array[chosen] for name, array in self.encoded.outputs.items()} if self.encoded else {}
        )
        return replace(
            self,
            aligned=tuple(self.aligned[i] for i in chosen),
            encoded=EncodedFaces(outputs) if chosen else None,
            monochrome=tuple(self.monochrome[i] for i in chosen),
            skipped=(*self.skipped, *left),
            chosen=tuple(chosen if self.chosen is None else (self.chosen[i] for i in chosen)),
        )

    def onto(self, picture: Picture) -> Prepared:
        """The same faces on the photo in another size, such as one that is enlarged already: the factor is 1.

        Boxes and landmarks stay those of the photo as it was.

        Args:
            picture: what the faces are to be pasted into; it shows what `self.picture` shows.
        """
        resized = resize_matrix(picture.width / self.picture.width, picture.height / self.picture.height)
        back = invert(resized)
        aligned = (replace(each, matrix=compose(each.matrix, back)) for each in self.aligned)
        return replace(self, picture=picture, aligned=tuple(aligned), factor=1, background=None)

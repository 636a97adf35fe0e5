"""What `Restorer`, `Colorizer` and `Inpainter` share: options, networks, the way to the faces and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray

from facemend.imaging import Picture, Pixels
from facemend.photo.auto import Choice
from facemend.photo.find import FoundFaces, find_faces, whole_crop
from facemend.photo.networks import Networks, task_options
from facemend.photo.options import RestoreOptions, RestoreSettings
from facemend.photo.result import Clock, PhotoResult, RestoredFace
from facemend.types import FloatImage


class PhotoTask:
    """Works on photos; loads the networks once. May be used from several threads.

    Args:
        options: how; by default those of the task, with the one model that is there for it.
        networks: those that are loaded already; by default those that the options name.
        settings: single fields of `RestoreOptions`, such as `faces="largest"`; they win over `options`.

    Attributes:
        task: what the model must be for.
        done: what a note says of faces that it worked on.

    Raises:
        ConfigError: an unknown option, a value out of range, or one that does not go with the task.
        ModelNotFoundError: there is no such model, or none for the task.
        WeightsError: a file is missing or damaged.
        BackendError: a graph cannot be run.
    """

    task: ClassVar[str]
    done: ClassVar[str]

    def __init__(
        self,
        options: RestoreOptions | None = None,
        *,
        networks: Networks | None = None,
        **settings: Unpack[RestoreSettings],
    ) -> None:
        self.options = task_options(self.task, options, settings)
        self._networks = networks or Networks.load(self.options, self.task)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the networks run; every result has these too."""
        return self._networks.restorer.notes

    def _find(self, image: Pixels, clock: Clock, *, whole: bool) -> FoundFaces:
        """The faces of a photo, (H, W, 3) RGB; or that it is one aligned crop as a whole."""
        if whole:
            return whole_crop(image, self._networks, self.options)
        return find_faces(image, self._networks, self.options, clock, done=self.done)

    def _decoded(self, crops: Sequence[FloatImage], clock: Clock) -> NDArray[np.float32]:
        """The network's faces for these crops, (N, S, S, 3) RGB [0, 1]."""
        with clock("encode"):
            encoded = self._networks.restorer.encode(np.stack(crops))
        with clock("decode"):
            return self._networks.restorer.decode(encoded, self._choice.w)

    @property
    def _choice(self) -> Choice:
        """What is done with every face, where none is looked at by itself."""
        assert self.options.w != "auto"  # `task_options` lets it pass for restoration alone
        return Choice(self.options.w, self.options.strength)

    def _given_out(self, picture: Picture) -> Picture:
        """What comes of the work as the options want it given out: maybe without metadata, or smaller."""
        if self.options.strip_metadata:
            picture = picture.without_metadata()
        return replace(picture, quality=self.options.quality) if self.options.quality else picture

    def _result(
        self,
        picture: Picture,
        output: Picture,
        found: FoundFaces,
        faces: tuple[RestoredFace, ...],
        notes: Iterable[str],
        clock: Clock,
    ) -> PhotoResult:
        output = self._given_out(output)
        return PhotoResult(
            picture=output,
            faces=faces,
            skipped=found.skipped,
            notes=(*self.notes, *picture.notes, *found.notes, *notes),
            seconds=MappingProxyType(clock.seconds),
            model=self.options.model,
            w=self.options.w,
            factor=1,
            chosen=found.chosen,
            untouched=output is picture,
        )

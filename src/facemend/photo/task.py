"""What `Restorer`, `Colorizer` and `Inpainter` share: options, networks, the way to the faces and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray

from facemend.errors import ConfigError
from facemend.imaging import Picture, Pixels
from facemend.photo.find import FoundFaces, find_faces, whole_crop
from facemend.photo.networks import Networks
from facemend.photo.options import RestoreOptions, RestoreSettings, make_options
from facemend.photo.result import Clock, PhotoResult, RestoredFace
from facemend.types import FloatImage
from facemend.weights.models import COMMANDS, DEFAULT_W, sole_model


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
            return self._networks.restorer.decode(encoded, self.options.w)

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


def task_options(task: str, options: RestoreOptions | None, settings: Mapping[str, Any]) -> RestoreOptions:
    """The options of a task: its own defaults, or those given, with single settings changed.

    Args:
        task: what the model must be for.
        options: None for the defaults: beside restoration w as the published networks want it, and the one
            model that is there for the task.
        settings: single fields of `RestoreOptions`.

    Raises:
        ConfigError: an unknown option, a value out of range, or one that does not go with the task.
        ModelNotFoundError: no model is named, and there is none, or more than one.
    """
    if task == "restoration":
        return make_options(options, settings)
    if options is None:
        model = settings["model"] if "model" in settings else sole_model(task)
        options = RestoreOptions(w=DEFAULT_W[task], model=model)
    options = make_options(options, settings)
    command = COMMANDS[task]
    if task == "colorization" and options.w != 0:
        raise ConfigError(f"w must be 0 with {command}, got {options.w:g}: its networks know no other")
    if options.least_upscale != 1:
        raise ConfigError(f"upscale must be 1 with {command}, got {options.upscale}: restore enlarges")
    if options.strength != 1:
        raise ConfigError(
            f"strength must be 1 with {command}, got {options.strength:g}: it goes with restore"
        )
    return replace(options, upscale=1)

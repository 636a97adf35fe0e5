"""The networks of a worker, and the photos that were looked at last. For one thread."""

from __future__ import annotations

import io
import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image

from facemend.errors import InputError, ModelNotFoundError, OutputError
from facemend.files import place
from facemend.imaging import WRITABLE, Picture, encode_picture, from_float, read_picture, suffix_of, to_float
from facemend.photo import kept as keep
from facemend.photo.auto import choose, in_words
from facemend.photo.networks import Networks
from facemend.photo.options import LIKENESS, Background, RestoreOptions
from facemend.photo.prepared import Prepared
from facemend.photo.restore import Restorer, RestoreResult
from facemend.predictors.upscaler import BackgroundUpscaler, weights_are_there
from facemend.server.films import FilmHeader, first_frame, read_film_header, restore_film
from facemend.server.orders import Job
from facemend.server.problems import GoneError
from facemend.server.settings import ServerSettings
from facemend.server.store import JobStore
from facemend.types import Face
from facemend.weights.models import ModelInfo, cached_models, models

logger = logging.getLogger(__name__)

MAX_MODELS = 2
"""Models that a worker holds; a third takes the place of the one not used for longest."""
LOOK_QUALITY = 88


class OnPart(Protocol):
    """Told each part of a job before it begins."""

    def __call__(self, part: str, progress: float | None = None) -> None:
        """The part, and the share of the job that is done, 0 to 1, where the part alone does not say it."""


def known_models() -> list[ModelInfo]:
    """The models that a client may name: restoration models that ship, or that this user has imported."""
    found = (*models(), *cached_models()[0])
    return [model for model in found if model.task == "restoration"]


def known_backgrounds() -> tuple[Background, ...]:
    """What can become of a photo's background here; looks at the files, which takes a moment."""
    return ("lanczos", "clean", "realesrgan") if weights_are_there() else ("lanczos", "clean")


class JobRestorer:
    """Restores the photos of jobs, and shows them: also with another w or strength, if the job says so.

    Args:
        settings: threads, device, limits.
        store: where the photos are.

    Attributes:
        on_part: told each part of a job before it begins; what it raises ends the job.
    """

    on_part: OnPart

    def __init__(self, settings: ServerSettings, store: JobStore) -> None:
        self._settings, self._store = settings, store
        self.on_part = lambda part, progress=None: None
        self._networks: OrderedDict[str, Networks] = OrderedDict()
        self._looks: OrderedDict[str, Prepared] = OrderedDict()

    def warm(self) -> None:
        """Load the default model, so that the first photo does not wait for it.

        Raises:
            FacemendError: it cannot be loaded.
        """
        self._restorer(RestoreOptions())

    def restore(self, job: Job) -> dict[str, Any]:
        """Restore the photo of a job, and write its result and what another w needs.

        Returns:
            The fields of `Job` that are known now.

        Raises:
            FacemendError: the photo cannot be read, or something else went wrong, in one line.
        """
        self._evict(0)
        self.on_part("read")
        picture = self._read(job)
        result = self._restorer(job.options).restore(picture, on_part=self.on_part)
        self.on_part("write")
        suffix = suffix_of(result.picture.format)
        data = self._encoded(result.picture)
        try:
            keep.save(result.prepared, self._store.kept(job.id))
            place(self._store.result(job.id, suffix), data, overwrite=True)
        except (OutputError, OSError) as error:
            logger.error("%s", error)
            raise OutputError("the server cannot store the result: try again later") from error
        told = {
            "input_width": picture.width,
            "input_height": picture.height,
            "width": result.picture.width,
            "height": result.picture.height,
            "factor": result.factor,
            "suffix": suffix,
            "faces": _faces(result),
            "notes": list(result.notes),
            "seconds": {part: round(value, 4) for part, value in result.seconds.items()},
        }
        prepared = result.prepared
        del result, data, picture  # a large photo is held once, not twice, while it is enlarged for looks
        self._remember(job, prepared)
        return told

    def film_header(self, id: str, name: str, upscale: int) -> FilmHeader:
        """Check an upload that is a film; see `read_film_header`."""
        return read_film_header(self._store.input(id), name, upscale, self._settings)

    def restore_film(self, job: Job) -> dict[str, Any]:
        """The same as `restore` for a film."""
        self.on_part("read", 0.0)
        options = self._decided(job.options)
        return restore_film(
            job,
            self._store,
            options,
            self._loaded(options),
            lambda done, total: self.on_part("frames", min(1.0, done / total)),
        )

    def result(self, job: Job, faces: Iterable[int] | None, path: Path) -> None:
        """Write the restored photo of a job that is done, or some of its faces, as a file of its format.

        Raises:
            ConfigError: there is no such face.
            OutputError: the disk is full.
            FacemendError: see `restore`.
        """
        self._store.check_room()
        data = self._encoded(self._redo(job, faces).picture)
        try:
            place(path, data, overwrite=True)
        except OSError as error:
            raise OutputError("the server cannot store the result: try again later") from error

    def preview(self, job: Job, faces: Iterable[int] | None, side: int) -> tuple[bytes, dict[str, float]]:
        """The same shrunk for a page, as WebP; and seconds per part.

        Args:
            job: one that is done.
            faces: indices of the faces to restore; None: all.
            side: longest side at most, pixels.

        Raises:
            ConfigError: there is no such face.
            FacemendError: see `restore`.
        """
        if job.is_film:
            return _for_page(first_frame(self._store.result(job.id, job.suffix), job.name), side), {}
        result = self._redo(job, faces)
        return _for_page(result.picture, side), dict(result.seconds)

    def before(self, job: Job, side: int) -> bytes:
        """The photo as it was in the size of the output, shrunk for a page, as WebP."""
        if job.is_film:
            return _for_page(first_frame(self._store.input(job.id), job.name), side)
        # A look that was cleaned or drawn sharper is not as the photo was.
        photo = self._look(job).picture if job.options.background == "lanczos" else self._read(job)
        return _for_page(photo.resized((job.width or photo.width) / photo.width), side)

    def crop(self, job: Job, face: int, when: Literal["before", "after"]) -> bytes:
        """An aligned face as PNG.

        Raises:
            ConfigError: there is no such face.
            FacemendError: see `restore`.
        """
        chosen = self._redo(job, [face]).faces[0]
        return encode_picture(Picture.from_array(chosen.crop if when == "before" else chosen.restored), "png")

    def forget_gone(self) -> None:
        """Let go of the photos of jobs whose files are gone."""
        for job in [job for job in self._looks if not self._store.has(job)]:
            del self._looks[job]

    def _redo(self, job: Job, faces: Iterable[int] | None) -> RestoreResult:
        # The photo in a look is cleaned and enlarged already.
        return self._restorer(replace(job.options, upscale=1, background="lanczos")).redo(
            self._look(job), job.options.w, faces
        )

    def _read(self, job: Job) -> Picture:
        limit = self._settings.max_pixels
        return read_picture(self._store.input(job.id), max_pixels=limit, name=job.name)

    def _encoded(self, picture: Picture) -> bytes:
        return encode_picture(picture, WRITABLE[suffix_of(picture.format)])

    def _restorer(self, wanted: RestoreOptions) -> Restorer:
        options = self._decided(wanted)
        return Restorer(options, networks=self._loaded(options))

    def _decided(self, wanted: RestoreOptions) -> RestoreOptions:
        """What a client wants, with what the server decides."""
        return replace(
            wanted,
            threads=self._settings.thread_count(),
            device=self._settings.device,
            max_pixels=self._settings.max_pixels,
        )

    def _loaded(self, options: RestoreOptions) -> Networks:
        name = options.model
        if name not in self._networks:
            model = next((model for model in known_models() if model.name == name), None)
            if model is None:
                raise ModelNotFoundError(f"{name}: the server has this model no longer")
            # Its detector serves later jobs, even if this one needs none.
            self._networks[name] = Networks.load(replace(options, aligned=False), model=model)
            while len(self._networks) > MAX_MODELS:
                self._networks.popitem(last=False)
        if options.draws_background and self._networks[name].upscaler is None:
            upscaler = BackgroundUpscaler.open(device=options.device, threads=options.threads)
            self._networks[name] = replace(self._networks[name], upscaler=upscaler)
        self._networks.move_to_end(name)
        return self._networks[name]

    def _look(self, job: Job) -> Prepared:
        """What another w of a job starts from; of a job that another worker did, from the disk."""
        if job.id not in self._looks:
            self._evict(0)
            try:
                prepared = keep.load(self._store.kept(job.id), self._read(job))
            except InputError as error:
                raise GoneError from error
            self._remember(job, prepared)
        self._looks.move_to_end(job.id)
        return self._looks[job.id]

    def _remember(self, job: Job, prepared: Prepared) -> None:
        self._looks[job.id] = prepared.onto(prepared.background or prepared.picture.resized(prepared.factor))
        self._looks.move_to_end(job.id)
        self._evict(1)  # this one stays whatever its size: it is being looked at

    def _evict(self, least: int) -> None:
        """Let go of the oldest looks until they fit, or until so many are left."""
        limit = self._settings.cache_mb * 1_000_000
        while len(self._looks) > least and sum(map(_bytes, self._looks.values())) > limit:
            self._looks.popitem(last=False)


def _for_page(picture: Picture, side: int) -> bytes:
    """At most that long, as WebP. For speed: at this effort it takes a fifth of the usual time."""
    small = picture.resized(min(1.0, side / max(picture.width, picture.height)))
    planes = [from_float(small.as_float())]
    if small.alpha is not None:
        planes.append(from_float(to_float(small.alpha))[..., None])
    icc = small.icc if small.icc and small.icc[16:20] == b"RGB " else None
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(planes, axis=2)).save(
        buffer, "webp", quality=LOOK_QUALITY, method=0, icc_profile=icc
    )
    return buffer.getvalue()


def _faces(result: RestoreResult) -> list[dict[str, Any]]:
    said = [(face.face, None) for face in result.faces] + [(s.face, s.reason) for s in result.skipped]
    told: list[dict[str, Any]] = [
        {"index": index, "box": _box(face), "restored": reason is None, "reason": reason}
        for index, (face, reason) in enumerate(said)
    ]
    for row, face in zip(told, result.faces, strict=False):  # those that were restored come first
        if face.diagnosis is not None:
            size = len(face.crop)
            row["looks"] = in_words(face.diagnosis, size)
            row["auto"] = asdict(choose(face.diagnosis, LIKENESS, size))
    return told


def _box(face: Face) -> list[float]:
    return [round(value, 1) for value in (face.box.x1, face.box.y1, face.box.x2, face.box.y2)]


def _bytes(prepared: Prepared) -> int:
    picture, encoded = prepared.picture, prepared.encoded
    total = picture.pixels.nbytes + (0 if picture.alpha is None else picture.alpha.nbytes)
    total += sum(each.crop.nbytes for each in prepared.aligned)
    return total + sum(array.nbytes for array in (encoded.outputs.values() if encoded else ()))

"""The whole photo: find the faces, align, restore, mask, paste back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from types import MappingProxyType
from typing import Any

import numpy as np

from facemend.errors import InputError
from facemend.faces.align import align
from facemend.faces.paste import blend_face, blend_into_pixels
from facemend.faces.select import select
from facemend.faces.template import template_points
from facemend.faces.warp import compose, invert, resize_matrix
from facemend.imaging import Picture, is_gray, is_toned, keep_chroma, match_broad_chroma, resize
from facemend.pipeline.options import RestoreOptions, make_options
from facemend.pipeline.parts import Parts
from facemend.predictors.restorer import Encoded
from facemend.types import AlignedFace, Box, Face, FloatImage, Matrix23

# Scale above which the photo's own colours are trusted, share of the crop's side.
BROAD = 0.04


@dataclass(frozen=True, eq=False)
class RestoredFace:
    """A face before and after.

    Attributes:
        face: where it is in the photo.
        crop: (S, S, 3) float32 RGB [0, 1], aligned, as it was.
        restored: the same, restored.
        matrix: 2x3, photo pixels -> crop pixels.
    """

    face: Face
    crop: FloatImage
    restored: FloatImage
    matrix: Matrix23


@dataclass(frozen=True, eq=False)
class SkippedFace:
    """A face that was found and left as it is, and why."""

    face: Face
    reason: str


@dataclass(frozen=True, eq=False)
class _Prepared:
    """All that does not depend on w: kept in a result, so that another w costs little."""

    picture: Picture
    aligned: tuple[AlignedFace, ...] = ()
    encoded: Encoded | None = None
    monochrome: tuple[bool, ...] = ()  # for each face: its chroma is the photo's
    skipped: tuple[SkippedFace, ...] = ()
    notes: tuple[str, ...] = ()
    whole: bool = False  # the picture is one aligned crop


@dataclass(frozen=True, eq=False)
class RestoreResult:
    """A restored photo and what was done.

    Attributes:
        picture: the photo, `upscale` times the size of the input, of the same kind (depth, alpha, metadata).
        faces: the restored faces, from left to right.
        skipped: faces that were left as they are.
        notes: what the user should know, such as that no face was found.
        seconds: time per part.
        model: name of the model.
        w: the fidelity weight used.
    """

    picture: Picture
    faces: tuple[RestoredFace, ...]
    skipped: tuple[SkippedFace, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    model: str
    w: float
    _prepared: _Prepared = field(repr=False)


class Restorer:
    """Restores photos; loads the networks once. May be used from several threads.

    Args:
        options: how to restore; default `RestoreOptions()`.
        parts: networks that are loaded already; by default those that the options name.
        settings: single fields of `RestoreOptions`, such as `w=0.7`; they win over `options`.

    Raises:
        ConfigError: an unknown option, or a value out of range.
        ModelNotFoundError: there is no such model.
        WeightsError: a file is missing or damaged.
        BackendError: a graph cannot be run.
    """

    def __init__(
        self, options: RestoreOptions | None = None, *, parts: Parts | None = None, **settings: Any
    ) -> None:
        self.options = make_options(options, settings)
        self._parts = parts or Parts.load(self.options)

    @property
    def device(self) -> str:
        """Where the network runs: a name of `facemend.runtime.devices`."""
        return self._parts.network.device

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the networks run; every result has these too."""
        return self._parts.network.notes

    def restore(self, picture: Picture) -> RestoreResult:
        """Restore the faces of a photo (or, if the options say `aligned`, an aligned crop).

        Raises:
            InputError: the output would be larger than the options allow.
            BackendError: a network failed.
        """
        if self.options.aligned:
            return self.restore_aligned(picture)
        self._check_size(picture)
        clock = _Clock()
        return self._finish(self._prepare(picture, clock), self.options.w, clock)

    def restore_aligned(self, picture: Picture) -> RestoreResult:
        """Restore an aligned face crop of any size; the output is `upscale` times that size.

        The crop is resized to the model's size and back. Where it is larger than the model's crop, its real
        detail is kept.

        Raises:
            InputError: the output would be larger than the options allow.
            BackendError: the network failed.
        """
        self._check_size(picture)
        clock = _Clock()
        side = self._parts.network.image_size
        image = picture.as_float()
        crop = resize(image, (side, side), "lanczos")
        points = template_points(self._parts.template, (picture.width, picture.height)).astype(np.float32)
        face = Face(Box(0.0, 0.0, picture.width - 1.0, picture.height - 1.0), points, 1.0)
        matrix = resize_matrix(side / picture.width, side / picture.height)
        square = picture.width == picture.height
        with clock("encode"):
            encoded = self._parts.network.encode(crop[None])
        prepared = _Prepared(
            picture,
            aligned=(AlignedFace(crop, matrix, face),),
            encoded=encoded,
            monochrome=(_is_monochrome(picture, crop),),
            whole=True,
            notes=() if square else ("an aligned crop should be square: it was squeezed for the model",),
        )
        return self._finish(prepared, self.options.w, clock)

    def redo(self, result: RestoreResult, w: float) -> RestoreResult:
        """The same photo with another fidelity weight: only the decoder runs again, and the paste.

        Args:
            result: from this restorer.
            w: fidelity weight in [0, 1].

        Raises:
            ConfigError: `w` is out of range.
        """
        make_options(self.options, {"w": w})
        return self._finish(result._prepared, w, _Clock())

    def _check_size(self, picture: Picture) -> None:
        upscale, limit = self.options.upscale, self.options.max_pixels
        pixels = picture.width * picture.height * upscale**2
        if pixels > limit:
            raise InputError(
                f"{picture.width}x{picture.height} at upscale {upscale} gives {pixels / 1e6:.0f} megapixels, "
                f"over the limit of {limit / 1e6:.0f}: use a smaller upscale"
            )

    def _prepare(self, picture: Picture, clock: _Clock) -> _Prepared:
        parts = self._parts
        if parts.detector is None:
            raise InputError("this restorer was made for aligned crops only: make one with aligned=False")
        found, aligned, skipped = self._find(picture, clock)
        if not aligned:
            notes = (_nothing_done(found, self.options.upscale),)
            return _Prepared(picture, skipped=tuple(skipped), notes=notes)
        with clock("encode"):
            encoded = parts.network.encode(np.stack([face.crop for face in aligned]))
        monochrome = tuple(_is_monochrome(picture, face.crop) for face in aligned)
        return _Prepared(picture, tuple(aligned), encoded, monochrome, tuple(skipped))

    def _find(
        self, picture: Picture, clock: _Clock
    ) -> tuple[list[Face], list[AlignedFace], list[SkippedFace]]:
        """All faces, those to restore, and those to leave; the photo is held as floats only here."""
        parts = self._parts
        assert parts.detector is not None
        image = picture.as_float()
        with clock("detect"):
            found = parts.detector.detect(image, max_faces=self.options.max_faces)
        chosen, skipped = self._choose(found, picture)
        aligned = []
        with clock("align"):
            for face in chosen:
                try:
                    aligned.append(align(image, face, parts.network.image_size, template=parts.template))
                except InputError as error:
                    skipped.append(SkippedFace(face, str(error)))
        return found, aligned, skipped

    def _choose(self, found: Sequence[Face], picture: Picture) -> tuple[list[Face], list[SkippedFace]]:
        """The faces to restore, and the others with the reason."""
        least = self.options.min_face
        skipped = []
        candidates = []
        for face in found:
            side = min(face.box.width, face.box.height)
            if side < least:
                skipped.append(SkippedFace(face, f"{side:.0f} px is below the smallest size, {least:g} px"))
            else:
                candidates.append(face)
        chosen = select(candidates, self.options.faces, size=(picture.width, picture.height))
        others = [face for face in candidates if not any(face is other for other in chosen)]
        skipped += [SkippedFace(face, f"not the one asked for ({self.options.faces})") for face in others]
        return chosen, skipped

    def _finish(self, prepared: _Prepared, w: float, clock: _Clock) -> RestoreResult:
        faces: tuple[RestoredFace, ...] = ()
        with clock("background"):
            output = prepared.picture.resized(self.options.upscale)
        if prepared.encoded is not None:
            with clock("decode"):
                decoded = self._parts.network.decode(prepared.encoded, w)
            faces = tuple(
                RestoredFace(a.face, a.crop, _true_colours(crop, a.crop, mono), a.matrix)
                for a, crop, mono in zip(prepared.aligned, decoded, prepared.monochrome, strict=True)
            )
            output = (self._fill if prepared.whole else self._paste)(output, faces, clock)
        return RestoreResult(
            picture=output,
            faces=faces,
            skipped=prepared.skipped,
            notes=(*self.notes, *prepared.notes),
            seconds=MappingProxyType(clock.seconds),
            model=self.options.model,
            w=w,
            _prepared=prepared,
        )

    def _paste(self, output: Picture, faces: Sequence[RestoredFace], clock: _Clock) -> Picture:
        """The enlarged photo with the restored faces blended into it."""
        masker, template = self._parts.masker, self._parts.template
        assert masker is not None
        back = invert(resize_matrix(self.options.upscale, self.options.upscale))
        pixels = output.pixels.copy()
        for face in faces:
            with clock("mask"):
                mask = masker.mask(face.restored, template=template)
            with clock("paste"):
                matrix = compose(face.matrix, back)
                blend_into_pixels(pixels, face.crop, face.restored, matrix, mask, gray=output.gray)
        return replace(output, pixels=pixels)

    def _fill(self, output: Picture, faces: Sequence[RestoredFace], clock: _Clock) -> Picture:
        """The restored crop at the size of the output; of a larger crop the real detail is kept."""
        (face,) = faces
        side = len(face.restored)
        with clock("paste"):
            original_side = max(face.face.box.width, face.face.box.height) + 1
            if original_side <= side:
                return output.with_pixels(resize(face.restored, (output.width, output.height), "lanczos"))
            canvas = output.as_float()
            everywhere = np.ones((side, side), np.float32)
            matrix = resize_matrix(side / output.width, side / output.height)
            blend_face(canvas, face.crop, face.restored, matrix, everywhere)
            return output.with_pixels(canvas)


def _is_monochrome(picture: Picture, crop: FloatImage) -> bool:
    return picture.gray or is_gray(crop) or is_toned(crop)


def _true_colours(restored: FloatImage, crop: FloatImage, monochrome: bool) -> FloatImage:
    """The network's face in the photo's colours: exactly where that is monochrome, broadly elsewhere."""
    if monochrome:
        return keep_chroma(restored, crop)
    return match_broad_chroma(restored, crop, BROAD * len(crop))


def _nothing_done(found: Sequence[Face], upscale: int) -> str:
    what = "no face was restored" if found else "no face found"
    return f"{what}: the photo was {'only enlarged' if upscale > 1 else 'left as it is'}"


class _Clock:
    """Adds up seconds per part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + perf_counter() - start

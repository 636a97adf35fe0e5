"""The whole photo: find the faces, align, restore, mask, paste back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Literal, Unpack

import numpy as np

from facemend.errors import ConfigError
from facemend.faces.grain import add_grain, grain_under
from facemend.faces.paste import blend_into_pixels
from facemend.faces.warp import compose, invert, resize_matrix
from facemend.imaging import (
    BROAD,
    AnyPicture,
    Picture,
    as_picture,
    bands,
    clean,
    keep_chroma,
    match_broad_colours,
    resize,
    to_float,
)
from facemend.photo.auto import Choice, choose
from facemend.photo.file import do_picture, errors_naming, from_files, stamp_of
from facemend.photo.find import check_size, is_monochrome
from facemend.photo.networks import Networks
from facemend.photo.options import RestoreOptions, RestoreSettings, make_options
from facemend.photo.prepared import Prepared
from facemend.photo.result import Clock, OnPart, PhotoResult, RestoredFace, together, unheard
from facemend.photo.task import PhotoTask
from facemend.predictors.restorer import join
from facemend.types import Diagnosis, FloatImage

_NO_BACKGROUND = "background realesrgan does nothing here: it enlarges photos, at upscale 2 or 4"
_NOTHING_AROUND = "background clean and grain keep do nothing with aligned: nothing lies around the face"


@dataclass(frozen=True, eq=False)
class RestoreResult(PhotoResult):
    """A restored photo, `factor` times the size of the input, and what was done.

    Attributes:
        prepared: what another w starts from, see `Restorer.redo`.
    """

    prepared: Prepared = field(repr=False)


class Restorer(PhotoTask):
    """Restores photos; loads the networks once. May be used from several threads.

    Arguments and errors are those of `PhotoTask`; the default is `RestoreOptions()`.
    """

    task, done = "restoration", "restored"

    def __init__(
        self,
        options: RestoreOptions | None = None,
        *,
        networks: Networks | None = None,
        **settings: Unpack[RestoreSettings],
    ) -> None:
        super().__init__(options, networks=networks, **settings)
        if self.options.draws_background and self._networks.upscaler is None:
            raise ConfigError("these networks have none for backgrounds: load them with these options")

    @property
    def device(self) -> str:
        """Where the network runs: a name of `facemend.runtime.devices`."""
        return self._networks.restorer.device

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the networks run; every result has these too."""
        return self._notes(self.options)

    def _notes(self, options: RestoreOptions) -> tuple[str, ...]:
        notes = super().notes
        if options.background == "realesrgan" and not options.draws_background:
            notes += (_NO_BACKGROUND,)
        if options.aligned and (options.background == "clean" or options.grain == "keep"):
            notes += (_NOTHING_AROUND,)
        return notes + self._networks.unknown(options)

    def restore(self, picture: AnyPicture, *, on_part: OnPart = unheard) -> RestoreResult:
        """Restore the faces of a photo (or, if the options say `aligned`, an aligned crop).

        Args:
            picture: the photo: a path, bytes of a file, a Pillow image, an array as for
                `Picture.from_array`, or a `Picture`.
            on_part: told the name of each part of the work before it begins, and now and then in a long one;
                what it raises ends the work.

        Raises:
            InputError: no picture, damaged, or the output would be larger than the options allow.
            BackendError: a network failed.
        """
        return self._one(picture, on_part, whole=self.options.aligned)

    def restore_aligned(self, picture: AnyPicture, *, on_part: OnPart = unheard) -> RestoreResult:
        """Restore an aligned face crop of any size; arguments and errors are those of `restore`.

        The crop is resized to the model's size and from there to the output's: `size`, or `upscale` times
        that of the crop (auto: 1) and at least the model's. Where it is larger than the model's crop, its
        real detail is kept.
        """
        return self._one(picture, on_part, whole=True)

    def restore_many(self, pictures: Iterable[AnyPicture]) -> list[RestoreResult]:
        """Restore several photos, all their faces in one batch for the network: what a GPU is quick at.

        Args:
            pictures: the photos, each as for `restore`; all are held at once.

        Returns:
            A result for each; of the time of the network, each has an equal share.

        Raises:
            InputError, BackendError: as from `restore`, for any of them.
            ConfigError: it is one picture.
        """
        if not isinstance(pictures, Iterable) or isinstance(pictures, str | bytes | Picture):
            raise ConfigError("restore_many takes several pictures, such as a list of paths")
        pictures = list(pictures)
        seen = [stamp_of(each) for each in pictures]
        taken = [as_picture(each) for each in pictures]
        for given, picture in zip(pictures, taken, strict=True):
            with errors_naming(given):
                check_size(picture, self.options)
        results = self._restore(taken, [Clock() for _ in taken], whole=self.options.aligned)
        return [from_files(*each) for each in zip(results, seen, pictures, strict=True)]

    def redo(
        self,
        result: RestoreResult | Prepared,
        w: float | Literal["auto"],
        faces: Iterable[int] | None = None,
        *,
        strength: float | None = None,
    ) -> RestoreResult:
        """The same photo with another w or strength: only the decoder runs again, and the paste.

        The output is as large as the first, whatever these options say.

        Args:
            result: from a restorer of this model, or what it keeps (`result.prepared`).
            w: fidelity weight in [0, 1], or auto.
            faces: indices of the faces to restore, in the first result; default: all. The others stay as
                they are.
            strength: in [0, 1]; default: that of the options.

        Raises:
            ConfigError: it is no such result, `w` or `strength` is out of range, or there is no such face.
        """
        if not isinstance(result, RestoreResult | Prepared):
            raise ConfigError(f"redo takes a result of restore, got a {type(result).__name__}")
        options = make_options(self.options, {"w": w} if strength is None else {"w": w, "strength": strength})
        prepared = result if isinstance(result, Prepared) else result.prepared
        taken = prepared if faces is None else prepared.only(faces)
        again = replace(self._finish([taken], options, [Clock()])[0], prepared=prepared)
        if isinstance(result, Prepared):
            return again
        return replace(again, inputs=result.inputs, seen=result.seen)

    def _one(self, picture: AnyPicture, on_part: OnPart, *, whole: bool) -> RestoreResult:
        return do_picture(lambda taken: self._restore([taken], [Clock(on_part)], whole=whole)[0], picture)

    def _restore(
        self, pictures: Sequence[Picture], clocks: Sequence[Clock], *, whole: bool
    ) -> list[RestoreResult]:
        for picture in pictures:
            check_size(picture, self.options)
        found = [
            self._find(picture.pixels, clock, whole=whole)
            for picture, clock in zip(pictures, clocks, strict=True)
        ]
        prepared = [
            Prepared(
                picture,
                each.aligned,
                skipped=each.skipped,
                notes=each.notes,
                factor=each.factor,
                whole=whole,
                chosen=each.chosen,
            )
            for picture, each in zip(pictures, found, strict=True)
        ]
        return self._finish(self._encoded(prepared, clocks), self.options, clocks)

    def _encoded(self, prepared: Sequence[Prepared], clocks: Sequence[Clock]) -> list[Prepared]:
        """With what the network's heavy half says of the faces."""
        crops = [face.crop for each in prepared for face in each.aligned]
        if not crops:
            return list(prepared)
        with together(clocks, "encode"):
            encoded = self._networks.restorer.encode(np.stack(crops)).split(
                [len(each.aligned) for each in prepared]
            )
        return [
            replace(
                each,
                encoded=part if each.aligned else None,
                monochrome=tuple(is_monochrome(each.picture, face.crop) for face in each.aligned),
            )
            for each, part in zip(prepared, encoded, strict=True)
        ]

    def _finish(
        self, prepared: Sequence[Prepared], options: RestoreOptions, clocks: Sequence[Clock]
    ) -> list[RestoreResult]:
        """Decode and paste."""
        backed, enlarged = [], []
        for each, clock in zip(prepared, clocks, strict=True):
            with clock("background"):
                backed.append(self._with_background(each, clock))
                enlarged.append(backed[-1].background or each.picture.resized(self._scale(each)))
        chosen = [self._chosen(each, options) for each in prepared]
        encoded = [each.encoded for each in prepared if each.encoded is not None]
        decoded: Iterator[FloatImage] = iter(())
        if encoded:
            with together(clocks, "decode"):
                weights = [choice.w for each in chosen for choice in each]
                decoded = iter(self._networks.restorer.decode(join(encoded), weights))
        return [
            self._assembled(each, choices, output, list(islice(decoded, len(each.aligned))), options, clock)
            for each, choices, output, clock in zip(backed, chosen, enlarged, clocks, strict=True)
        ]

    def _chosen(self, prepared: Prepared, options: RestoreOptions) -> list[Choice]:
        """W and strength of each face."""
        if options.w != "auto":
            return [Choice(float(options.w), float(options.strength))] * len(prepared.aligned)
        return [
            self._choice_for(said, options) for said in prepared.diagnoses(self._networks.restorer.image_size)
        ]

    def _choice_for(self, said: Diagnosis | None, options: RestoreOptions) -> Choice:
        if said is None:
            return Choice(self._networks.default_w, float(options.strength))
        choice = choose(said, options.likeness, self._networks.restorer.image_size)
        return replace(choice, strength=choice.strength * float(options.strength))

    def _scale(self, prepared: Prepared) -> float:
        """Of the output to the photo; a crop comes out at least as large as the network draws it."""
        if not prepared.whole:
            return prepared.factor
        side = max(prepared.picture.width, prepared.picture.height)
        least = self._networks.restorer.image_size
        return (self.options.size or max(side * prepared.factor, least)) / side

    def _assembled(
        self,
        prepared: Prepared,
        choices: Sequence[Choice],
        output: Picture,
        decoded: Sequence[FloatImage],
        options: RestoreOptions,
        clock: Clock,
    ) -> RestoreResult:
        faces = tuple(
            RestoredFace(a.face, a.crop, true_colours(crop, a.crop, mono), a.matrix, choice, said)
            for a, crop, mono, choice, said in zip(
                prepared.aligned,
                decoded,
                prepared.monochrome,
                choices,
                prepared.diagnoses(self._networks.restorer.image_size),
                strict=True,
            )
        )
        shown = [face for face in faces if face.choice.strength]
        if shown:  # without, the photo itself is what comes out, unchanged
            if output is prepared.picture or output is prepared.background:  # which another w starts from
                output = replace(output, pixels=output.pixels.copy())
            blend = self._fill if prepared.whole else partial(self._paste, factor=prepared.factor)
            output = blend(output, shown, clock)
        output = self._given_out(output)
        return RestoreResult(
            picture=output,
            faces=faces,
            skipped=prepared.skipped,
            notes=(*self._notes(options), *prepared.picture.notes, *prepared.notes),
            seconds=MappingProxyType(clock.seconds),
            model=self.options.model,
            w=options.w,
            factor=prepared.factor,
            chosen=prepared.chosen,
            prepared=prepared,
            untouched=output is prepared.picture,
        )

    def _with_background(self, prepared: Prepared, clock: Clock) -> Prepared:
        """With the photo cleaned, or as a network enlarges it, if it shall be: kept, as that takes long."""
        if self.options.background == "clean" and not prepared.whole and prepared.background is None:
            cleaned = clean(prepared.picture)
            kept = None if cleaned is prepared.picture else cleaned.resized(prepared.factor)
            return replace(prepared, background=kept)
        upscaler = self._networks.upscaler if self.options.draws_background else None
        if upscaler is None or prepared.whole or prepared.factor == 1 or prepared.background is not None:
            return prepared
        on_tile = partial(clock.still, "background")
        background = upscaler.enlarge(prepared.picture, prepared.factor, on_tile=on_tile)
        return replace(prepared, background=background)

    def _paste(self, output: Picture, faces: Sequence[RestoredFace], clock: Clock, *, factor: int) -> Picture:
        """The enlarged photo with the restored faces blended into it, in place."""
        masker = self._networks.masker
        assert masker is not None
        back = invert(resize_matrix(factor, factor))
        keeps_grain = self.options.grain == "keep"
        for face in faces:
            with clock("mask"):
                mask = masker.mask(face.restored)
            with clock("paste"):
                matrix, gray, strength = compose(face.matrix, back), output.gray, face.choice.strength
                grain = grain_under(output.pixels, matrix, mask, gray=gray) if keeps_grain else []
                blend_into_pixels(
                    output.pixels, face.crop, face.restored, matrix, mask, strength=strength, gray=gray
                )
                # Each face begins anew, so that none changes with the choice of others.
                add_grain(output.pixels, matrix, mask, grain, np.random.default_rng(0), gray=gray)
        return output

    def _fill(self, output: Picture, faces: Sequence[RestoredFace], clock: Clock) -> Picture:
        """The restored crop at the size of the output, in place; of a larger one the real detail is kept."""
        (face,) = faces
        side, strength = len(face.restored), face.choice.strength
        with clock("paste"):
            original_side = max(face.face.box.width, face.face.box.height) + 1
            pixels = output.pixels
            if original_side <= side:
                new = resize(face.restored, (output.width, output.height), "lanczos")
                for rows in bands(*pixels.shape[:2]):
                    mixed = strength * new[rows] + (1 - strength) * to_float(pixels[rows])
                    pixels[rows] = output.from_floats(mixed)
                return output
            everywhere = np.ones((side, side), np.float32)
            blend_into_pixels(
                pixels,
                face.crop,
                face.restored,
                resize_matrix(side / output.width, side / output.height),
                everywhere,
                strength=strength,
                gray=output.gray,
                border="replicate",  # its outermost pixel centres lie inside the picture's edge
            )
            return output


def true_colours(restored: FloatImage, crop: FloatImage, monochrome: bool) -> FloatImage:
    """The network's face in the photo's broad colours and light; of a monochrome one in its exact tone."""
    matched = match_broad_colours(restored, crop, BROAD * len(crop))
    return keep_chroma(matched, crop) if monochrome else matched

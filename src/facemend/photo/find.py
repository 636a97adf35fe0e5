"""Find the faces of a photo, choose those to work on, align them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from facemend.errors import InputError, TooLargeError
from facemend.faces.align import align
from facemend.faces.select import select
from facemend.faces.template import template_points
from facemend.faces.warp import resize_matrix, scale_of
from facemend.imaging import (
    AnyPixels,
    Header,
    Picture,
    is_gray,
    is_toned,
    or_raise,
    resize,
    shrink,
    usual_pixels,
)
from facemend.photo.added import add_faces
from facemend.photo.networks import Networks
from facemend.photo.options import UPSCALES, RestoreOptions
from facemend.photo.prepared import NOT_CHOSEN, SkippedFace
from facemend.photo.result import Clock
from facemend.types import AlignedFace, Box, Face, FloatImage

LARGE = 0.7
"""Share of the model's size from which a face is large enough: more pixels would hold no more of it."""
LONGEST = 6000
"""Longest side up to which `upscale=auto` enlarges, pixels: 36 megapixels at most."""


@dataclass(frozen=True, eq=False)
class FoundFaces:
    """What there is to work on.

    Attributes:
        aligned: the chosen faces, from left to right.
        skipped: the others, and why.
        notes: what the user should know.
        chosen: their indices among all that could be worked on, where not all of these were wanted.
        factor: how many times as large the output shall be.
    """

    aligned: tuple[AlignedFace, ...]
    skipped: tuple[SkippedFace, ...] = ()
    notes: tuple[str, ...] = ()
    factor: int = 1
    chosen: tuple[int, ...] | None = None

    def only(self, indices: tuple[int, ...]) -> FoundFaces:
        """The same with some of the faces; the others join those that are left alone.

        Args:
            indices: in `aligned`, in any order.

        Raises:
            InputError: there is no such face.
        """
        count, chosen = len(self.aligned), tuple(sorted(set(indices)))
        if chosen and chosen[-1] >= count:
            left = f"; {len(self.skipped)} more: {self.skipped[0].reason}" if self.skipped else ""
            raise InputError(
                f"there is no face {chosen[-1] + 1}: {count or 'none'} found, from left to right{left}"
            )
        others = (SkippedFace(a.face, NOT_CHOSEN) for i, a in enumerate(self.aligned) if i not in chosen)
        aligned = tuple(self.aligned[index] for index in chosen)
        return replace(self, aligned=aligned, skipped=(*self.skipped, *others), chosen=chosen)


def most_pixels(options: RestoreOptions) -> int:
    """The largest output, width x height: `max_pixels`, or what is usual here."""
    return options.max_pixels or usual_pixels()


def check_size(picture: Picture | Header, options: RestoreOptions) -> None:
    """Refuse a photo whose output would be larger than the options allow; auto keeps to them by itself.

    Raises:
        TooLargeError: it would.
    """
    limit, option, value = most_pixels(options), "upscale", options.least_upscale
    scale = float(value)
    if options.aligned and options.size:
        option, value = "size", options.size
        scale = options.size / max(picture.width, picture.height)
    pixels = picture.width * picture.height * scale**2
    if pixels > limit:
        raise TooLargeError(
            f"{picture.width}x{picture.height} at {option} {value} gives {pixels / 1e6:.0f} megapixels, "
            f"over the limit of {limit / 1e6:.0f}: use a smaller {option}{or_raise(limit)}"
        )


def take_factor(size: tuple[int, int], aligned: Sequence[AlignedFace], options: RestoreOptions) -> int:
    """How many times as large a photo becomes: as asked for; with auto it is decided here.

    auto takes the smallest of 1, 2 and 4 at which the largest of these faces is written at `LARGE` of the
    model's size or more (4 if it never is), but none with which a side is longer than `LONGEST` or the photo
    has more than `max_pixels`. Without a face it takes 1.

    Args:
        size: (width, height) of the photo, pixels.
        aligned: its faces that are to be restored.
        options: what is asked for.
    """
    if options.upscale != "auto":
        return options.upscale
    if not aligned:
        return 1
    # The scale of a matrix is the model's size over the face's: of the largest face it is the least.
    needed = LARGE * min(scale_of(face.matrix) for face in aligned)
    width, height = size
    taken = 1
    for factor in UPSCALES:
        too_large = max(size) * factor > LONGEST or width * height * factor**2 > most_pixels(options)
        if taken >= needed or too_large:
            break
        taken = factor
    return taken


def find_faces(
    image: AnyPixels, networks: Networks, options: RestoreOptions, clock: Clock, *, done: str
) -> FoundFaces:
    """Find, choose and align the faces of a photo, and say how large the photo shall be.

    Args:
        image: the photo, (H, W, 3) uint8 or uint16 RGB, or float32 in [0, 1].
        networks: with a detector.
        options: which faces are wanted.
        clock: times the parts "detect" and "align".
        done: what the note says of faces where none is left.

    Raises:
        InputError: there is no detector, or no face of an index that is asked for.
        ConfigError: a box lies outside the photo.
        BackendError: the detector failed.
    """
    if networks.detector is None:
        raise InputError("this restorer was made for aligned crops only: make one with aligned=False")
    with clock("detect"):
        found = networks.detector.detect(image)
        found, blind = add_faces(image, found, options.boxes, networks.detector)
    candidates, skipped = _candidates(found, options)
    aligned = []
    with clock("align"):
        for face in candidates:
            try:
                aligned.append(align(image, face, networks.restorer.image_size))
            except InputError as error:
                skipped.append(SkippedFace(face, str(error)))
    found_faces = FoundFaces(tuple(aligned), tuple(skipped))
    size = (image.shape[1], image.shape[0])
    if isinstance(options.faces, tuple):
        found_faces = found_faces.only(options.faces)
    elif options.faces != "all":
        wanted = {id(face) for face in select([each.face for each in aligned], options.faces, size=size)}
        found_faces = found_faces.only(tuple(i for i, each in enumerate(aligned) if id(each.face) in wanted))
    factor = take_factor(size, found_faces.aligned, options)
    notes = [] if aligned else [_nothing_done(found, factor, done, clean=options.background == "clean")]
    if blind:
        notes.append(
            f"boxes by hand in which no face was seen: {blind}; taken as upright faces that fill them"
        )
    return replace(found_faces, notes=tuple(notes), factor=factor)


def _candidates(found: Sequence[Face], options: RestoreOptions) -> tuple[list[Face], list[SkippedFace]]:
    """The faces that may be worked on, and the others with the reason."""
    least, most = options.min_face, options.max_faces
    skipped = []
    candidates = []
    surest = sorted(found, key=lambda face: -face.score)[:most]
    for face in found:
        if not any(face is other for other in surest):
            skipped.append(SkippedFace(face, f"not among the {most} surest faces: more with --max-faces"))
            continue
        side = min(face.box.width, face.box.height)
        if side < least:
            skipped.append(SkippedFace(face, f"{side:.0f} px is below the smallest size, {least:g} px"))
        else:
            candidates.append(face)
    return candidates, skipped


def _nothing_done(found: Sequence[Face], factor: int, done: str, *, clean: bool) -> str:
    what = f"no face was {done}" if found else "no face found"
    rest = [word for word, is_so in (("enlarged", factor > 1), ("cleaned", clean)) if is_so]
    return (
        f"{what}: the photo was only {' and '.join(rest)}" if rest else f"{what}: the photo was left as it is"
    )


def whole_crop(image: AnyPixels, networks: Networks, options: RestoreOptions) -> FoundFaces:
    """A picture that is one aligned crop of any size, as the network wants it.

    Args:
        image: (H, W, 3) uint8 or uint16 RGB, or float32 in [0, 1].
        networks: for the size.
        options: for the factor; auto is 1, as the crop is its own size.
    """
    height, width = image.shape[:2]
    side = networks.restorer.image_size
    points = template_points((width, height)).astype(np.float32)
    face = Face(Box(0.0, 0.0, width - 1.0, height - 1.0), points, 1.0)
    crop = resize(shrink(image, (min(side, width), min(side, height))), (side, side), "lanczos")
    notes = () if width == height else ("an aligned crop should be square: it was squeezed for the model",)
    aligned = AlignedFace(crop, resize_matrix(side / width, side / height), face)
    return FoundFaces((aligned,), notes=notes, factor=options.least_upscale)


def is_monochrome(picture: Picture, crop: FloatImage) -> bool:
    """Whether a face has no colours of its own: gray, evenly tinted, or in one tone such as sepia."""
    return picture.gray or is_gray(crop) or is_toned(crop)

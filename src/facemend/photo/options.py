"""The one options object: the same for the library, the command line and a folder run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from facemend.errors import ConfigError
from facemend.runtime.devices import AUTO, ONNX_DEVICES, TORCH_DEVICES

Backend = Literal["onnx", "torch"]
Precision = Literal["fp32", "bf16"]
FaceChoice = Literal["all", "largest", "center"]
Background = Literal["lanczos", "clean", "realesrgan"]
Grain = Literal["none", "keep"]
BoxByHand = tuple[float, float, float, float]
"""x1, y1, x2, y2 of a face in pixels of the upright photo; the first is the corner at the top left."""
UPSCALES = (1, 2, 4)
MAX_BOXES = 20
LIKENESS = 0.6
"""Identity distance to the true face that w auto keeps to: what the recogniser takes for the same person."""
DEFAULT_MODEL = "compact-512"


class RestoreSettings(TypedDict, total=False):
    """Single fields of `RestoreOptions`, so that editors and type checkers know them where they are given."""

    w: float | Literal["auto"]
    likeness: float
    strength: float
    upscale: int | Literal["auto"]
    background: Background
    grain: Grain
    faces: FaceChoice | tuple[int, ...]
    boxes: tuple[BoxByHand, ...]
    aligned: bool
    model: str
    threads: int
    device: str
    backend: Backend
    precision: Precision
    min_face: float
    size: int
    max_faces: int
    max_pixels: int
    strip_metadata: bool
    quality: int


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """How to restore; checked when made.

    Attributes:
        w: fidelity weight in [0, 1]: 0 trusts the model's idea of a good face, 1 stays closest to the photo.
            auto: for each face by what the model says of it (see `photo.auto`), which may also leave it as
            it is; models that say nothing take their default.
        likeness: with w auto: identity distance to the true face that is to be expected at most, as
            `facemend evaluate` measures it; where no w keeps it, the one that comes nearest is taken.
        strength: how much of a restored face is shown, in [0, 1]; the rest is the photo's own face.
        upscale: 1, 2 or 4; output size = input size x upscale. auto: for each photo the smallest of these at
            which its largest restored face is nearly as large as the model draws it (see
            `photo.find.take_factor`); 1 without a face, for aligned crops, films, and all but restoration.
        background: what becomes of the photo outside the faces: lanczos leaves it as it is, and resamples it
            where it is enlarged; clean lessens noise, JPEG blocks and half-tone dots first, as far as they
            are there; realesrgan enlarges it by a network that draws edges anew (some half a minute a
            megapixel on a CPU).
        grain: what restored faces have of the photo's grain: none, or keep, which gives them as much as there
            is around them in the output (so hardly any with a background that lessens it).
        faces: which faces to restore: all, the largest one, the one nearest to the centre; or indices of
            those that `all` takes, from left to right and from 0 on, as `Restorer.redo` has them.
        boxes: further faces of one photo, by hand, where the detector misses them; at most 20. See
            `facemend.photo.added`.
        aligned: the pictures are aligned face crops (any size): restore each as one face, paste nothing.
        model: name of a restoration model that ships with facemend, or the folder of another one.
        threads: CPU threads for the networks; 0 lets the runtime choose.
        device: where the networks run: cpu, cuda, tensorrt, coreml, directml or openvino (backend torch: cpu,
            cuda or mps); auto takes the best that works.
        backend: what runs the restoration network: onnx (onnxruntime), or torch, which the extra brings.
        precision: of the network's arithmetic: fp32; with backend torch also bf16.
        min_face: faces whose box is narrower or lower than this many photo pixels are left as they are; the
            default is an eye distance of about 5 pixels.
        size: longest side of what becomes of an aligned crop, pixels; 0: as the crop (times `upscale`), but
            at least the model's size, as smaller ones would lose what was restored.
        max_faces: at most this many faces of a photo are worked on, the surest.
        max_pixels: a photo that has more pixels than this, or whose output would, is refused; 0: what the
            machine's memory is good for (`facemend.imaging.usual_pixels`).
        strip_metadata: results hold no EXIF, XMP, IPTC and texts, films no tags: nothing of place, time,
            camera and names. Orientation is applied in any case; colour profile and resolution stay.
        quality: 1..100, of results in JPEG, WebP, AVIF and HEIC; 0: as the input, or 95 (AVIF, HEIC: 90).

    Raises:
        ConfigError: a value is out of range.
    """

    w: float | Literal["auto"] = 0.5
    likeness: float = LIKENESS
    strength: float = 1.0
    upscale: int | Literal["auto"] = "auto"
    background: Background = "lanczos"
    grain: Grain = "none"
    faces: FaceChoice | tuple[int, ...] = "all"
    boxes: tuple[BoxByHand, ...] = ()
    aligned: bool = False
    model: str = DEFAULT_MODEL
    threads: int = 0
    device: str = AUTO
    backend: Backend = "onnx"
    precision: Precision = "fp32"
    min_face: float = 12.0
    size: int = 0
    max_faces: int = 500
    max_pixels: int = 0
    strip_metadata: bool = False
    quality: int = 0

    def __post_init__(self) -> None:
        devices = TORCH_DEVICES if self.backend == "torch" else ONNX_DEVICES
        precisions = get_args(Precision) if self.backend == "torch" else ("fp32",)
        for option, ok, wanted in (
            ("w", _is_w(self.w), "a number from 0 to 1, or auto"),
            ("likeness", _is_number(self.likeness) and self.likeness > 0, "above 0"),
            ("strength", _is_number(self.strength) and 0 <= self.strength <= 1, "a number from 0 to 1"),
            ("upscale", _is_upscale(self.upscale), "1, 2, 4 or auto"),
            ("background", self.background in get_args(Background), "lanczos, clean or realesrgan"),
            ("grain", self.grain in get_args(Grain), "none or keep"),
            ("faces", _are_faces(self.faces), "all, largest, center or a tuple of indices"),
            ("faces", not (self.aligned and self.by_index), "all with aligned, which is one face each"),
            (
                "boxes",
                _are_boxes(self.boxes),
                f"at most {MAX_BOXES} of (x1, y1, x2, y2), x1 < x2 and y1 < y2",
            ),
            ("boxes", not (self.aligned and self.boxes), "empty with aligned, which is one face each"),
            ("aligned", isinstance(self.aligned, bool), "True or False"),
            ("model", isinstance(self.model, str) and self.model != "", "the name of a model"),
            ("threads", _is_int(self.threads) and 0 <= self.threads <= 1024, "from 0 (automatic) to 1024"),
            ("backend", self.backend in get_args(Backend), "onnx or torch"),
            ("device", self.device in devices, f"one of {', '.join(devices)} with backend {self.backend}"),
            ("precision", self.precision in precisions, f"{' or '.join(precisions)} with {self.backend}"),
            ("min_face", _is_number(self.min_face) and self.min_face >= 0, "0 or more pixels"),
            ("size", _is_int(self.size) and 0 <= self.size <= 16_384, "from 0 (automatic) to 16384 pixels"),
            ("max_faces", _is_int(self.max_faces) and self.max_faces >= 1, "1 or more"),
            ("strip_metadata", isinstance(self.strip_metadata, bool), "True or False"),
            ("quality", _is_int(self.quality) and 0 <= self.quality <= 100, "from 0 (as the input) to 100"),
            ("max_pixels", _is_int(self.max_pixels) and self.max_pixels >= 0, "0 (automatic) or more"),
        ):
            if not ok:
                raise ConfigError(f"{option} must be {wanted}, got {getattr(self, option)!r}")

    @property
    def choice(self) -> FaceChoice:
        """How faces are chosen before those of single indices are taken."""
        return "all" if isinstance(self.faces, tuple) else self.faces

    @property
    def by_index(self) -> bool:
        """Whether single faces are asked for, which makes sense for one photo only."""
        return isinstance(self.faces, tuple)

    @property
    def draws_background(self) -> bool:
        """Whether a network enlarges photos: it was asked for, and there may be something to enlarge."""
        return self.background == "realesrgan" and self.upscale != 1 and not self.aligned

    @property
    def least_upscale(self) -> int:
        """`upscale` where no face decides: what auto is at least."""
        return 1 if self.upscale == "auto" else self.upscale

    @property
    def checkpoint(self) -> Path | None:
        """The file of weights, where `model` is one that backend torch reads itself."""
        path = Path(self.model)
        return path if self.backend == "torch" and path.suffix == ".safetensors" and path.is_file() else None


def read_w(text: str) -> float | str:
    """`w` of a command or a form; what is no number stays text, of which only auto is taken."""
    try:
        return float(text)
    except ValueError:
        return text


def read_upscale(text: str) -> int | str:
    """`upscale` of a command or a form; what is none of its values stays text, and is then refused."""
    return next((factor for factor in UPSCALES if text == str(factor)), text)


def make_options(options: RestoreOptions | None, settings: Mapping[str, Any]) -> RestoreOptions:
    """The given options (or the defaults) with single settings changed.

    Raises:
        ConfigError: an unknown name, or a value out of range.
    """
    if not isinstance(options, RestoreOptions | None):
        raise ConfigError(f"options are RestoreOptions, got {options!r}; give single ones by name, as w=0.5")
    known = [field.name for field in fields(RestoreOptions)]
    for name in settings:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
            raise ConfigError(f"unknown option {name!r}; {hint}")
    return replace(options or RestoreOptions(), **settings)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _are_faces(value: object) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(_is_int(index) and index >= 0 for index in value)
    return value in get_args(FaceChoice)


def _are_boxes(value: object) -> bool:
    def is_box(box: object) -> bool:
        if not (isinstance(box, tuple) and len(box) == 4 and all(map(_is_number, box))):
            return False
        return all(map(isfinite, box)) and box[0] < box[2] and box[1] < box[3]

    return isinstance(value, tuple) and len(value) <= MAX_BOXES and all(map(is_box, value))


def _is_w(value: object) -> bool:
    return value == "auto" or (_is_number(value) and 0 <= value <= 1)  # type: ignore[operator]


def _is_upscale(value: object) -> bool:
    return value == "auto" or (_is_int(value) and value in UPSCALES)


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)

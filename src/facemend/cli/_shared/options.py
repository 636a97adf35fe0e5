"""Options that several commands share: each a field of a dataclass, which `takes` adds to a command."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from os.path import isdir  # as that of pathlib, but does not raise
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from facemend.errors import ConfigError
from facemend.photo.options import FaceChoice, RestoreOptions, read_w

DEFAULTS = RestoreOptions()
MORE, SPEED, FILMS = "More", "Speed", "Films"
_NUMBERS = re.compile(r"\d{1,9}( *, *\d{1,9})*")

PIPE = Path("-")
"""Stdin as an input, stdout as an output."""

Photos = Annotated[
    list[Path],
    typer.Argument(
        metavar="PHOTO...",
        help="Photos, or folders of photos; - is one from stdin.",
        readable=False,  # one that cannot be read is an error of its own, and the others are done
    ),
]
AUTO_W = "auto: for each face by how damaged it is, and sharp faces are left as they are"
Likeness = Annotated[
    float,
    typer.Option(
        min=0.01,
        help="With -w auto: how far from the person a face may be expected to come out, as a distance of "
        "`facemend evaluate` (below 0.6 it is the same person).",
        rich_help_panel=MORE,
    ),
]
Strength = Annotated[
    float,
    typer.Option(min=0, max=1, help="How much of the restored face: 0 = the photo's own, 1 = all of it."),
]
Background = Annotated[
    str,
    typer.Option(
        help="The rest of the photo: lanczos (as it is), clean (less noise, JPEG blocks, half-tone "
        "dots), or realesrgan (drawn sharper where it is enlarged, slow)."
    ),
]
Grain = Annotated[
    str, typer.Option(help="Of the photo in restored faces: none, or keep, as much as is around them.")
]


def _more(help: str, **rest: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=MORE, **rest)


def _speed(help: str, **rest: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=SPEED, **rest)


def _film(help: str) -> Any:
    return typer.Option(help=help, rich_help_panel=FILMS)


@dataclass(frozen=True, kw_only=True)
class SharedOptions:
    """What photos and films have in common."""

    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="File or folder to write, - for stdout; by default a new name beside each."
        ),
    ] = None
    faces: Annotated[
        str,
        typer.Option(
            help="Faces to work on: all, largest, center; of one photo also numbers such as 2,5: "
            "1 is the leftmost, as --report and --crops count them."
        ),
    ] = "all"
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing outputs (never an input).")
    ] = False
    strip_metadata: Annotated[
        bool,
        typer.Option(
            "--strip-metadata",
            help="Write no EXIF, XMP, IPTC, texts, and tags of films: nothing of place, time, camera, names.",
            rich_help_panel=MORE,
        ),
    ] = DEFAULTS.strip_metadata
    min_face: Annotated[float, _more("Leave smaller faces as they are, pixels.", min=0)] = DEFAULTS.min_face
    model: Annotated[
        str | None,
        _more(
            "Model to use: a name of `facemend models`, a model folder, or a weight file. "
            f"Default: {DEFAULTS.model}, or the one for the task."
        ),
    ] = None
    threads: Annotated[int, _speed("CPU threads for one photo; 0 = automatic.", min=0)] = DEFAULTS.threads
    device: Annotated[str, _speed("auto, cpu, or another that `facemend doctor` lists.")] = DEFAULTS.device
    backend: Annotated[str, _speed("What runs the network: onnx or torch.")] = DEFAULTS.backend
    precision: Annotated[str, _speed("fp32; with --backend torch also bf16.")] = DEFAULTS.precision

    @property
    def indices(self) -> tuple[int, ...]:
        """Those of the faces that were asked for by number; none where they were not.

        Raises:
            BadParameter: a number is 0, or it is neither numbers nor a word for a choice.
        """
        if self.faces in get_args(FaceChoice):
            return ()
        if not _NUMBERS.fullmatch(self.faces):
            words = ", ".join(get_args(FaceChoice))
            raise typer.BadParameter(f"--faces {self.faces}: use {words}, or numbers such as 2,5")
        numbers = [int(number) for number in self.faces.split(",")]
        if 0 in numbers:
            raise typer.BadParameter("--faces counts from 1, the leftmost")
        return tuple(number - 1 for number in numbers)

    def settings(self, **more: Any) -> dict[str, Any]:
        """The fields of `RestoreOptions` among these and `more`; those that were not given are left out."""
        given = {field.name: getattr(self, field.name, None) for field in fields(RestoreOptions)} | more
        given["faces"] = self.indices or self.faces
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(SharedOptions):
    """What `restore`, `colorize` and `inpaint` have in common."""

    aligned: Annotated[
        bool, typer.Option("--aligned", help="The inputs are aligned face crops, of any size.")
    ] = DEFAULTS.aligned
    size: Annotated[
        int,
        _more("Longest side of what becomes of an aligned crop; 0: the crop's, at least the model's.", min=0),
    ] = DEFAULTS.size
    max_faces: Annotated[
        int, _more("Most faces of a photo to work on, the surest; the others are told of.", min=1)
    ] = DEFAULTS.max_faces
    compare: Annotated[
        bool, typer.Option("--compare", help="Write a before/after picture too (NAME_compare.jpg).")
    ] = False
    crops: Annotated[
        Path | None, _more("Folder for the aligned faces, before and after (as the network draws them).")
    ] = None
    report: Annotated[
        Path | None,
        _more(
            "Write what happened to each file: .json, or .jsonl line by line. "
            "Folders have OUTPUT/facemend.jsonl anyway."
        ),
    ] = None
    ext: Annotated[
        str | None,
        _more("Kind of file to write where -o names none, such as png; default: the input's.", metavar="EXT"),
    ] = None
    suffix: Annotated[
        str | None,
        _more("Is added to the names of outputs; default: _restored beside the inputs, none in -o FOLDER."),
    ] = None
    quality: Annotated[
        int, _more("Of JPEG, WebP, AVIF and HEIC, 1 to 100; 0: as the input, or 95 (90).", min=0, max=100)
    ] = DEFAULTS.quality
    jobs: Annotated[int, _speed("Photos (with --engine ray: workers) at a time; 0 = automatic.", min=0)] = 0

    def settings(self, **more: Any) -> dict[str, Any]:
        """See `SharedOptions`; `--size` of a whole photo is refused."""
        if self.size and not self.aligned:
            raise typer.BadParameter(f"--size {self.size}: is of --aligned crops; photos have --upscale")
        return super().settings(**more)

    @property
    def naming(self) -> dict[str, Any]:
        """`--ext` and `--suffix` as `folder.plan.plan_batch` takes them.

        Raises:
            BadParameter: they make no name, or -o names the file.
        """
        from facemend.imaging import WRITABLE

        extension = f".{self.ext.lower().removeprefix('.')}" if self.ext else None
        if extension and extension not in WRITABLE:
            raise typer.BadParameter(f"--ext {self.ext}: use one of {' '.join(WRITABLE)}")
        if self.suffix and Path(f"a{self.suffix}").name != f"a{self.suffix}":
            raise typer.BadParameter(f"--suffix {self.suffix}: is a part of a name, without folders")
        to_file = self.output is not None and not isdir(self.output) and self.output.suffix
        if to_file and (extension or self.suffix):
            raise typer.BadParameter(f"-o {self.output}: names the file, so leave out --ext and --suffix")
        return {"extension": extension, "ending": self.suffix or ""}


@dataclass(frozen=True, kw_only=True)
class FilmOptions(SharedOptions):
    """What only films have; None: not given."""

    start: Annotated[str | None, _film("Begin there: seconds, or [HH:]MM:SS.")] = None
    end: Annotated[str | None, _film("End there, the same.")] = None
    codec: Annotated[str | None, _film("h264 (default), h265, av1, or vp9 (default in .webm).")] = None
    crf: Annotated[int | None, _film("Quality of the codec: smaller is better; h264: 18.")] = None
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="The network restores every fourth frame; those between take it over.",
            rich_help_panel=FILMS,
        ),
    ] = False


def examples(*lines: str) -> str:
    """What stands below the help of a command."""
    return "\n\n".join(("Examples:", *lines))


def takes(kind: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command each field of a dataclass as an option besides its own; it gets them all as `given`.

    typer reads the options of a command off its signature, so that is what is changed.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = dict(inspect.signature(command, eval_str=True).parameters)
        del own["given"]
        shared = inspect.signature(kind, eval_str=True).parameters

        @wraps(command)
        def called(**values: Any) -> None:
            command(given=kind(**{name: values.pop(name) for name in shared}), **values)

        options = [each.replace(kind=each.KEYWORD_ONLY) for each in (*own.values(), *shared.values())]
        called.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        return called

    return decorate


def checked(make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What `make` gives; a wrong option is a wrong use of the command."""
    try:
        return make(*arguments, **options)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def fidelity(w: str | None, likeness: float, strength: float) -> dict[str, Any]:
    """What says how much of a face is redrawn, as fields of `RestoreOptions`.

    Raises:
        typer.BadParameter: a likeness was asked for where it changes nothing.
    """
    if likeness != DEFAULTS.likeness and w != "auto":
        raise typer.BadParameter("--likeness goes with -w auto: another w is taken as it is given")
    return {"w": w and read_w(w), "likeness": likeness, "strength": strength}

"""The networks of a task, loaded as the options say. Light to import, so that a command can begin with it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from facemend.errors import ConfigError, require_extra
from facemend.photo.auto import UNKNOWN
from facemend.photo.options import RestoreOptions, make_options
from facemend.predictors.restorer import FaceRestorer
from facemend.runtime.cores import usable_cores
from facemend.runtime.devices import AUTO, CPU
from facemend.weights.models import COMMANDS, DEFAULT_W, ModelInfo, find_model, sole_model, uses_adain

if TYPE_CHECKING:
    from facemend.predictors.detector import FaceDetector
    from facemend.predictors.masker import FaceMasker
    from facemend.predictors.upscaler import BackgroundUpscaler

MAX_JOBS = 4
"""Most photos at a time unless asked for more: each in flight needs memory."""
SMALL_BYTES = 64_000_000
"""Files of networks that may run several times at once unasked; memory goes with them."""


@dataclass(frozen=True)
class Networks:
    """The loaded networks.

    Attributes:
        restorer: what the task is about.
        detector: None where only aligned crops are worked on.
        masker: the same.
        upscaler: None where Lanczos enlarges the photo.
        model: what the restorer was loaded from; None: from a checkpoint file.
    """

    restorer: FaceRestorer
    detector: FaceDetector | None = None
    masker: FaceMasker | None = None
    upscaler: BackgroundUpscaler | None = None
    model: ModelInfo | None = None

    @property
    def default_w(self) -> float:
        """The model's fidelity weight where none is asked for and it says nothing of the face."""
        return self.model.default_w if self.model else DEFAULT_W["restoration"]

    def unknown(self, options: RestoreOptions) -> tuple[str, ...]:
        """A note if w is auto and the model says nothing that it could go by."""
        blind = options.w == "auto" and not self.restorer.diagnoses
        return (UNKNOWN.format(self.default_w),) if blind else ()

    @classmethod
    def load(
        cls, options: RestoreOptions, task: str = "restoration", model: ModelInfo | None = None
    ) -> Networks:
        """Load what the options ask for.

        Args:
            options: how to work.
            task: what the model must be for.
            model: the one that the options name, if it was looked up already.

        Raises:
            ModelNotFoundError: there is no such model, or the background's weights were not fetched.
            WeightsError: a file is missing or damaged.
            BackendError: the device is not there, or a graph cannot be run.
            MissingExtraError: backend torch, and it is not installed.
        """
        model = model or find_named(options, task)
        if options.aligned:
            return cls(load_network(options, task, model), model=model)
        with ThreadPoolExecutor(1) as pool:
            masker = pool.submit(_open_masker)  # meanwhile
            restorer = load_network(options, task, model)
            # Where the network found nothing better than the CPU, the detector need not look again.
            device = CPU if restorer.device == CPU else AUTO
            detector, upscaler = _open_others(options, device)
            return cls(restorer, detector, masker.result(), upscaler, model)


# Here, so that a command can open a network while it imports these.
def _open_masker() -> FaceMasker:
    from facemend.predictors.masker import FaceMasker

    return FaceMasker()


def _open_others(options: RestoreOptions, device: str) -> tuple[FaceDetector, BackgroundUpscaler | None]:
    from facemend.predictors.detector import FaceDetector

    threads = options.threads or None
    if not options.draws_background:
        return FaceDetector(threads=threads, device=device), None
    from facemend.predictors.upscaler import BackgroundUpscaler

    upscaler = BackgroundUpscaler.open(device=device, threads=threads)
    return FaceDetector(threads=threads, device=device), upscaler


def find_named(options: RestoreOptions, task: str = "restoration") -> ModelInfo | None:
    """The model that the options name, its files unchecked; None: a checkpoint file for backend torch.

    Raises:
        ModelNotFoundError: there is no such model, or it is for another task.
        WeightsError: its description is wrong.
    """
    return None if options.checkpoint else find_model(options.model, task, check_files=False)


def load_network(
    options: RestoreOptions, task: str = "restoration", model: ModelInfo | None = None
) -> FaceRestorer:
    """The restoration network alone, its files checked; arguments and errors as of `Networks.load`."""
    model = model or find_named(options, task)
    if model is not None and options.backend == "onnx":
        return FaceRestorer.open(model, device=options.device, threads=options.threads or None, check=True)
    if model is not None:
        model.verify()
    return _torch_network(options, task, model)


def _torch_network(options: RestoreOptions, task: str, model: ModelInfo | None) -> FaceRestorer:
    """Of a checkpoint file of ours, or of any model's weights."""
    require_extra("backend torch", "export")
    # Here, so that torch is imported only where a user asks for it.
    from facemend.convert.recover import model_checkpoint
    from facemend.runtime.torch_runner import open_network

    path = model_checkpoint(model) if model else options.checkpoint
    assert path is not None
    adain = bool(model.details.get("adain", True)) if model else uses_adain(task)
    opened, size = open_network(
        path, options.device, adain=adain, precision=options.precision, threads=options.threads or None
    )
    encode, decode = opened.runners
    return FaceRestorer(encode, decode, size, device=opened.device, notes=opened.notes)


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
    if options.w == "auto":
        raise ConfigError(f"w must be a number with {command}: auto goes with restore")
    if task == "colorization" and options.w != 0:
        raise ConfigError(f"w must be 0 with {command}, got {options.w:g}: its networks know no other")
    if options.least_upscale != 1:
        raise ConfigError(f"upscale must be 1 with {command}, got {options.upscale}: restore enlarges")
    if options.strength != 1:
        raise ConfigError(
            f"strength must be 1 with {command}, got {options.strength:g}: it goes with restore"
        )
    if options.background != "lanczos" or options.grain != "none":
        raise ConfigError(f"background and grain go with restore, not with {command}")
    return replace(options, upscale=1)


def share_cores(
    options: RestoreOptions, model: ModelInfo | None, photos: int, jobs: int = 0
) -> tuple[RestoreOptions, int]:
    """How many photos to work on at a time, and the options with the threads that leaves for each.

    Whole photos side by side use the cores better than one photo with many threads: reading, pasting and
    writing hardly gain from threads.

    Args:
        options: `threads` of 0 is set; other values stay.
        model: the one that they name; None: a checkpoint file.
        photos: how many there are.
        jobs: as asked for; 0: automatic, which is one a core and at most `MAX_JOBS`, and one at a time with
            networks whose files are larger than `SMALL_BYTES`, whose memory counts.
    """
    cores = usable_cores()
    if jobs == 0:
        jobs = max(1, min(photos, cores, MAX_JOBS))
        if model is not None and options.backend == "onnx" and _bytes(model) > SMALL_BYTES:
            jobs = 1
    if options.threads or options.backend == "torch":  # torch has one pool of threads, and runs take turns
        return options, jobs
    return replace(options, threads=max(1, cores // jobs)), jobs


def _bytes(model: ModelInfo) -> int:
    """Of the files of its graphs."""
    return sum(path.stat().st_size for path in {model.encode, model.decode} if path.is_file())

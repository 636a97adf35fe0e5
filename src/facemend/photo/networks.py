"""The networks of a task, loaded as the options say."""

from __future__ import annotations

from dataclasses import dataclass

from facemend.errors import require_extra
from facemend.photo.options import RestoreOptions
from facemend.predictors.detector import FaceDetector
from facemend.predictors.masker import FaceMasker
from facemend.predictors.restorer import FaceRestorer
from facemend.predictors.upscaler import BackgroundUpscaler
from facemend.runtime.devices import AUTO, CPU
from facemend.weights.models import ModelInfo, find_model, uses_adain


@dataclass(frozen=True)
class Networks:
    """The loaded networks.

    Attributes:
        restorer: what the task is about.
        template: name of the alignment template that it wants.
        detector: None where only aligned crops are worked on.
        masker: the same.
        upscaler: None where Lanczos enlarges the photo.
        model: what the restorer was loaded from; None: from a checkpoint file.
    """

    restorer: FaceRestorer
    template: str = "ffhq"
    detector: FaceDetector | None = None
    masker: FaceMasker | None = None
    upscaler: BackgroundUpscaler | None = None
    model: ModelInfo | None = None

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
        restorer = load_network(options, task, model)
        template = model.template if model else "ffhq"
        if options.aligned:
            return cls(restorer, template, model=model)
        # Where the network found nothing better than the CPU, the detector need not look again.
        device = CPU if restorer.device == CPU else AUTO
        threads = options.threads or None
        upscaler = (
            BackgroundUpscaler.open(device=device, threads=threads) if options.draws_background else None
        )
        detector = FaceDetector(threads=threads, device=device)
        return cls(restorer, template, detector, FaceMasker(), upscaler, model)


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
    if model is not None:
        model.verify()
    if model is not None and options.backend == "onnx":
        return FaceRestorer.open(model, device=options.device, threads=options.threads or None)
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

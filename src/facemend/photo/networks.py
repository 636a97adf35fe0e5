"""The networks of a pipeline, loaded as the options say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facemend.errors import require_extra
from facemend.photo.options import RestoreOptions
from facemend.predictors.detector import FaceDetector
from facemend.predictors.masker import FaceMasker
from facemend.predictors.restorer import FaceRestorer
from facemend.predictors.upscaler import BackgroundUpscaler
from facemend.runtime.devices import AUTO, CPU
from facemend.weights.models import find_model, uses_adain


@dataclass(frozen=True)
class Parts:
    """The loaded networks; `detector` and `masker` are None where only aligned crops are restored.

    `upscaler` is None where Lanczos enlarges the photo.
    """

    network: FaceRestorer
    template: str = "ffhq"
    detector: FaceDetector | None = None
    masker: FaceMasker | None = None
    upscaler: BackgroundUpscaler | None = None

    @classmethod
    def load(cls, options: RestoreOptions, task: str = "restoration") -> Parts:
        """Load what the options ask for.

        Args:
            options: how to work.
            task: what the model must be for.

        Raises:
            ModelNotFoundError: there is no such model, or the background's weights were not fetched.
            WeightsError: a file is missing or damaged.
            BackendError: the device is not there, or a graph cannot be run.
            MissingExtraError: backend torch, and it is not installed.
        """
        network, template = load_network(options, task)
        if options.aligned:
            return cls(network, template)
        # Where the network found nothing better than the CPU, the detector need not look again.
        device = CPU if network.device == CPU else AUTO
        threads = options.threads or None
        upscaler = (
            BackgroundUpscaler.open(device=device, threads=threads) if options.draws_background else None
        )
        return cls(network, template, FaceDetector(threads=threads, device=device), FaceMasker(), upscaler)


def load_network(options: RestoreOptions, task: str = "restoration") -> tuple[FaceRestorer, str]:
    """The restoration network alone, and its alignment template; raises as `Parts.load`."""
    if options.backend == "onnx":
        info = find_model(options.model, task)
        return FaceRestorer.open(info, device=options.device, threads=options.threads or None), info.template
    return _torch_network(options, task)


def _torch_network(options: RestoreOptions, task: str) -> tuple[FaceRestorer, str]:
    """Of a checkpoint file of ours, or of any model's weights."""
    require_extra("backend torch", "export")
    # Here, so that torch is imported only where a user asks for it.
    from facemend.convert.recover import model_checkpoint
    from facemend.runtime.torch_runner import open_network

    path, adain, template = Path(options.model), uses_adain(task), "ffhq"
    if path.suffix != ".safetensors" or not path.is_file():
        info = find_model(options.model, task)
        path, adain, template = model_checkpoint(info), bool(info.details.get("adain", True)), info.template
    opened, size = open_network(
        path, options.device, adain=adain, precision=options.precision, threads=options.threads or None
    )
    encode, decode = opened.runners
    return FaceRestorer(encode, decode, size, device=opened.device, notes=opened.notes), template

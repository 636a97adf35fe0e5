"""Weights of others, and checkpoints of ours, into the user's cache: safetensors, graphs and model.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from facemend.convert.export import ExportOptions, export_model
from facemend.convert.infer_sizes import infer_config
from facemend.convert.published_layout import from_official, read_official
from facemend.convert.quiet import quiet
from facemend.errors import ConfigError, WeightsError, one_line
from facemend.files import file_sha256
from facemend.networks.codeformer.checkpoint import Checkpoint, check_fit, load_checkpoint, save_checkpoint
from facemend.networks.codeformer.config import CodeFormerConfig
from facemend.weights.models import (
    DEFAULT_W,
    DESCRIPTION_FILE,
    TASKS,
    WEIGHTS_FILE,
    ModelInfo,
    models_dir,
    read_model,
    uses_adain,
)
from facemend.weights.store import model_name, new_model, source_of
from facemend.weights.weight_files import weight_kind

_LACKS = {
    "stage1": "the transformer and the fusion of stages II and III",
    "stage2": "the fusion of stage III",
}
_INPAINTING_CODES = 512
"""Size of the codebook of the published inpainting network; all others have more."""


@dataclass(frozen=True)
class ImportOptions:
    """How to import.

    Attributes:
        name: of the model; None: after the file.
        task: restoration, colorization or inpainting; None: read from the file where it tells.
        precision: how the graphs store weights, "fp32" or "fp16".
        licence: of the weights; None: what the file says, or "not stated".
        description: one line; empty: says which file it was.
        usual_task: the task where none is given and the file does not tell; None: ask for it.
    """

    name: str | None = None
    task: str | None = None
    precision: str = "fp32"
    licence: str | None = None
    description: str = ""
    usual_task: str | None = None


def import_weights(file: Path, options: ImportOptions) -> ModelInfo:
    """Import a torch or safetensors file: the published layout, or a stage III checkpoint of ours.

    Nothing in the file is run, and nothing is left in the cache unless all went well.

    Args:
        file: the weight file; it is only read.
        options: how.

    Returns:
        The model in the user's cache.

    Raises:
        WeightsError: the file is damaged, not acceptable, or no network that restores.
        ConfigError: the task must be told.
        OutputError: the name is taken, or the cache cannot be written.
    """
    loaded = _checkpoint(file) if _is_ours(file) else _published(file)
    digest = file_sha256(file)
    task = options.task or _task(loaded, file, options.usual_task)
    name = model_name(options.name, file, digest)
    source = source_of(file, digest)
    licence = options.licence or loaded.said("licence") or "not stated"
    # With what holds for the weights, wherever they go from here.
    record = {**loaded.info, "stage": "stage3", "source": source, "task": task, "licence": licence}
    with new_model(name) as folder:
        weights = folder.parent / WEIGHTS_FILE
        save_checkpoint(weights, loaded.state, loaded.config, record)
        del loaded  # the exporter reads them again, and needs the memory
        export = ExportOptions(
            name=name,
            precision=options.precision,
            adain=uses_adain(task),
            description=options.description or f"imported from {source['file']}",
            licence=licence,
            task=task,
            default_w=DEFAULT_W[task],
            more={"source": source, "weights": {"file": WEIGHTS_FILE, "sha256": file_sha256(weights)}},
        )
        folder.rmdir()  # the exporter makes it, and says so if that fails
        try:
            with quiet():
                export_model(weights, folder, export)
        except WeightsError as error:
            raise WeightsError(str(error).replace(str(weights), str(file))) from error
        weights.rename(folder / WEIGHTS_FILE)
        (folder / WEIGHTS_FILE).chmod((folder / DESCRIPTION_FILE).stat().st_mode)
        read_model(folder)
    return read_model(models_dir() / name)


def _is_ours(file: Path) -> bool:
    """Whether it is a safetensors file whose header has our sizes."""
    kind = weight_kind(file)
    if kind == "onnx":
        raise WeightsError(f"{file}: an ONNX file, not weights to build graphs from")
    if kind == "torch":
        return False
    try:
        with safe_open(file, framework="pt") as opened:
            return "config" in (opened.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{file}: not a whole safetensors file ({one_line(error, 100)}); fetch it again"
        ) from None


def _checkpoint(file: Path) -> Checkpoint:
    loaded = load_checkpoint(file)
    stage = loaded.info.get("stage")
    if stage in _LACKS:
        raise WeightsError(
            f"{file}: a checkpoint of {stage}: to restore it lacks {_LACKS[stage]}; import one of stage3"
        )
    check_fit(loaded, file)
    return Checkpoint(
        loaded.config, {k: v.float() for k, v in loaded.state.items()}, loaded.info, loaded.sha256
    )


def _published(file: Path) -> Checkpoint:
    state = read_official(file)
    config = infer_config({name: tuple(value.shape) for name, value in state.items()}, file)
    try:
        return Checkpoint(config, from_official(state, config, source=file))
    except ConfigError as error:
        raise WeightsError(f"{file}: {error}") from error


def _task(loaded: Checkpoint, file: Path, usual: str | None) -> str:
    """What the network is for, as far as the file tells."""
    stated = loaded.info.get("task")
    if stated in TASKS:
        return str(stated)
    if loaded.info or _fused_like_restoration(loaded.config):
        return "restoration"
    if loaded.config.autoencoder.codebook_size == _INPAINTING_CODES or "inpaint" in file.name.lower():
        return "inpainting"
    if "color" in file.name.lower() or "colour" in file.name.lower():
        return "colorization"
    if usual in ("colorization", "inpainting"):
        return str(usual)
    sizes = ", ".join(str(size) for size in loaded.config.fuse_sizes)
    raise ConfigError(
        f"{file}: is fused at {sizes} only, as the colourisation and the inpainting network are; "
        "say which it is with --task"
    )


def _fused_like_restoration(config: CodeFormerConfig) -> bool:
    """The published one is fused up to half the picture's side, its variants up to a quarter."""
    return 2 * max(config.fuse_sizes) >= config.autoencoder.image_size

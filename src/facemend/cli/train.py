"""`facemend train`: the three stages."""

from __future__ import annotations

import os
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facemend.cli._shared.console import plural, progress, say, shown, warn
from facemend.errors import ConfigError, ExistsError, InputError
from facemend.files import faces_in

if TYPE_CHECKING:
    from facemend.networks.codeformer.checkpoint import Checkpoint
    from facemend.training.run import StepReport

app = typer.Typer(no_args_is_help=True, help="Train the network; report on a run.")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="TOML file of settings; see configs/.")]
FacesOption = Annotated[
    Path | None,
    typer.Option(
        "--faces",
        help="Folder of aligned faces, or of `facemend data prepare` [those that the config names].",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting: KEY=VALUE, e.g. optim.lr=1e-4. Repeatable."),
]


@app.command()
def stage1(config: ConfigOption, faces: FacesOption = None, change: SetOption = None) -> None:
    """Learn the codebook and decoder from HQ faces."""
    _train("stage1", config, change or [], faces)


@app.command()
def stage2(config: ConfigOption, faces: FacesOption = None, change: SetOption = None) -> None:
    """Learn to predict the codes of degraded faces."""
    _train("stage2", config, change or [], faces)


@app.command()
def stage3(config: ConfigOption, faces: FacesOption = None, change: SetOption = None) -> None:
    """Learn controllable feature transformation."""
    _train("stage3", config, change or [], faces)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run, finished or not.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Page [RUN/report.html].")] = None,
    title: Annotated[str | None, typer.Option(help="Heading [the folder's name].")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing page at -o.")] = False,
) -> None:
    """Show a run as one HTML page: warnings, curves, pictures, settings."""
    from facemend.training.report import write_report

    say(str(write_report(run, output, title, overwrite=overwrite)))


@app.command()
def reconstruct(
    checkpoint: Annotated[Path, typer.Argument(help="model.safetensors of a stage I run.")],
    faces: Annotated[Path, typer.Argument(help="Folder of aligned faces, or one.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Pass faces through a stage I network, to see and score what its codes can hold.

    Score it with `facemend evaluate FACES -o REPORT --restored OUTPUT`.
    """
    _require_extra()
    from facemend.folder.plan import plan_batch
    from facemend.imaging import Outputs
    from facemend.training.reconstruct import load_autoencoder
    from facemend.training.reconstruct import reconstruct as run

    net = load_autoencoder(checkpoint)
    batch = plan_batch([faces_in(faces)], output, extension=".png")
    if not batch.jobs:
        warn("facemend: no pictures found")
        raise typer.Exit(1)
    with progress("reconstructing", len(batch.jobs)) as advance:
        usage = run(net, batch.jobs, Outputs(batch.inputs, overwrite=overwrite), advance)
    codes = f"{usage.used:.1%} of {net.config.codebook_size} codes used, perplexity {usage.perplexity:.0f}"
    say(f"{plural(len(batch.jobs), 'face')}, {codes} -> {shown(output)}")


@app.command()
def grow(
    model: Annotated[
        str, typer.Option("--from", help="Model by name, its folder, or a checkpoint (.safetensors).")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Checkpoint to write (.safetensors).")],
    network: Annotated[str, typer.Option(help="Sizes to grow to.")] = "compact-512",
    noise: Annotated[
        float, typer.Option(min=0, max=1, help="Tells copies apart; 0 = the same picture exactly.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Enlarge a network so that training goes on from it: same picture, larger.

    Name the file as `init` of a stage I and a stage II config. The network's own sizes are allowed too: that
    takes the weights of a shipped model back.
    """
    _require_extra()
    from facemend.networks.codeformer.checkpoint import save_checkpoint
    from facemend.networks.codeformer.config import preset
    from facemend.networks.codeformer.grow import grow as enlarge

    large = preset(network)
    if output.exists() and not overwrite:
        raise ExistsError(output)
    source = _weights(model)
    state = enlarge(source.state, source.config, large, noise, seed)
    info = {"stage": source.info.get("stage", "stage3"), "grown_from": Path(model).name}
    save_checkpoint(output, state, large, {**source.kept, **info, "noise": noise, "seed": seed})
    say(shown(output))


def _weights(model: str) -> Checkpoint:
    """Weights of a checkpoint file, or of the graphs of a model."""
    path = Path(model)
    if path.suffix == ".safetensors":
        from facemend.networks.codeformer.checkpoint import load_checkpoint

        return load_checkpoint(path)
    from facemend.convert.recover import recover_checkpoint
    from facemend.weights.models import find_model

    return recover_checkpoint(find_model(model).folder)


def _require_extra() -> None:
    from facemend.errors import require_extra

    require_extra("training", "train")


def _train(stage: str, path: Path, changes: list[str], faces: Path | None) -> None:
    _require_extra()
    from facemend.data.faces import pictures_in
    from facemend.folder.records import sole_run
    from facemend.training import train
    from facemend.training.config import load_config

    config = load_config(path, changes, faces)
    if config.stage != stage:
        raise ConfigError(f'{path}: has stage = "{config.stage}"; run `facemend train {config.stage}`')
    for folder in config.data.folders:
        try:
            pictures_in(folder.path)
        except InputError as error:
            raise InputError(f"{error}; --faces DIR names a folder of aligned ones") from None
    warn(f"{stage}: previews, log and state go to {config.out} (the same command resumes a stopped run)")
    # One at a time; of several processes the first looks.
    alone = nullcontext() if int(os.environ.get("RANK", "0")) else sole_run(config.out)
    try:
        with alone:
            checkpoint = train(config, _show)
    except KeyboardInterrupt:
        warn(f"stopped; the same command goes on from the last saved state in {config.out}")
        raise typer.Exit(130) from None
    say(str(checkpoint))


def _show(report: StepReport) -> None:
    left = timedelta(seconds=round(report.seconds_left))
    figures = "  ".join(f"{name} {value:.4g}" for name, value in report.values.items())
    warn(f"{report.step}/{report.steps}  {report.images_per_second:.1f} images/s  {left} left  {figures}")

"""`facemend train`: the three stages."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facemend.cli.console import plural, progress, say, shown, warn

if TYPE_CHECKING:
    from facemend.training.run import StepReport

app = typer.Typer(no_args_is_help=True, help="Train the network; report on a run.")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="TOML file of settings; see configs/.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting: KEY=VALUE, e.g. optim.lr=1e-4. Repeatable."),
]


@app.command()
def stage1(config: ConfigOption, change: SetOption = None) -> None:
    """Learn the codebook and decoder from HQ faces."""
    _train("stage1", config, change or [])


@app.command()
def stage2(config: ConfigOption, change: SetOption = None) -> None:
    """Learn to predict the codes of degraded faces."""
    _train("stage2", config, change or [])


@app.command()
def stage3(config: ConfigOption, change: SetOption = None) -> None:
    """Learn controllable feature transformation."""
    _train("stage3", config, change or [])


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run, finished or not.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Page [RUN/report.html].")] = None,
    title: Annotated[str | None, typer.Option(help="Heading [the folder's name].")] = None,
) -> None:
    """Show a run as one HTML page: warnings, curves, pictures, settings."""
    from facemend.training.report import write_report

    say(str(write_report(run, output, title)))


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
    from facemend.pipeline.batch import Outputs, plan_batch
    from facemend.training.reconstruct import load_autoencoder
    from facemend.training.reconstruct import reconstruct as run

    net = load_autoencoder(checkpoint)
    batch = plan_batch([faces], output, extension=".png")
    if not batch.jobs:
        warn("facemend: no pictures found")
        raise typer.Exit(1)
    with progress("reconstructing", len(batch.jobs)) as advance:
        usage = run(net, batch.jobs, Outputs(batch.inputs, overwrite=overwrite), advance)
    codes = f"{usage.used:.1%} of {net.config.codebook_size} codes used, perplexity {usage.perplexity:.0f}"
    say(f"{plural(len(batch.jobs), 'face')}, {codes} -> {shown(output)}")


def _require_extra() -> None:
    from facemend.errors import MissingExtraError

    try:
        import safetensors  # noqa: F401
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise MissingExtraError("training", "train") from None


def _train(stage: str, path: Path, changes: list[str]) -> None:
    from facemend.errors import ConfigError

    _require_extra()
    from facemend.training import train
    from facemend.training.config import load_config

    config = load_config(path, changes)
    if config.stage != stage:
        raise ConfigError(f'{path}: has stage = "{config.stage}"; run `facemend train {config.stage}`')
    warn(f"{stage}: previews, log and state go to {config.out} (the same command resumes a stopped run)")
    try:
        checkpoint = train(config, _show)
    except KeyboardInterrupt:
        warn(f"stopped; the same command goes on from the last saved state in {config.out}")
        raise typer.Exit(130) from None
    say(str(checkpoint))


def _show(report: StepReport) -> None:
    left = timedelta(seconds=round(report.seconds_left))
    figures = "  ".join(f"{name} {value:.4g}" for name, value in report.values.items())
    warn(f"{report.step}/{report.steps}  {report.images_per_second:.1f} images/s  {left} left  {figures}")

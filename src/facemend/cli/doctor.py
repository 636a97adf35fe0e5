"""`facemend doctor`: is this installation whole, and how fast is it?"""

from __future__ import annotations

import platform
import warnings
from importlib import import_module, metadata
from time import perf_counter

import typer

from facemend.cli._shared.console import plural, say
from facemend.errors import EXTRAS, FacemendError, install_line, missing, one_line
from facemend.photo.options import DEFAULT_MODEL

app = typer.Typer()

BASE = ("numpy", "pillow", "opencv-python-headless", "onnxruntime", "typer", "pydantic")


@app.command()
def doctor() -> None:
    """Check the installation: versions, shipped weights, optional extras, speed."""
    from facemend.imaging import readable_suffixes

    say(f"facemend {_version('facemend')}, Python {platform.python_version()}, {platform.platform()}")
    say(", ".join(f"{name} {_version(name)}" for name in BASE))
    _onnxruntime()
    say(f"photos read here: {' '.join(sorted(readable_suffixes()))}")
    problems = [*_extras(), *_verify()]
    for problem in problems:
        typer.echo(f"facemend: {problem}", err=True)
    if not problems:
        _speed()
    say("all well" if not problems else f"problems: {len(problems)}")
    if problems:
        raise typer.Exit(1)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _extras() -> list[str]:
    """What is wrong with the extras that are installed; tells of each."""
    problems = []
    for name, extra in EXTRAS.items():
        lacking = missing(name)
        state = "works"
        if lacking:
            what = "not installed" if set(lacking) == set(extra.modules) else f"lacks {', '.join(lacking)}"
            state = f"{what} ({install_line(name)})"
        elif problem := _broken(extra.modules):
            state = "does not work"
            again = install_line(name).replace("install", "install --force-reinstall", 1)
            problems.append(f"extra {name}: {problem}; {again}")
        say(f"extra {name}, for {extra.purpose}: {state}")
    say(f"torch: {_version('torch')}")
    return problems


def _broken(modules: tuple[str, ...]) -> str | None:
    """What an installed package says that cannot be imported."""
    for module in modules:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import_module(module)
        except Exception as error:  # a half-installed package may raise anything
            return f"{module} cannot be imported ({one_line(error)})"
    return None


def _onnxruntime() -> None:
    from facemend.runtime.cores import usable_cores
    from facemend.runtime.devices import DEVICES, available
    from facemend.runtime.onnx import open_graphs
    from facemend.weights.catalog import asset_path

    say(f"usable cores: {usable_cores()}")
    here = available()
    for device in here:
        try:
            open_graphs([asset_path("rnet")], device.name, threads=1)
            state = "works" if device.automatic else "works, when asked for by name"
        except FacemendError as error:
            state = f"does not work ({error})"
        say(f"device {device.name}: {state}")
    others = [f"{device.name} ({device.package})" for device in DEVICES if device not in here]
    say(f"devices that other packages bring: {', '.join(others)}")
    if _version("onnxruntime") != "not installed" and _version("onnxruntime-gpu") != "not installed":
        say("note: onnxruntime and onnxruntime-gpu are both installed and overwrite each other: remove one")


def _verify() -> list[str]:
    """What is wrong with the shipped weights."""
    from facemend.weights.catalog import ASSETS, verify
    from facemend.weights.models import models

    problems = []
    for name in ASSETS:
        try:
            verify(name)
        except FacemendError as error:
            problems.append(str(error))
    try:
        shipped = models()
        for model in shipped:
            model.verify()
        if DEFAULT_MODEL not in [model.name for model in shipped]:
            problems.append(f"the default model {DEFAULT_MODEL} is missing; install facemend again")
    except FacemendError as error:
        problems.append(str(error))
    if not problems:
        files, networks = plural(len(ASSETS), "helper file"), plural(len(shipped), "model")
        say(f"weights: {files} and {networks}, checksums right")
    return problems


def _speed(rounds: int = 3) -> None:
    """Time the default model on one blank face; the first round only warms up."""
    import numpy as np

    from facemend.predictors.restorer import FaceRestorer
    from facemend.weights.models import find_model

    network = FaceRestorer.open(find_model(DEFAULT_MODEL, check_files=False))
    crop = np.full((1, network.image_size, network.image_size, 3), 0.5, np.float32)
    seconds = []
    for _ in range(rounds + 1):
        start = perf_counter()
        network.decode(network.encode(crop), 0.5)
        seconds.append(perf_counter() - start)
    say(f"speed: one face in {min(seconds[1:]):.2f} s ({DEFAULT_MODEL})")

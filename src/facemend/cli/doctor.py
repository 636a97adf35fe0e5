"""`facemend doctor`: is this installation whole, and how fast is it?"""

from __future__ import annotations

import json
import platform
import warnings
from importlib import import_module, metadata
from time import perf_counter
from typing import Annotated, Any

import typer

from facemend.cli._shared.console import plural, say, warn
from facemend.errors import EXTRAS, FacemendError, install_line, missing, one_line
from facemend.photo.options import DEFAULT_MODEL

app = typer.Typer()

BASE = ("numpy", "pillow", "opencv-python-headless", "onnxruntime", "typer", "pydantic")
_COUNTED = ("helper_files", "models")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Tell all of it as JSON, for a report.")] = False,
) -> None:
    """Check the installation: versions, shipped weights, optional extras, speed."""
    found = _examine()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _tell(found)
    if found["problems"]:
        raise typer.Exit(1)


def _examine() -> dict[str, Any]:
    """Everything that is told, as JSON can hold it."""
    from facemend.imaging import readable_suffixes
    from facemend.runtime.cores import usable_cores

    extras, broken = _extras()
    weights, wrong = _verify()
    problems = [*broken, *wrong]
    return {
        "facemend": _version("facemend"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in BASE},
        "cores": usable_cores(),
        **_onnxruntime(),
        "photos": sorted(readable_suffixes()),
        "extras": extras,
        "torch": _version("torch"),
        "weights": weights,
        "problems": problems,
        "speed": None if problems else {"model": DEFAULT_MODEL, "seconds_a_face": round(_speed(), 3)},
    }


def _tell(found: dict[str, Any]) -> None:
    say(f"facemend {found['facemend']}, Python {found['python']}, {found['platform']}")
    say(", ".join(f"{name} {version}" for name, version in found["packages"].items()))
    say(f"usable cores: {found['cores']}")
    for name, state in found["devices"].items():
        say(f"device {name}: {state}")
    others = [f"{name} ({package})" for name, package in found["other_devices"].items()]
    say(f"devices that other packages bring: {', '.join(others)}")
    for note in found["notes"]:
        say(f"note: {note}")
    say(f"photos read here: {' '.join(found['photos'])}")
    for name, extra in found["extras"].items():
        say(f"extra {name}, for {extra['for']}: {extra['state']}")
    say(f"torch: {found['torch']}")
    if found["weights"]:
        files, networks = (plural(found["weights"][key], key[:-1].replace("_", " ")) for key in _COUNTED)
        say(f"weights: {files} and {networks}, checksums right")
    for problem in found["problems"]:
        warn(f"facemend: {problem}")
    if found["speed"]:
        say(f"speed: one face in {found['speed']['seconds_a_face']:.2f} s ({found['speed']['model']})")
    count = len(found["problems"])
    say(f"problems: {count}" if count else "all well")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _extras() -> tuple[dict[str, dict[str, str]], list[str]]:
    """What the extras are for and whether they work, by name; and what is wrong with those installed."""
    extras, problems = {}, []
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
        extras[name] = {"for": extra.purpose, "state": state}
    return extras, problems


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


def _onnxruntime() -> dict[str, Any]:
    """The devices that are here, by name, and whether they work; those that are not, and their packages."""
    from facemend.runtime.devices import DEVICES, available
    from facemend.runtime.onnx import open_graphs
    from facemend.weights.catalog import asset_path

    states = {}
    here = available()
    for device in here:
        try:
            open_graphs([asset_path("rnet")], device.name, threads=1)
            states[device.name] = "works" if device.automatic else "works, when asked for by name"
        except FacemendError as error:
            states[device.name] = f"does not work ({error})"
    notes = []
    if _version("onnxruntime") != "not installed" and _version("onnxruntime-gpu") != "not installed":
        notes.append(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: remove one"
        )
    others = {device.name: device.package for device in DEVICES if device not in here}
    return {"devices": states, "other_devices": others, "notes": notes}


def _verify() -> tuple[dict[str, int], list[str]]:
    """How many shipped files there are, if all are whole; and what is wrong with them."""
    from facemend.weights.catalog import ASSETS, verify
    from facemend.weights.models import models

    problems = []
    for name in ASSETS:
        try:
            verify(name)
        except FacemendError as error:
            problems.append(str(error))
    counts = {}
    try:
        shipped = models()
        for model in shipped:
            model.verify()
        if DEFAULT_MODEL not in [model.name for model in shipped]:
            problems.append(f"the default model {DEFAULT_MODEL} is missing; install facemend again")
        counts = dict(zip(_COUNTED, (len(ASSETS), len(shipped)), strict=True))
    except FacemendError as error:
        problems.append(str(error))
    return ({} if problems else counts), problems


def _speed(rounds: int = 3) -> float:
    """Seconds that the default model takes for one blank face; the first round only warms up."""
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
    return min(seconds[1:])

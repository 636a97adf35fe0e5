"""Further metrics from outside: installed plug-ins, and MUSIQ where its package is there.

A plug-in is a package with an entry point of the group `facemend.metrics`; the entry point's name is the name
of the metric, and it leads to an object of the class `facemend.metrics.table.Metric`:

    [project.entry-points."facemend.metrics"]
    sharpness = "my_package:SHARPNESS"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import torch
from torch import Tensor

from facemend.errors import ConfigError, WeightsError, one_line
from facemend.metrics.checks import check_pictures
from facemend.metrics.table import METRICS, Metric

GROUP = "facemend.metrics"
"""Entry points of this group are metrics."""


def extra_metrics(names: Sequence[str]) -> dict[str, Metric]:
    """Find further metrics by name.

    Args:
        names: `musiq`, or names of plug-ins; a name that stands there twice counts once.

    Returns:
        Name to metric, in the order of `names`; nothing is imported for an empty list.

    Raises:
        ConfigError: a name is unknown, a plug-in is unusable, or the package behind MUSIQ is missing.
    """
    found: dict[str, Metric] = {}
    plugins = plugin_metrics() if any(name not in _BUILT_IN for name in names) else {}
    for name in names:
        if name in found:
            continue
        if name in _BUILT_IN:
            found[name] = _BUILT_IN[name]()
        elif name in plugins:
            found[name] = plugins[name]
        elif name in METRICS:
            raise ConfigError(f"{name}: not a further metric but one of facemend's own; leave it out")
        else:
            known = ", ".join([*_BUILT_IN, *sorted(plugins)])
            raise ConfigError(f"{name}: no further metric of that name is installed; there are: {known}")
    return found


def plugin_metrics() -> dict[str, Metric]:
    """Metrics of all installed plug-ins.

    Returns:
        Name to metric, sorted by name.

    Raises:
        ConfigError: a plug-in cannot be loaded, is no `Metric`, or takes a name that another metric has.
    """
    found: dict[str, Metric] = {}
    origin: dict[str, str] = dict.fromkeys(METRICS, "facemend") | dict.fromkeys(_BUILT_IN, "facemend")
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        package = point.dist.name if point.dist is not None else point.value
        if point.name in origin:
            raise ConfigError(
                f"{package}: its metric {point.name!r} has the name of one of {origin[point.name]}; "
                "uninstall one of the two"
            )
        try:
            metric = point.load()
        except Exception as error:  # the code of others can fail with any exception
            raise ConfigError(
                f"{package}: its metric {point.name!r} cannot be loaded ({one_line(error)}); "
                "repair or uninstall that package"
            ) from error
        if not isinstance(metric, Metric):
            raise ConfigError(
                f"{package}: its metric {point.name!r} is a {type(metric).__name__}, not a "
                "facemend.metrics.Metric; repair or uninstall that package"
            )
        found[point.name], origin[point.name] = metric, package
    return found


def musiq_metric() -> Metric:
    """MUSIQ (Ke et al. 2021) through the package `pyiqa`, if that is installed. Higher is better.

    No reference. Colour: RGB. Crop: the whole picture, at several sizes. Values: about 0 to 100, on the scale
    of the KonIQ-10k ratings. `pyiqa` is no part of facemend: its licence is PolyForm Noncommercial, it
    brings many packages (torchvision among them), and it downloads its weights on the first use.

    This adapter was tested with a stand-in for `pyiqa` only.

    Raises:
        ConfigError: `pyiqa` is not installed, or cannot be imported.
    """
    try:
        import_module("pyiqa")
    except Exception as error:  # beside ImportError, mismatched binaries fail in many ways
        raise ConfigError(
            f"musiq: needs the package pyiqa, which cannot be imported ({one_line(error)}): pip install "
            "pyiqa (licence PolyForm Noncommercial 1.0.0: no commercial use; it brings torchvision)"
        ) from error
    return Metric(
        "MUSIQ",
        _musiq,
        higher_is_better=True,
        range="0 to 100",
        network="MUSIQ KonIQ-10k (pyiqa)",
        crop="whole picture, at several sizes",
        reference=False,
        explain="How people would rate the picture, judged by a network that never sees the original. It "
        "rewards sharpness, also of invented detail, and says nothing about the person being kept.",
    )


@torch.no_grad()
def _musiq(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) RGB, [0, 1] -> (N,) float64."""
    check_pictures(pictures)
    net = _musiq_net(str(pictures.device))
    # One at a time: the sizes that it looks at are a matter of one picture, and a batch needs much memory.
    return torch.cat([net(one.float()).detach().double().reshape(1) for one in pictures.split(1)])


@cache
def _musiq_net(device: str) -> Any:
    try:
        return import_module("pyiqa").create_metric("musiq", device=torch.device(device))
    except Exception as error:  # the code of others can fail with any exception
        raise WeightsError(
            f"musiq: pyiqa cannot load its network ({one_line(error)}); the first use needs a network"
        ) from error


_BUILT_IN: dict[str, Callable[[], Metric]] = {"musiq": musiq_metric}

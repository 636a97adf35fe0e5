"""How a stage fills its minutes: a share of the time, a probe for the best settings, steps in proportion."""

from __future__ import annotations

import gc
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from facemend.errors import ConfigError
from facemend.training import train
from facemend.training.engine import Engine

SHARES = {"stage1": 0.2, "stage2": 0.3, "stage3": 0.5}
RESERVE, LEAST_RESERVE = 0.08, {"cpu": 90.0, "cuda": 60.0}  # share of the time, seconds
LEAST_STAGE = 15.0  # seconds
PROBE_SECONDS = 20.0
GAIN = 1.03  # a choice must be this much quicker
LEAST_STEPS = 300  # a batch is not doubled below so many steps of its stage
COMPILE_SECONDS = 180.0  # a stage must last so long for compiling to be tried
OVER = 1.05  # steps are planned for a little more than the time, which then ends the stage
SAVE_SECONDS = 90.0
Config = Any  # of one of the three stages


def stage_ends(minutes: float, least_reserve: float, start: float = 0.0) -> dict[str, float]:
    """Second at which each stage is to end.

    Args:
        minutes: in all.
        least_reserve: seconds that are kept at least for export and evaluation.
        start: second at which stage I begins.
    """
    left = 60 * minutes - max(RESERVE * 60 * minutes, least_reserve) - start
    if left * min(SHARES.values()) < LEAST_STAGE:
        least = (least_reserve + start + LEAST_STAGE / min(SHARES.values())) / 60
        raise ConfigError(f"--minutes {minutes:g} are too few: at least {math.ceil(10 * least) / 10:g} here")
    ends, share = {}, 0.0
    for stage, part in SHARES.items():
        share += part
        ends[stage] = start + left * share
    return ends


def mapped(value: Any, change: Callable[[str, Any], Any], name: str = "") -> Any:
    """Settings with every value that is no table or list changed: change(its name, value)."""
    if isinstance(value, Mapping):
        return {key: mapped(item, change, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(mapped(item, change, name) for item in value)
    return change(name, value)


def moved(value: Any, places: Mapping[Path, Path]) -> Any:
    """Settings with every path that begins with an old place at the new one."""

    def move(_: str, path: Any) -> Any:
        within = (old for old in places if isinstance(path, Path) and path.is_relative_to(old))
        return next((places[old] / path.relative_to(old) for old in within), path)

    return mapped(value, move)


def changed(config: Config, data: Mapping[str, Any] | None = None, **values: Any) -> Config:
    """A config with other settings, and other ones of its data, checked."""
    own = config.model_dump()
    return type(config).model_validate({**own, "data": own["data"] | (data or {}), **values})


def no_bar(config: Config) -> dict[str, float]:
    """Lets networks in that know nothing."""
    return {"min_psnr": 0.0} if hasattr(config, "min_psnr") else {}


def shortened(config: Config) -> Config:
    """Two steps of the last phase."""
    last = {**config.model_dump()["phases"][-1], "steps": 2, "batch": 2}
    few = {"holdout": min(4, config.data.holdout)}
    return changed(config, few, phases=[last], accumulate=1, **no_bar(config))


@dataclass(frozen=True)
class Trial:
    """Settings of a probe, and what a step of each phase took with them, seconds."""

    factor: int = 1
    workers: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    costs: tuple[float, ...] = ()

    def applied(self, config: Config, data: Mapping[str, Any] | None = None, **values: Any) -> Config:
        """The config with these settings and others."""
        phases = [{**phase, "batch": phase["batch"] * self.factor} for phase in config.model_dump()["phases"]]
        workers = {"workers": self.workers}
        return changed(config, workers | (data or {}), **{"phases": phases, **self.settings, **values})

    def seconds(self, config: Config) -> float:
        """What the config's steps take."""
        return float(sum(p.steps * cost for p, cost in zip(config.phases, self.costs, strict=True)))

    def rate(self, config: Config) -> float:
        """Faces a second over the config's phases."""
        return sum(p.steps * p.batch for p in config.phases) * self.factor / self.seconds(config)


def fill(config: Config, trial: Trial, seconds: float) -> Config:
    """The config with a trial's settings and as many steps, in its proportions, as fill the seconds."""
    planned = OVER * max(seconds, 1.0)
    times = planned / trial.seconds(config)
    values = trial.applied(config).model_dump()
    values = mapped(values, lambda k, v: v * math.sqrt(trial.factor) if k == "lr" and v else v)
    for phase in values["phases"]:
        phase["steps"] = max(1, round(phase["steps"] * times))
    steps = sum(phase["steps"] for phase in values["phases"])
    values["optim"]["warmup"] = min(values["optim"]["warmup"], steps // 10)
    values["optim"]["halve_at"] = [round(at * times) for at in values["optim"]["halve_at"]]
    values["log_every"] = max(1, round(5 * steps / planned))
    values["save_every"] = save = max(1, round(SAVE_SECONDS * steps / planned))
    values["preview_every"] = save * max(1, -(-steps // (5 * save)))
    return type(config).model_validate(values)


class Enough(Exception):  # noqa: N818 - nothing is wrong
    """All steps of a measurement are done."""


class TimeUp(BaseException):
    """A measurement has no time left; passes through whoever catches Exception."""


@contextmanager
def alarm(seconds: float | None) -> Iterator[None]:
    """Raise TimeUp in the block after so many seconds, where the system can."""
    if seconds is None or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise TimeUp("no time left for it")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.01, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measure(config: Config, trial: Trial, folder: Path, steps: int, warm: int) -> Trial:
    """Run some real steps of each phase in a folder of their own, without the first ones in the figure."""
    few = {"limit": 128, "holdout": min(4, config.data.holdout), "table": None, "turned": 1.0, "sources": {}}
    never = {"save_every": 10**9, "preview_every": 10**9, "log_every": 1}
    phases = [{**phase, "steps": steps} for phase in trial.applied(config).model_dump()["phases"]]
    short = trial.applied(config, few, out=folder, phases=phases, **never, **no_bar(config))
    times: list[float] = []

    def report(step: Any) -> None:
        times.append(time.monotonic())
        if step.step == step.steps:
            raise Enough

    shutil.rmtree(folder, ignore_errors=True)
    try:
        with suppress(Enough):
            train(short, report)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    own = [times[first : first + steps] for first in range(0, steps * len(phases), steps)]
    return replace(trial, costs=tuple(max(1e-6, t[-1] - t[warm - 1]) / (steps - warm) for t in own))


class Probe:
    """Measures one trial after the other, the config's own first, and keeps the best."""

    def __init__(self, config: Config, seconds: float, note: Callable[..., None], folder: Path) -> None:
        self.config, self.seconds, self.note, self.folder = config, seconds, note, folder
        self.cuda = torch.cuda.is_available()
        self._until = time.monotonic() + min(PROBE_SECONDS, seconds / 5)
        self._last = 0.0  # seconds that the trial before took
        cores = os.cpu_count() or 1
        workers = max(config.data.workers, min(16, cores - 1 if self.cuda else cores // 8))
        self.best = self._measured(Trial(workers=workers), None)

    def search(self) -> Trial:
        """The best of what the time lets it try."""
        own = self.config
        if own.precision == "no" and Engine().has_bf16:
            self._try(precision="bf16")
        if self.cuda:  # on a CPU it is no choice
            self._try(channels_last=not own.channels_last)
            while self._steps(self.best) >= LEAST_STEPS and self._try(2 * self.best.factor):
                pass
            if self.seconds >= COMPILE_SECONDS and not own.compile and not self._try(compile=True):
                torch.compiler.reset()
        return self.best

    def _steps(self, trial: Trial) -> float:
        """How many steps with a trial's settings fill the stage."""
        return float(self.seconds * sum(p.steps for p in self.config.phases) / trial.seconds(self.config))

    def _try(self, factor: int | None = None, **settings: Any) -> bool:
        """Measure a change of the best; whether it is the best now."""
        left = self._until - time.monotonic()
        if left < self._last:
            return False
        trial = replace(
            self.best, factor=factor or self.best.factor, settings={**self.best.settings, **settings}
        )
        found, reason = None, ""
        try:
            found = self._measured(trial, left)
        except (Exception, TimeUp) as error:  # out of memory, no compiler, no time: not this one then
            reason = str(error).partition("\n")[0][:120] or type(error).__name__
        if found is None:
            self.note(f"probe {self.config.stage}", factor=trial.factor, **settings, failed=reason)
            self._clean()  # now that the error holds no tensors any more
            return False
        worth = found.rate(self.config)
        if settings.get("compile"):
            worth *= 1 - self._last / self.seconds  # it compiles again in the run
        few = factor is not None and self._steps(found) < LEAST_STEPS
        if few or worth < GAIN * self.best.rate(self.config) or self._crowded():
            return False
        self.best = found
        return True

    def _measured(self, trial: Trial, limit: float | None) -> Trial:
        began = time.monotonic()
        steps, warm = (12, 4) if self.cuda else (2, 1)
        with alarm(limit):
            found = measure(self.config, trial, self.folder, steps, warm)
        self._last = time.monotonic() - began
        shown = {**trial.settings, "workers": trial.workers, "faces_per_second": found.rate(self.config)}
        self.note(f"probe {self.config.stage}", factor=trial.factor, **shown)
        return found

    def _crowded(self) -> bool:
        """Whether a GPU's memory is nearly full: the run's previews need some too."""
        if not self.cuda:
            return False
        full = torch.cuda.max_memory_reserved() > 0.85 * torch.cuda.get_device_properties(0).total_memory
        self._clean()
        return bool(full)

    def _clean(self) -> None:
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

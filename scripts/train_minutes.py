"""How a stage fills its minutes: shares of the time, a probe for the quickest settings, steps in proportion.

All but the probe is plain arithmetic on configs.
"""

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

from facemend.errors import ConfigError

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
Note = Callable[..., None]


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


def changed(config: Config, **values: Any) -> Config:
    """A config with other settings, checked."""
    return type(config).model_validate(config.model_dump() | values)


def moved(value: Any, places: Mapping[Path, Path]) -> Any:
    """A setting with every path that begins with an old place at the new one."""
    if isinstance(value, Mapping):
        return {key: moved(item, places) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(moved(item, places) for item in value)
    if isinstance(value, Path):
        return next(
            (new / value.relative_to(old) for old, new in places.items() if value.is_relative_to(old)), value
        )
    return value


def scaled_rates(value: Any, factor: float) -> Any:
    """Settings with every `lr` in them times a factor."""
    if isinstance(value, Mapping):
        return {k: v * factor if k == "lr" and v else scaled_rates(v, factor) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(scaled_rates(item, factor) for item in value)
    return value


@dataclass(frozen=True)
class Trial:
    """Settings of a probe, and what a step of each phase took with them, seconds."""

    factor: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    costs: tuple[float, ...] = ()

    def rate(self, config: Config) -> float:
        """Faces a second over the config's phases."""
        faces = sum(phase.steps * phase.batch for phase in config.phases) * self.factor
        return float(faces / sum(p.steps * cost for p, cost in zip(config.phases, self.costs, strict=True)))


def fill(config: Config, trial: Trial, seconds: float) -> Config:
    """The config with a trial's settings and as many steps, in its proportions, as fill the seconds."""
    own = sum(p.steps * cost for p, cost in zip(config.phases, trial.costs, strict=True))
    times = OVER * max(seconds, 1.0) / own
    values = scaled_rates(config.model_dump(), math.sqrt(trial.factor)) | trial.settings
    phases = [
        {**phase, "steps": max(1, round(phase["steps"] * times)), "batch": phase["batch"] * trial.factor}
        for phase in values["phases"]
    ]
    steps = sum(phase["steps"] for phase in phases)
    per_second = steps / (OVER * max(seconds, 1.0))
    optim = values["optim"]
    optim["warmup"] = min(optim["warmup"], steps // 10)
    optim["halve_at"] = [round(at * times) for at in optim["halve_at"]]
    save = max(1, round(SAVE_SECONDS * per_second))
    reports = {
        "log_every": max(1, round(5 * per_second)),
        "save_every": save,
        "preview_every": save * max(1, -(-steps // (5 * save))),
    }
    return type(config).model_validate(values | reports | {"phases": phases})


def shortened(config: Config) -> Config:
    """Two steps of the last phase, over networks that may know nothing."""
    last = {**config.model_dump()["phases"][-1], "steps": 2, "batch": 2}
    data = {**config.model_dump()["data"], "holdout": min(4, config.data.holdout)}
    return changed(config, phases=[last], data=data, accumulate=1, **_no_bar(config))


def _no_bar(config: Config) -> dict[str, float]:
    return {"min_psnr": 0.0} if hasattr(config, "min_psnr") else {}


# The probe: which settings are the quickest here.


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
        raise TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.01, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measure(config: Config, trial: Trial, folder: Path, steps: int, warm: int) -> Trial:
    """Run some real steps of each phase in a folder of their own, without the first ones in the figure."""
    from facemend.training import train

    phases = [
        {**phase, "steps": steps, "batch": phase["batch"] * trial.factor}
        for phase in config.model_dump()["phases"]
    ]
    few = {"limit": 128, "holdout": min(4, config.data.holdout), "table": None, "turned": 1.0, "sources": {}}
    values = config.model_dump() | trial.settings
    values |= {"phases": phases, "data": values["data"] | few, "out": folder, **_no_bar(config)}
    never = {"save_every": 10**9, "preview_every": 10**9, "log_every": 1}
    short = type(config).model_validate(values | never)
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
    bounds = [(times[k * steps + warm - 1], times[(k + 1) * steps - 1]) for k in range(len(phases))]
    return replace(trial, costs=tuple(max(1e-6, end - start) / (steps - warm) for start, end in bounds))


class Probe:
    """Measures one trial after the other, the config's own first, and keeps the best."""

    def __init__(self, config: Config, seconds: float, note: Note, folder: Path) -> None:
        import torch

        self.config, self.seconds, self.note, self.folder = config, seconds, note, folder
        self.cuda = torch.cuda.is_available()
        self._until = time.monotonic() + min(PROBE_SECONDS, seconds / 5)
        self._last = 0.0  # seconds that the trial before took
        cores = os.cpu_count() or 1
        workers = max(config.data.workers, min(16, cores - 1 if self.cuda else cores // 8))
        data = {**config.model_dump()["data"], "workers": workers}
        self.best = self._measured(Trial(settings={"data": data}), None)

    def search(self) -> Trial:
        """The best of what the time lets it try."""
        import torch

        from facemend.training.engine import Engine

        own = self.config
        if own.precision == "no" and Engine().has_bf16:
            self._try(precision="bf16")
        if self.cuda:  # on a CPU PyTorch 2.11 crashes in group norms whose input needs no gradient
            self._try(channels_last=not own.channels_last)
        while self.cuda and self._steps(self.best) >= LEAST_STEPS and self._try(2 * self.best.factor):
            pass
        if self.cuda and self.seconds >= COMPILE_SECONDS and not own.compile:
            self._try(compile=True)
            if not self.best.settings.get("compile"):
                torch.compiler.reset()
        return self.best

    def _steps(self, trial: Trial) -> float:
        """How many steps with a trial's settings fill the stage."""
        faces = sum(p.steps * p.batch for p in self.config.phases) / sum(p.steps for p in self.config.phases)
        return float(self.seconds * trial.rate(self.config) / (faces * trial.factor))

    def _try(self, factor: int | None = None, **settings: Any) -> bool:
        """Measure a change of the best; whether it is the best now."""
        trial = Trial(factor or self.best.factor, {**self.best.settings, **settings})
        left = self._until - time.monotonic()
        if left < self._last:
            return False
        found, reason = None, ""
        try:
            found = self._measured(trial, left)
        except (Exception, TimeUp) as error:  # out of memory, no compiler, no time: not this one then
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
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
        shown = {k: v for k, v in trial.settings.items() if k != "data"}
        shown["workers"] = trial.settings["data"]["workers"]
        rate = found.rate(self.config)
        self.note(f"probe {self.config.stage}", factor=trial.factor, **shown, faces_per_second=rate)
        return found

    def _crowded(self) -> bool:
        """Whether a GPU's memory is nearly full: the run's previews need some too."""
        import torch

        if not self.cuda:
            return False
        full = torch.cuda.max_memory_reserved() > 0.85 * torch.cuda.get_device_properties(0).total_memory
        self._clean()
        return bool(full)

    def _clean(self) -> None:
        import torch

        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

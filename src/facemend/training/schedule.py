"""Learning rate and phases as functions of the step: nothing to restore on resume."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

from facemend.training.settings import OptimConfig, Phase


def learning_rate(optim: OptimConfig, base: float, step: int, steps: int) -> float:
    """Rate at a step (from 0) of a run of `steps`: warm-up, cosine to `final`, halvings."""
    if step < optim.warmup:
        return base * (step + 1) / optim.warmup
    through = (step - optim.warmup) / max(1, steps - optim.warmup)
    cosine = optim.final + (1 - optim.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, through)))
    return float(base * cosine * 0.5 ** sum(step >= at for at in optim.halve_at))


P = TypeVar("P", bound=Phase)


def remaining(phases: Sequence[P], done: int) -> Iterator[tuple[P, int, int]]:
    """Phases that are left after `done` steps: (phase, first sample index, steps left in it)."""
    first_step, first_sample = 0, 0
    for phase in phases:
        skip = min(max(done - first_step, 0), phase.steps)
        if skip < phase.steps:
            yield phase, first_sample + skip * phase.batch, phase.steps - skip
        first_step += phase.steps
        first_sample += phase.steps * phase.batch


def total_steps(phases: Sequence[Phase]) -> int:
    """Steps of all phases."""
    return sum(phase.steps for phase in phases)


def faces_seen(phases: Sequence[Phase], done: int) -> int:
    """Training faces seen after `done` steps."""
    seen = 0
    for phase in phases:
        steps = min(max(done, 0), phase.steps)
        seen += steps * phase.batch
        done -= steps
    return seen

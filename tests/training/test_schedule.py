"""Learning rate and phases as plain functions of the step."""

from dataclasses import dataclass

import pytest

from facemend.training.schedule import faces_seen, learning_rate, remaining, total_steps
from facemend.training.settings import OptimConfig


@dataclass(frozen=True)
class Phase:
    steps: int
    batch: int


PHASES = (Phase(3, 4), Phase(2, 1), Phase(4, 2))


def rates(optim, steps, base=1.0):
    return [learning_rate(optim, base, step, steps) for step in range(steps)]


def test_warmup_is_linear_and_ends_at_the_base():
    assert rates(OptimConfig(warmup=4), 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_reaches_its_end():
    optim = OptimConfig(warmup=2, final=0.1)
    assert learning_rate(optim, 1.0, 2, 12) == pytest.approx(1.0)
    assert learning_rate(optim, 1.0, 7, 12) == pytest.approx(0.55)  # half way: the mean of both ends
    assert learning_rate(optim, 1.0, 12, 12) == pytest.approx(0.1)
    assert learning_rate(optim, 1.0, 99, 12) == pytest.approx(0.1)
    after = rates(optim, 12)[2:]
    assert after == sorted(after, reverse=True)


def test_halvings():
    assert rates(OptimConfig(halve_at=(2, 4)), 6) == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("done", "wanted"),
    [
        (0, [(0, 0, 3), (1, 12, 2), (2, 14, 4)]),
        (2, [(0, 8, 1), (1, 12, 2), (2, 14, 4)]),
        (3, [(1, 12, 2), (2, 14, 4)]),  # exactly at a boundary
        (4, [(1, 13, 1), (2, 14, 4)]),
        (8, [(2, 20, 1)]),
        (9, []),
        (50, []),
    ],
)
def test_remaining(done, wanted):
    got = [(PHASES.index(phase), sample, steps) for phase, sample, steps in remaining(PHASES, done)]
    assert got == wanted


def test_steps_and_faces_add_up_wherever_a_run_stops():
    assert total_steps(PHASES) == 9
    assert [faces_seen(PHASES, done) for done in range(11)] == [0, 4, 8, 12, 13, 14, 16, 18, 20, 22, 22]
    for done in range(10):
        left = list(remaining(PHASES, done))
        assert done + sum(steps for _, _, steps in left) == 9
        assert faces_seen(PHASES, done) + sum(p.batch * steps for p, _, steps in left) == 22
        if left:  # the next sample is the first one not seen
            assert left[0][1] == faces_seen(PHASES, done)

"""Warnings: each symptom speaks once it lasts, and a healthy run is silent."""

import json
import logging

import pytest

from facemend.training import train
from facemend.training.health import Health

HEALTHY = {
    "l1": 0.1,
    "lambda": 0.4,
    "d_loss": 1.6,
    "real": 0.3,
    "fake": -0.3,
    "perplexity": 40.0,
    "token": 2.0,
    "gradient": 0.8,
}
SICK = [
    ("adversary_silent", {"lambda": 1e-6}, 5),
    ("adversary_wins", {"d_loss": 0.01, "real": 2.0, "fake": -2.0}, 5),
    ("adversary_lost", {"real": 0.001, "fake": 0.002}, 20),
    ("adversary_at_chance", {"d_loss": 1.95}, 20),
    ("codebook_unused", {"perplexity": 1.2}, 5),
    ("codes_by_chance", {"token": 4.15}, 5),
    ("always_clipped", {"gradient": 30.0}, 5),
]


@pytest.fixture
def health(settings, tmp_path):
    phases = [{"steps": 1, "size": 64, "batch": 2}]
    return Health(settings("stage1", tmp_path, phases=phases, optim={"clip": 1.0}))


def test_a_healthy_run_is_silent(health):
    assert not any(health.look(step, HEALTHY) for step in range(0, 5000, 20))


@pytest.mark.parametrize(("name", "change", "lines"), SICK)
def test_a_symptom_speaks_once_and_when_it_lasts(name, change, lines, health):
    spoken = [list(health.look(1000 + k, HEALTHY | change)) for k in range(lines + 10)]
    assert spoken[lines - 1] == [name]
    assert sum(map(len, spoken)) == 1
    health.look(3000, HEALTHY)
    again = [list(health.look(4000 + k, HEALTHY | change)) for k in range(lines)]
    assert again[-1] == [name]
    for step in range(6000, 7000, 20):  # one bad line is no symptom
        assert not health.look(step, HEALTHY | (change if step % 40 == 0 else {}))


def test_each_of_several_discriminators_is_watched(settings, tmp_path):
    several = [{"width": 8}, {"name": "texture", "width": 8}]
    phases = [{"steps": 1, "size": 64, "batch": 2}]
    health = Health(settings("stage1", tmp_path, phases=phases, adversary=several))
    line = {
        f"{k}_{n}": HEALTHY[k] for k in ("lambda", "d_loss", "real", "fake") for n in ("patch", "texture")
    }
    assert not any(health.look(step, line) for step in range(0, 1000, 20))
    spoken = [health.look(1000 + k, line | {"d_loss_texture": 2.0, "lambda_patch": 0.0}) for k in range(25)]
    assert list(spoken[4]) == ["adversary_silent_patch"]
    assert list(spoken[19]) == ["adversary_at_chance_texture"]
    assert spoken[19]["adversary_at_chance_texture"].startswith("adversary 'texture': ")
    assert sum(map(len, spoken)) == 2


def test_the_start_of_a_run_is_let_pass(health):
    early = HEALTHY | {"perplexity": 1.0, "token": 4.15, "gradient": 100.0}
    assert not any(health.look(step, early) for step in range(0, 100, 5))


def test_metrics_that_are_not_there_are_not_asked_for(health):
    assert not any(health.look(step, {"l1": 0.2}) for step in range(1000, 2000, 20))


def test_constant_targets_are_told_at_once(health):
    assert list(health.look(0, {"target_entropy": 0.5, "stage1_psnr": 22.0})) == ["codes_all_the_same"]


def test_warnings_are_said_and_kept(settings, tmp_path, caplog):
    phases = [{"steps": 3, "size": 64, "batch": 2}]
    config = settings("stage1", tmp_path / "run", phases=phases)

    def always(self, step, metrics):
        return {"odd": "something is odd. Look"} if step == 2 else {}

    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(Health, "look", always)
        train(config)
    assert "step 2: something is odd. Look" in caplog.text
    kept = [json.loads(line) for line in (config.out / "warnings.jsonl").read_text().splitlines()]
    assert kept == [{"step": 2, "name": "odd", "text": "something is odd. Look"}]

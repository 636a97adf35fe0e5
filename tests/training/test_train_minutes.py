"""How scripts/train_default fills its minutes: shares, steps, the probe."""

import importlib
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from conftest import SIDE, MakeConfig
from facemend.errors import ConfigError
from facemend.networks.codeformer.checkpoint import load_checkpoint
from facemend.training import train
from facemend.training.engine import Engine


@pytest.fixture(scope="module")
def minutes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
        yield importlib.import_module("train_minutes")


@pytest.fixture
def stage3_config(settings: MakeConfig, tmp_path: Path):
    """Two phases of unlike cost, with an adversary of its own rate."""
    return settings(
        "stage3",
        tmp_path / "stage3",
        stage1="stage1.safetensors",
        stage2="stage2.safetensors",
        optim={"lr": 1e-3, "warmup": 20, "halve_at": [50]},
        adversary={"width": 8, "layers": 2, "lr": 4e-4},
        phases=[
            {"steps": 30, "batch": 4, "degradation": "medium", "w": [0.0, 1.0]},
            {"steps": 70, "batch": 2, "degradation": "heavy", "w": [0.0, 1.0], "adversary": True},
        ],
    )


# Time and steps.


@pytest.mark.parametrize(
    ("given", "start", "ends"),
    [
        (100, 0, [1104, 2760, 5520]),  # 6000 s less 8 %: 5520
        (5, 0, [51, 127.5, 255]),  # 300 s less 45
        (5, 55, [95, 155, 255]),  # of which 55 went by before
    ],
)
def test_the_stages_share_what_the_reserve_leaves(minutes, given, start, ends):
    assert list(minutes.stage_ends(given, 45, start).values()) == pytest.approx(ends)


def test_too_few_minutes_say_the_least_that_is_enough(minutes):
    with pytest.raises(ConfigError, match=r"--minutes 1 are too few: at least 2 here") as error:
        minutes.stage_ends(1, 45)
    least = float(str(error.value).split("at least ")[1].split()[0])
    assert minutes.stage_ends(least, 45)["stage1"] >= minutes.LEAST_STAGE
    with pytest.raises(ConfigError):
        minutes.stage_ends(least - 0.1, 45)


def test_steps_fill_the_seconds_in_the_proportions_of_the_config(minutes, stage3_config):
    trial = minutes.Trial(4, 2, {"channels_last": True}, (0.05, 0.2))
    assert trial.rate(stage3_config) == pytest.approx(4 * (30 * 4 + 70 * 2) / (30 * 0.05 + 70 * 0.2))
    config = minutes.fill(stage3_config, trial, 600)
    first, second = config.phases
    assert first.steps * 0.05 + second.steps * 0.2 == pytest.approx(600 * minutes.OVER, rel=0.005)
    assert first.steps / second.steps == pytest.approx(30 / 70, rel=0.005)
    assert (first.batch, second.batch) == (16, 8)
    assert config.channels_last
    assert config.data.workers == 2
    assert config.optim.lr == pytest.approx(2e-3)  # the square root of four
    assert config.adversary[0].lr == pytest.approx(8e-4)
    assert config.optim.halve_at[0] / (first.steps + second.steps) == pytest.approx(0.5, abs=0.005)
    seconds = 600 * minutes.OVER / (first.steps + second.steps)  # of a step, in the mean
    assert config.save_every * seconds == pytest.approx(90, abs=seconds)
    assert config.preview_every % config.save_every == 0
    assert second.degradation == "heavy"
    assert second.adversary


def test_a_short_stage_keeps_every_phase_and_a_warm_up_that_ends(minutes, stage3_config):
    config = minutes.fill(stage3_config, minutes.Trial(costs=(5.0, 5.0)), 50)
    assert [phase.steps for phase in config.phases] == [3, 7]
    assert config.optim.warmup == 1
    late = minutes.fill(stage3_config, minutes.Trial(costs=(5.0, 5.0)), -3)
    assert [phase.steps for phase in late.phases] == [1, 1]


def test_paths_move_with_their_folder(minutes):
    places = {Path("../shared/faces"): Path("/data"), Path("runs/stage1"): Path("w/stage1")}
    value = {
        "a": ({"path": Path("../shared/faces/train512")}, 3),
        "b": [Path("runs/stage1/model.safetensors")],
    }
    assert minutes.moved(value | {"c": Path("runs/stage10"), "d": "../shared/faces"}, places) == {
        "a": ({"path": Path("/data/train512")}, 3),
        "b": [Path("w/stage1/model.safetensors")],
        "c": Path("runs/stage10"),
        "d": "../shared/faces",
    }


# The probe.


@pytest.fixture
def gpu(monkeypatch, minutes):
    """A GPU by name; `memory` is what the last measurement took of it."""
    state = SimpleNamespace(memory=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)  # loads a compiler
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: state.memory)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=100))
    return state


@pytest.fixture
def probe(minutes, monkeypatch, stage3_config):
    """`probe(seconds, cost)`: the best where a step takes cost(factor, settings), and all that it noted."""

    def run(seconds, cost):
        notes = []
        monkeypatch.setattr(
            minutes,
            "measure",
            lambda config, trial, *_: replace(trial, costs=(cost(trial.factor, trial.settings),) * 2),
        )
        note = lambda what, **values: notes.append(values)  # noqa: E731
        return minutes.Probe(stage3_config, seconds, note, Path("unused")).search(), notes

    return run


def test_the_batch_is_doubled_until_that_gains_nothing(probe, gpu):
    # Up to four times the batch for the same time, then in proportion.
    best, _ = probe(170, lambda n, _: 0.02 * max(1, n / 4))
    assert best.factor == 4
    assert "channels_last" not in best.settings  # tried, and no quicker
    assert best.workers == max(1, min(16, os.cpu_count() - 1))


def test_the_batch_stays_where_there_would_be_too_few_steps(probe, gpu):
    # Larger batches go on gaining, but 61 s hold 305 steps of the fourfold batch and 216 of the eightfold.
    best, _ = probe(61, lambda n, _: 0.1 * n**0.5)
    assert best.factor == 4


def test_a_full_memory_ends_the_doubling(probe, gpu):
    def cost(factor, _):
        if factor == 4:
            raise torch.OutOfMemoryError("too much")
        return 0.02

    best, notes = probe(170, cost)
    assert best.factor == 2
    assert [note["failed"] for note in notes if "failed" in note] == ["too much"]

    def nearly_full(factor, _):
        gpu.memory = 30 * factor
        return 0.02

    assert probe(170, nearly_full)[0].factor == 2


@pytest.mark.parametrize(
    ("seconds", "gain", "compiles"), [(170, 0.5, False), (200, 0.5, True), (200, 1, False)]
)
def test_compiling_needs_a_long_stage_and_a_gain(probe, gpu, seconds, gain, compiles):
    def cost(factor, settings):
        return 0.5 * factor * (gain if settings.get("compile") else 1)

    best, _ = probe(seconds, cost)
    assert best.settings.get("compile", False) is compiles


@pytest.mark.parametrize(
    ("has_bf16", "gain", "precision"), [(True, 2, "bf16"), (True, 1, "no"), (False, 2, "no")]
)
def test_a_cpu_keeps_the_batch_and_takes_bf16_where_that_pays(probe, monkeypatch, has_bf16, gain, precision):
    monkeypatch.setattr(Engine, "has_bf16", has_bf16)
    best, notes = probe(600, lambda _, s: 0.6 / (gain if s.get("precision") == "bf16" else 1))
    assert best.settings.get("precision", "no") == precision
    assert {note["factor"] for note in notes} == {1}
    assert not any("channels_last" in note for note in notes)


def test_a_measurement_ends_when_its_time_is_up(minutes):
    began = time.monotonic()
    with pytest.raises(minutes.TimeUp), minutes.alarm(0.05):
        time.sleep(5)
    assert time.monotonic() - began < 4


def test_a_probe_leaves_nothing_and_changes_nothing(minutes, settings, tmp_path):
    config = settings("stage1", tmp_path / "run", phases=[{"steps": 2, "size": SIDE, "batch": 2}])
    trial = minutes.measure(config, minutes.Trial(2), tmp_path / "probe", 3, 1)
    assert len(trial.costs) == 1
    assert 0 < trial.costs[0] < 60
    assert list(tmp_path.iterdir()) == []
    after = load_checkpoint(train(config)).state
    plain = load_checkpoint(train(config.model_copy(update={"out": tmp_path / "plain"}))).state
    assert all(torch.equal(after[name], plain[name]) for name in plain)

"""A run's folder: stopping and going on, divergence, other settings."""

import itertools
import json
import math
import shutil
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import facemend
import facemend.training.run as module
from conftest import contents, read_log
from facemend.errors import ConfigError, FacemendError, InputError, OutputError, WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint
from facemend.training import stage1_autoencoder, train
from facemend.training.engine import Engine
from facemend.training.report import write_report
from facemend.training.run import Run
from facemend.training.same_run import other_settings
from facemend.training.schedule import learning_rate

SIDE = 64
ADAMW = {"kind": "adamw", "lr": 1e-4}  # the bf16 of Muon would magnify rounding
BOTH = [
    {"width": 8, "layers": 2},
    {"kind": "projected", "lr": 1e-3, "views_per_step": 1, "gate": False, "warmup": 3},
]


def tensors(value: Any, path: str = "") -> dict[str, Tensor]:
    """All tensors and numbers of a nested state by their path."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for name, inner in items for k, v in tensors(inner, f"{path}/{name}").items()}
    return {path: torch.as_tensor(value)} if isinstance(value, Tensor | int | float) else {}


def load(config) -> dict[str, Tensor]:
    state = torch.load(config.out / "state.pt", weights_only=True)
    assert state.pop("seconds") > 0
    return tensors(state)


def assert_same_state(config, other) -> None:
    """Weights, averages, optimisers and step, bit by bit."""
    first, second = load(config), load(other)
    assert first.keys() == second.keys()
    assert not [name for name in first if not torch.equal(first[name], second[name])]
    product = [(c.out / "model.safetensors").read_bytes() for c in (config, other)]
    assert len(product[0]) == len(product[1])


def stop_at(config, *stops: int) -> None:
    """Train until the user presses Ctrl-C at a step, and on until the next."""
    for step in stops:

        def interrupt(report, step=step) -> None:
            if report.step == step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(config, interrupt)
        assert torch.load(config.out / "state.pt", weights_only=True)["step"] < step


def steps_of(config) -> list[int]:
    """The steps that are trained now."""
    seen: list[int] = []
    train(config, lambda report: seen.append(report.step))
    return seen


@pytest.fixture(scope="module")
def stage1_settings(settings, faces):
    def make(out, **changes):
        values = {
            "save_every": 2,
            "preview_every": 4,
            "perceptual": {"net": "alex", "jitter": 2},
            "codebook": {"bypass": 4, "revive_every": 3, "decay": 0.5},
            "adversary": BOTH,
            "data": {
                "folders": [{"path": faces}],
                "holdout": 2,
                "flip": 0.5,
                "crop": (0.8, 1.0),
                "rotate": 5.0,
                "light": 0.1,
                "workers": 2,
            },
            "phases": [
                {"steps": 6, "size": 40, "batch": 3},
                {"steps": 4, "size": SIDE, "batch": 2, "adversary": True},
            ],
        }
        return settings("stage1", out, **(values | changes))

    return make


@pytest.fixture(scope="module")
def unbroken(stage1_settings, tmp_path_factory):
    config = stage1_settings(tmp_path_factory.mktemp("unbroken") / "run")
    train(config)
    return config


@pytest.fixture
def short(settings, tmp_path):
    """`short(steps, name, **changes)`: a plain stage I."""

    def make(steps=4, name="run", **changes):
        phases = [{"steps": steps, "size": SIDE, "batch": 2}]
        return settings("stage1", tmp_path / name, **({"phases": phases} | changes))

    return make


def test_stage1_goes_on_as_if_it_had_not_stopped(stage1_settings, unbroken, tmp_path):
    """The saved steps are 2, 4 and 8: behind them the k-means start, another size, two discriminators."""
    config = stage1_settings(tmp_path / "run")
    stop_at(config, 3, 5, 9)
    train(config)
    assert_same_state(config, unbroken)
    state = load(config)
    assert float(state["/discriminator_progress_projected/steps"]) == 4
    wanted = {f"{k}_{n}" for k in ("gan", "lambda", "d_loss", "real", "fake") for n in ("patch", "projected")}
    lines = [line for line in read_log(unbroken.out) if "l1" in line]
    assert [wanted <= set(line) for line in lines] == [step > 6 for step in range(1, 11)]


def test_stage2_goes_on_as_if_it_had_not_stopped(settings, stage1, tmp_path):
    configs = [
        settings(
            "stage2",
            tmp_path / name,
            stage1=stage1.path,
            save_every=2,
            phases=[
                {"steps": 3, "batch": 2, "degradation": "heavy"},
                {"steps": 2, "batch": 3, "degradation": {"mixed": 0.5, "scan": 1}},
            ],
        )
        for name in ("stopped", "unbroken")
    ]
    stop_at(configs[0], 3)
    for config in configs:
        train(config)
    assert_same_state(*configs)


def test_stage3_goes_on_as_if_it_had_not_stopped(settings, stage1, stage2, unbroken, tmp_path):
    configs = [
        settings(
            "stage3",
            tmp_path / name,
            stage1=stage1.path,
            stage2=stage2.path,
            discriminator=unbroken.out / "discriminator.safetensors",
            adversary=BOTH,
            save_every=2,
            perceptual={"net": "alex", "jitter": 2},
            phases=[
                {"steps": 3, "batch": 2, "degradation": "mixed", "w": [0.0, 1.2], "adversary": True},
                {"steps": 1, "batch": 2, "degradation": "heavy", "image_losses": False},
                {"steps": 2, "batch": 3, "degradation": "medium", "w": [0.5, 1.0], "adversary": True},
            ],
        )
        for name in ("stopped", "unbroken")
    ]
    stop_at(configs[0], 3)
    for config in configs:
        train(config)
    assert_same_state(*configs)
    # The projections stay through both stages, the heads go on.
    saved = load_checkpoint(unbroken.out / "discriminator.safetensors")
    assert saved.info["adversaries"] == ["patch", "projected"]
    state = load(configs[0])
    for level in range(4):
        mix = state[f"/discriminator_projected/mix{level}"]
        assert torch.equal(mix, saved.state[f"projected.mix{level}"])
    head = "heads.0.0.parametrizations.weight.original"
    assert not torch.equal(state[f"/discriminator_projected/{head}"], saved.state[f"projected.{head}"])


def test_draws_are_those_of_seed_and_step(short):
    draws = {
        float(torch.rand((), generator=Run(short(seed=seed, name=str(seed)), ()).generator(step)))
        for seed, step in itertools.product((0, 1), (0, 1))
    }
    assert len(draws) == 4


def test_a_finished_run_is_left_as_it_is(unbroken, stage1_settings):
    """Also where only how often it reports is another."""
    before = (unbroken.out / "model.safetensors").stat().st_mtime_ns
    for config in (unbroken, stage1_settings(unbroken.out, log_every=5, save_every=3, preview_every=7)):
        assert steps_of(config) == []
    assert (unbroken.out / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("log_every", [1, 5])
def test_divergence_spares_the_saved_state_and_its_advice_can_be_followed(short, monkeypatch, log_every):
    """The code loss of the third step is not a number."""
    real, calls = stage1_autoencoder.code_loss, itertools.count(1)

    def broken(*arguments: Any) -> Tensor:
        loss: Tensor = real(*arguments)
        return loss * float("nan") if next(calls) >= 3 else loss

    config = short(5, save_every=1, log_every=log_every)
    with monkeypatch.context() as patch:
        patch.setattr(stage1_autoencoder, "code_loss", broken)
        advice = r"code is not finite at step 3; .*optim.lr.*optim.clip.* resumes from .*diverged_step000003"
        with pytest.raises(FacemendError, match=advice):
            train(config)
    assert int(load(config)["/step"]) == 2
    assert all(value.isfinite().all() for value in load(config).values())
    batch = load_file(config.out / "diverged_step000003_process0.safetensors")
    assert batch["hq"].shape == (2, 3, SIDE, SIDE)
    assert batch["hq"].abs().max() <= 1
    assert batch["face"].shape == (2,)
    assert steps_of(short(5, save_every=1, optim={"lr": 1e-5, "clip": 0.5})) == [3, 4, 5]


@pytest.mark.parametrize(
    "change", [{"seed": 7}, {"pixel_weight": 2.0}, {"phases": [{"steps": 5, "size": SIDE, "batch": 3}]}]
)
def test_a_folder_of_another_run_is_not_touched(unbroken, stage1_settings, change):
    before = contents(unbroken.out)
    with pytest.raises(ConfigError, match=f"holds a run that was begun with another {next(iter(change))};"):
        train(stage1_settings(unbroken.out, **change))
    assert before == contents(unbroken.out)


def test_a_start_that_failed_may_be_corrected(short):
    config = short(3, data={"folders": [{"path": "nowhere"}]})
    with pytest.raises(InputError):
        train(config)
    train(short(3))


def test_a_damaged_state_is_named(short):
    config = short(3, save_every=1)
    stop_at(config, 2)
    state = config.out / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"state\.pt: cannot be read .*delete it to begin anew"):
        train(config)


def test_infinite_settings_and_tuples_of_sizes_are_those_that_were_recorded(short, stage1_settings):
    adversary = [{"width": 8, "layers": 2, "limit": math.inf}]
    config = short(3, save_every=1, adversary=adversary)
    config = config.model_copy(update={"sizes": {"autoencoder": {"scales": ()}}})
    assert other_settings(config.model_dump_json(), config) == []


def test_a_run_goes_on_with_as_many_processes(short):
    config = short(3, save_every=1)
    stop_at(config, 2)
    record = config.out / "environment.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"processes": 8}))
    with pytest.raises(ConfigError, match=r"begun with 8 processes, now there are 1: .*--nproc-per-node 8"):
        train(config)
    assert json.loads(record.read_text())["processes"] == 8


def test_a_run_that_is_older_than_some_settings_goes_on(short):
    """And than some names in its state. Before there was a choice, the optimiser was AdamW."""
    phases = [{"steps": 4, "size": SIDE, "batch": 2, "adversary": True}]
    config = short(phases=phases, save_every=2, optim=ADAMW)
    stop_at(config, 3)
    record, state = config.out / "config.json", config.out / "state.pt"
    values = json.loads(record.read_text())
    (adversary,) = values["adversary"]
    values["adversary"] = {k: adversary[k] for k in ("weight", "limit", "width", "layers", "norm", "lr")}
    del values["optim"]["kind"], values["optim"]["adam_share"], values["sizes"], values["codebook"]["decay"]
    del values["data"]["cache_mb"], values["data"]["folders"][0]["without"]
    record.write_text(json.dumps(values))
    old = {"codebook_ema": "care", "discriminator": "critic", "discriminator_optimizer": "critic_optimizer"}
    held = {old.get(k, k): v for k, v in torch.load(state, weights_only=True).items()}
    assert len(set(held) & set(old.values())) == 3
    torch.save(held, state)
    with pytest.raises(ConfigError, match="another optim;"):
        train(short(phases=phases, save_every=2, optim={"lr": 1e-4}))
    assert steps_of(config) == [3, 4]


def test_a_plan_may_be_cut_on_the_way(short):
    """The rate then falls to the new end, and what is done counts as before."""
    phases = [{"steps": 9, "size": SIDE, "batch": 2}]
    stop_at(short(phases=phases, save_every=1), 3)
    cut = short(phases=[phases[0] | {"steps": 4}], save_every=1)
    assert steps_of(cut) == [3, 4]
    (group, *_) = torch.load(cut.out / "state.pt", weights_only=True)["optimizer"]["param_groups"]
    assert group["lr"] == pytest.approx(learning_rate(cut.optim, cut.optim.lr, 3, 4))
    with pytest.raises(ConfigError, match=r"4 steps are done, more than the config's 2"):
        train(short(phases=[phases[0] | {"steps": 2}]))


def test_reports(short):
    reports = []
    config = short(3, log_every=2)
    train(config, reports.append)
    assert [report.step for report in reports] == [2, 3]
    assert all(report.steps == 3 for report in reports)
    assert all(report.images_per_second > 0 for report in reports)
    assert reports[0].seconds_left > 0
    assert reports[1].seconds_left == 0
    lines = [line for line in read_log(config.out) if "l1" in line]
    assert [line["l1"] for line in lines] == [pytest.approx(r.values["l1"], abs=1e-6) for r in reports]


def test_a_run_says_what_it_ran_on_and_learned_from(unbroken, faces):
    environment = json.loads((unbroken.out / "environment.json").read_text())
    assert environment["facemend"] == facemend.__version__
    assert environment["torch"] == torch.__version__
    assert environment["device"]
    facts = json.loads((unbroken.out / "data.json").read_text())
    assert (facts["faces"], facts["held_out"]) == (4, 2)
    assert facts["folders"] == {faces.name: 4}
    assert load_checkpoint(unbroken.out / "model.safetensors").info["data"] == facts["digest"]


def test_a_stop_between_product_and_state_loses_nothing(short, tmp_path, monkeypatch):
    """At the last step nothing would be left to do, so the product would stay what it was for good."""
    config = short(6, "old", save_every=3)
    save = module.save_checkpoint

    def interrupted(path, state, sizes, info):
        if info["step"] == 6:
            raise KeyboardInterrupt
        save(path, state, sizes, info)

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_checkpoint", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    config.out.rename(tmp_path / "new")  # a moved folder goes on too
    moved = short(6, "new", save_every=3)
    assert steps_of(moved) == [4, 5, 6]
    assert load_checkpoint(moved.out / "model.safetensors").info["step"] == 6


def test_a_full_disk_ends_a_run_that_can_go_on(short, monkeypatch):
    """The state of step 2 does not fit any more; the run goes on from that of step 1."""
    config = short(3, save_every=1)
    save = torch.save

    def fail(state, file):
        if state["step"] == 2:
            file.write_bytes(b"half")
            raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")
        save(state, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(OutputError, match=r"state\.pt: cannot be written"):
            train(config)
    assert not list(config.out.glob("*.part"))
    assert steps_of(config) == [2, 3]


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3"])
def test_a_batch_in_parts_is_the_batch(settings, stage1, stage2, tmp_path, stage):
    """The same step with less memory. Windows of perceptual terms fall elsewhere in each part: only L1."""
    changes: dict[str, Any] = {"phases": [{"steps": 2, "batch": 4, "degradation": "medium"}]}
    if stage == "stage1":
        changes["phases"] = [{"steps": 2, "size": SIDE, "batch": 4}]
    if stage != "stage1":
        changes["stage1"] = stage1.path
    if stage != "stage2":
        changes["perceptual"] = {"net": "alex", "weight": 0.0}
    if stage == "stage3":
        changes["stage2"], changes["phases"][0]["w"] = stage2.path, [0.0, 1.2]
    states = []
    for parts in (1, 4):
        config = settings(stage, tmp_path / str(parts), accumulate=parts, optim=ADAMW, **changes)
        train(config)
        states.append({k: v for k, v in load(config).items() if k.startswith("/net/")})
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accumulate": 3}, "batch = 4 cannot be cut into accumulate = 3 parts"),
        (
            {"accumulate": 2, "phases": [{"steps": 1, "size": SIDE, "batch": 4, "adversary": True}]},
            "accumulate does not go with an adversary",
        ),
    ],
)
def test_parts_that_cannot_be(short, change, message):
    with pytest.raises(ValueError, match=message):
        short(**({"phases": [{"steps": 1, "size": SIDE, "batch": 4}]} | change))


def test_layout_and_compilation_are_asked_for(short, monkeypatch):
    """Both change how fast a step is, not what it does; whether they are asked for is what can be seen."""
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    losses = []
    for name, change in (("plain", {}), ("fast", {"channels_last": True, "compile": True})):
        config = short(2, name, **change)
        train(config)
        losses.append(read_log(config.out)[0])
    assert {"Encoder", "Decoder"} <= set(compiled)
    # Of the first step: an optimiser that evens out its gradient makes much of the last bits of small ones.
    for name in ("l1", "lpips_alex", "code"):
        assert losses[1][name] == pytest.approx(losses[0][name], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("has", [True, False])
def test_bf16_only_where_the_device_has_it(short, monkeypatch, caplog, has):
    monkeypatch.setattr(Engine, "has_bf16", has)
    run = Run(short(precision="bf16"), ())
    with run.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (torch.bfloat16 if has else torch.float32)
    assert ("float32, which is quicker here" in caplog.text) is not has
    recorded = json.loads((run.folder / "environment.json").read_text())["precision"]
    assert recorded == ("bf16" if has else "fp32")


def test_a_run_of_some_minutes_ends_in_time_with_the_rate_fallen(short, monkeypatch):
    """The clock jumps to .5, .95 and 1.2 of the time behind the first three of a thousand steps."""
    config = short(1000, minutes=1.0, optim={"lr": 1e-3, "final": 0.0})
    now, rates, original = [0.0], [], module.learning_rate
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def jump(report) -> None:
        now[0] = {1: 30.0, 2: 57.0, 3: 72.0}[report.step]

    def keep(*arguments):
        rates.append(original(*arguments))
        return rates[-1]

    monkeypatch.setattr(module, "learning_rate", keep)
    train(config, jump)
    assert load_checkpoint(config.out / "model.safetensors").info["step"] == 3
    assert list(dict.fromkeys(round(rate / 1e-3, 3) for rate in rates)) == [1.0, 0.5, 0.006]
    assert "3 of 1,000 (ended by its minutes)" in write_report(config.out).read_text(encoding="utf-8")


def test_a_run_of_some_minutes_counts_those_before_a_stop(short, monkeypatch):
    """Stopped, it goes on with the time that is left; when it is over, the same command does nothing."""
    config = short(1000, minutes=1.0, save_every=1)
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def stop(report) -> None:
        now[0] += 21.0
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, stop)  # saved after two steps, at 42 s
    assert "ended" not in write_report(config.out).read_text(encoding="utf-8")
    seen = []

    def jump(report) -> None:
        now[0] += 10.0
        seen.append(report.step)

    now[0] = 1000.0
    train(config, jump)
    assert seen == [3, 4]
    product = (config.out / "model.safetensors").read_bytes()
    train(config, jump)
    assert seen == [3, 4]
    assert product == (config.out / "model.safetensors").read_bytes()


def test_a_run_goes_on_with_the_pictures_that_it_began_with(short, faces, tmp_path):
    shutil.copytree(faces, tmp_path / "faces")
    config = short(4, save_every=1, data={"folders": [{"path": tmp_path / "faces"}], "holdout": 2})
    stop_at(config, 3)
    gone = next(file for file in sorted((tmp_path / "faces").iterdir()))
    moved = gone.rename(tmp_path / gone.name)
    with pytest.raises(
        InputError, match=r"run: began with other pictures \(\d+ faces; now \d+\); put them back"
    ):
        train(config)
    moved.rename(gone)
    assert steps_of(config) == [3, 4]


def test_what_is_left_of_some_minutes_is_no_more_than_these(short, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    run = Run(config := short(1000, minutes=1.0), config.phases)
    now[0] += 42
    assert run._left(1e9) == pytest.approx(18.0)
    assert run._left(3.0) == 3.0

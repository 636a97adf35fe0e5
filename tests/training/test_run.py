"""A run's folder: stopping and going on, divergence, other settings."""

import itertools
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import read_log
from facemend.errors import ConfigError, FacemendError, OutputError
from facemend.networks.codeformer.checkpoint import load_checkpoint
from facemend.training import stage1_autoencoder, train
from facemend.training.engine import Engine
from facemend.training.run import Run

SIDE = 64


def tensors(value: Any, path: str = "") -> dict[str, Tensor]:
    """All tensors and numbers of a nested state by their path."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {path: torch.as_tensor(value)} if isinstance(value, Tensor | int | float) else {}
    return {k: v for name, inner in items for k, v in tensors(inner, f"{path}/{name}").items()}


def load(config) -> dict[str, Tensor]:
    return tensors(torch.load(config.out / "state.pt", weights_only=True))


def assert_same_state(config, other) -> None:
    """Weights, averages, optimisers and step, bit by bit."""
    first, second = load(config), load(other)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different
    product = [(c.out / "model.safetensors").read_bytes() for c in (config, other)]
    assert len(product[0]) == len(product[1])


def stop_at(config, step: int) -> None:
    """Train until the user presses Ctrl-C at a step."""

    def interrupt(report) -> None:
        if report.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, interrupt)
    assert torch.load(config.out / "state.pt", weights_only=True)["step"] < step


STAGE1 = {
    "save_every": 2,
    "preview_every": 4,
    "perceptual": {"net": "alex", "jitter": 2},
    "codebook": {"bypass": 4, "revive_every": 3, "decay": 0.5},
    "data_change": {"flip": 0.5, "crop": (0.8, 1.0), "rotate": 5.0, "light": 0.1, "workers": 2},
    "phases": [
        {"steps": 6, "size": SIDE, "batch": 2},
        {"steps": 4, "size": 40, "batch": 3, "adversary": True},
    ],
}


@pytest.fixture(scope="module")
def stage1_settings(settings, faces):
    def make(out, **changes):
        values = dict(STAGE1)
        data = {"folders": [{"path": faces}], "holdout": 2, **values.pop("data_change")}
        return settings("stage1", out, **({**values, "data": data} | changes))

    return make


@pytest.fixture(scope="module")
def unbroken(stage1_settings, tmp_path_factory):
    config = stage1_settings(tmp_path_factory.mktemp("unbroken") / "run")
    train(config)
    return config


@pytest.mark.parametrize("step", [3, 5, 9], ids=["before k-means", "at k-means", "adversary"])
def test_stage1_goes_on_as_if_it_had_not_stopped(stage1_settings, unbroken, tmp_path, step):
    """The saved step is 2, 4 or 8: behind it lie the k-means start, a size boundary, and the adversary."""
    config = stage1_settings(tmp_path / "run")
    stop_at(config, step)
    train(config)
    assert_same_state(config, unbroken)


def test_seed_matters(stage1_settings, unbroken, tmp_path):
    """Else the test above would pass for a run that trains nothing."""
    config = stage1_settings(tmp_path / "run", seed=1)
    train(config)
    first, second = load(config), load(unbroken)
    assert not torch.equal(first["/net/encoder.out.weight"], second["/net/encoder.out.weight"])


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


def test_stage3_goes_on_as_if_it_had_not_stopped(settings, stage1, stage2, tmp_path):
    configs = [
        settings(
            "stage3",
            tmp_path / name,
            stage1=stage1.path,
            stage2=stage2.path,
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


def test_a_finished_run_is_left_as_it_is(unbroken):
    before = (unbroken.out / "model.safetensors").stat().st_mtime_ns
    steps = []
    assert train(unbroken, lambda report: steps.append(report.step)) == unbroken.out / "model.safetensors"
    assert steps == []
    assert (unbroken.out / "model.safetensors").stat().st_mtime_ns == before


PHASES = [{"steps": 6, "size": SIDE, "batch": 2}]


def make_nan_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The code loss of one step is not a number."""
    real, calls = stage1_autoencoder.code_loss, itertools.count(1)

    def broken(*arguments: Any) -> Tensor:
        loss: Tensor = real(*arguments)
        return loss * float("nan") if next(calls) >= call else loss

    monkeypatch.setattr(stage1_autoencoder, "code_loss", broken)


@pytest.mark.parametrize("log_every", [1, 5])
def test_divergence_ends_the_run_and_spares_the_saved_state(settings, tmp_path, monkeypatch, log_every):
    config = settings("stage1", tmp_path / "run", phases=PHASES, save_every=1, log_every=log_every)
    with monkeypatch.context() as patch:
        make_nan_at(patch, 3)
        with pytest.raises(FacemendError, match=r"code is not finite at step \d; .*optim.lr.*optim.clip"):
            train(config)
    assert int(load(config)["/step"]) == 2
    assert all(value.isfinite().all() for value in load(config).values())
    train(config)
    assert int(load(config)["/step"]) == 6


def test_the_advice_after_divergence_can_be_followed(settings, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        make_nan_at(patch, 3)
        with pytest.raises(FacemendError, match="resumes from its last saved state"):
            train(settings("stage1", out, phases=PHASES, save_every=1))
    calmer = settings("stage1", out, phases=PHASES, save_every=1, optim={"lr": 1e-5, "clip": 0.5})
    reports = []
    train(calmer, lambda report: reports.append(report.step))
    assert reports == [3, 4, 5, 6]


def test_a_rate_that_is_far_too_high_is_noticed(settings, tmp_path):
    config = settings("stage1", tmp_path / "run", phases=PHASES, optim={"lr": 1e30})
    with pytest.raises(FacemendError, match="not finite"):
        train(config)


@pytest.mark.parametrize(
    "change", [{"seed": 7}, {"pixel_weight": 2.0}, {"phases": [{"steps": 3, "size": SIDE, "batch": 2}]}]
)
def test_a_folder_of_another_run_is_not_touched(unbroken, stage1_settings, change):
    before = {path: path.read_bytes() for path in unbroken.out.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="holds a run with other settings"):
        train(stage1_settings(unbroken.out, **change))
    assert before == {path: path.read_bytes() for path in unbroken.out.rglob("*") if path.is_file()}


def test_how_often_it_reports_may_change(unbroken, stage1_settings):
    train(stage1_settings(unbroken.out, log_every=5, save_every=3, preview_every=7))


def test_a_folder_from_before_there_were_several_adversaries_goes_on(settings, tmp_path):
    phases = [{"steps": 4, "size": SIDE, "batch": 2, "adversary": True}]
    config = settings("stage1", tmp_path / "run", phases=phases, save_every=2)
    stop_at(config, 3)
    record = config.out / "config.json"
    values = json.loads(record.read_text())
    (adversary,) = values["adversary"]
    values["adversary"] = {k: adversary[k] for k in ("weight", "limit", "width", "layers", "norm", "lr")}
    record.write_text(json.dumps(values))
    reports = []
    train(config, lambda report: reports.append(report.step))
    assert reports == [3, 4]


def test_reports(settings, tmp_path):
    reports = []
    config = settings(
        "stage1", tmp_path / "run", log_every=2, phases=[{"steps": 3, "size": SIDE, "batch": 2}]
    )
    train(config, reports.append)
    assert [report.step for report in reports] == [2, 3]
    assert all(report.steps == 3 for report in reports)
    assert all(report.images_per_second > 0 for report in reports)
    assert reports[0].seconds_left > 0
    assert reports[1].seconds_left == 0
    lines = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "l1" in line]
    assert [line["l1"] for line in lines] == [pytest.approx(r.values["l1"], abs=1e-6) for r in reports]


def test_environment_is_recorded(unbroken):
    import facemend

    environment = json.loads((unbroken.out / "environment.json").read_text())
    assert environment["facemend"] == facemend.__version__
    assert environment["torch"] == torch.__version__
    assert environment["device"]


def test_a_stop_between_state_and_product_loses_nothing(settings, tmp_path, monkeypatch):
    """At the last step nothing would be left to do, so the product would stay what it was for good."""
    config = settings("stage1", tmp_path / "run", phases=PHASES, save_every=3)
    save = stage1_autoencoder.save_checkpoint

    def interrupted(path, state, sizes, info):
        if info["step"] == 6:
            raise KeyboardInterrupt
        save(path, state, sizes, info)

    with monkeypatch.context() as patch:
        patch.setattr(stage1_autoencoder, "save_checkpoint", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    assert load_checkpoint(train(config)).info["step"] == 6


def test_a_moved_folder_goes_on(settings, tmp_path):
    config = settings("stage1", tmp_path / "old", phases=PHASES, save_every=2)
    stop_at(config, 3)
    config.out.rename(tmp_path / "new")
    reports = []
    moved = settings("stage1", tmp_path / "new", phases=PHASES, save_every=2)
    train(moved, lambda report: reports.append(report.step))
    assert reports == [3, 4, 5, 6]


def test_a_batch_in_parts_is_the_batch(settings, stage1, tmp_path):
    """Gradient accumulation: the same step with less memory. Muon's bf16 would magnify the rounding."""
    phases = [{"steps": 4, "batch": 4, "degradation": "medium"}]
    states = []
    for parts in (1, 2, 4):
        config = settings(
            "stage2",
            tmp_path / str(parts),
            stage1=stage1.path,
            phases=phases,
            accumulate=parts,
            optim={"kind": "adamw", "lr": 1e-4},
        )
        train(config)
        states.append(load(config))
    weights = [name for name in states[0] if name.startswith("/net/")]
    for other in states[1:]:
        for name in weights:
            torch.testing.assert_close(other[name], states[0][name], rtol=1e-3, atol=1e-4)


def test_stages_with_pictures_in_parts(settings, stage1, stage2, tmp_path):
    """Windows of perceptual terms fall elsewhere in each part, so only L1 is compared."""
    only_l1 = {"perceptual": {"net": "alex", "weight": 0.0}, "optim": {"kind": "adamw", "lr": 1e-4}}
    for parts, name in ((1, "whole"), (2, "parts")):
        changes = only_l1 | {"accumulate": parts}
        one = settings(
            "stage1", tmp_path / f"1{name}", phases=[{"steps": 3, "size": SIDE, "batch": 4}], **changes
        )
        three = settings(
            "stage3",
            tmp_path / f"3{name}",
            stage1=stage1.path,
            stage2=stage2.path,
            phases=[{"steps": 3, "batch": 4, "degradation": "mixed", "w": [0.0, 1.2]}],
            **changes,
        )
        train(one)
        train(three)
    for stage in "13":
        states = [
            torch.load(tmp_path / f"{stage}{name}" / "state.pt", weights_only=True)["net"]
            for name in ("whole", "parts")
        ]
        for key, value in states[0].items():
            torch.testing.assert_close(states[1][key], value, rtol=1e-3, atol=1e-4)


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
def test_parts_that_cannot_be(settings, tmp_path, change, message):
    values = {"phases": [{"steps": 1, "size": SIDE, "batch": 4}], **change}
    with pytest.raises(ValueError, match=message):
        settings("stage1", tmp_path / "run", **values)


def test_layout_and_compilation_are_asked_for(settings, tmp_path, monkeypatch):
    """Both change how fast a step is, not what it does; whether they are asked for is what can be seen."""
    compiled = []
    monkeypatch.setattr(Engine, "has_channels_last", True)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    losses = []
    for name, change in (("plain", {}), ("fast", {"channels_last": True, "compile": True})):
        config = settings(
            "stage1", tmp_path / name, phases=[{"steps": 2, "size": SIDE, "batch": 2}], **change
        )
        train(config)
        losses.append(read_log(config.out)[0])
    assert {"Encoder", "Decoder"} <= set(compiled)
    # Of the first step: an optimiser that evens out its gradient makes much of the last bits of small ones.
    for name in ("l1", "lpips_alex", "code"):
        assert losses[1][name] == pytest.approx(losses[0][name], rel=1e-3, abs=1e-6)


def test_pictures_are_not_laid_out_by_pixel_on_a_cpu(settings, tmp_path, caplog):
    """It crashes there: torch's group norm, backward, in stage III."""
    phases = [{"steps": 1, "size": SIDE, "batch": 2}]
    run = Run(settings("stage1", tmp_path / "run", channels_last=True, phases=phases), phases=())
    net = run.place(torch.nn.Conv2d(4, 4, 3))
    assert net.weight.is_contiguous()
    assert "channels_last is left out" in caplog.text


@pytest.mark.parametrize("has", [True, False])
def test_bf16_only_where_the_device_has_it(settings, tmp_path, monkeypatch, caplog, has):
    monkeypatch.setattr(Engine, "has_bf16", has)
    phases = [{"steps": 1, "size": SIDE, "batch": 2}]
    run = Run(settings("stage1", tmp_path / "run", precision="bf16", phases=phases), phases=())
    with run.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (torch.bfloat16 if has else torch.float32)
    assert ("float32, which is quicker here" in caplog.text) is not has
    assert json.loads((run.folder / "environment.json").read_text())["precision"] == (
        "bf16" if has else "fp32"
    )


def test_a_run_says_what_it_learned_from(unbroken, stage1_settings, faces, tmp_path):
    facts = json.loads((unbroken.out / "data.json").read_text())
    assert (facts["faces"], facts["held_out"]) == (4, 2)
    assert facts["folders"] == {faces.name: 4}
    assert load_checkpoint(unbroken.out / "model.safetensors").info["data"] == facts["digest"]


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3"])
def test_a_run_of_some_minutes_ends_in_time_with_the_rate_fallen(
    settings, request, tmp_path, monkeypatch, stage
):
    """The clock jumps to .5, .95 and 1.2 of the time behind the first three of a thousand steps."""
    import facemend.training.run as module

    changes: dict[str, Any] = {"minutes": 1.0, "optim": {"lr": 1e-3, "final": 0.0}}
    if stage == "stage1":
        phases = [{"steps": 1000, "size": SIDE, "batch": 2}]
    else:
        changes["stage1"] = request.getfixturevalue("stage1").path
        phases = [{"steps": 1000, "batch": 2, "degradation": "medium"}]
    if stage == "stage3":
        changes["stage2"] = request.getfixturevalue("stage2").path
        phases[0]["w"] = [0.0, 1.0]
    config = settings(stage, tmp_path / "run", phases=phases, **changes)

    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    rates = []

    def jump(report) -> None:
        now[0] = {1: 30.0, 2: 57.0, 3: 72.0}[report.step]

    original = module.learning_rate

    def keep(*arguments):
        rates.append(original(*arguments))
        return rates[-1]

    monkeypatch.setattr(module, "learning_rate", keep)
    train(config, jump)
    assert load_checkpoint(config.out / "model.safetensors").info["step"] == 3
    steps = list(dict.fromkeys(round(rate / 1e-3, 3) for rate in rates))
    assert steps == [1.0, 0.5, 0.006]


def test_a_full_disk_ends_a_run_that_can_go_on(settings, tmp_path, monkeypatch):
    """The state of step 2 does not fit any more; the run goes on from that of step 1."""
    phases = [{"steps": 3, "size": SIDE, "batch": 2}]
    config = settings("stage1", tmp_path / "run", phases=phases, save_every=1)
    whole = settings("stage1", tmp_path / "whole", phases=phases, save_every=1)
    save, calls = torch.save, []

    def fail(state, file):
        calls.append(state["step"])
        if state["step"] == 2:
            file.write_bytes(b"half")
            raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")
        save(state, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(OutputError, match=r"state\.pt: cannot be written"):
            train(config)
    assert calls == [1, 2]
    assert not list(config.out.glob("*.part"))
    train(config)
    train(whole)
    assert_same_state(config, whole)


def test_a_run_from_before_there_was_muon_was_one_of_adamw(settings, tmp_path):
    """Its record names no optimiser: a run by Muon is another run, one by AdamW goes on."""
    phases = [{"steps": 2, "size": SIDE, "batch": 2}]
    out = tmp_path / "run"
    adamw = settings("stage1", out, phases=phases, save_every=1, optim={"kind": "adamw", "lr": 1e-4})
    train(adamw)
    record = out / "config.json"
    values = json.loads(record.read_text())
    del values["optim"]["kind"], values["optim"]["adam_share"]
    record.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="other settings"):
        train(settings("stage1", out, phases=phases, save_every=1, optim={"lr": 1e-4}))
    train(adamw)

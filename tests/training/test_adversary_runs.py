"""Several discriminators in whole tiny runs of stages I and III, stopped and gone on."""

import json

import pytest
import torch

from facemend.networks.codeformer.checkpoint import load_checkpoint
from facemend.training import train

SIDE = 64
BOTH = [
    {"width": 8, "layers": 2},
    {"kind": "projected", "lr": 1e-3, "views_per_step": 1, "gate": False, "warmup": 3},
]


def nested(value, path=""):
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for name, inner in items for k, v in nested(inner, f"{path}/{name}").items()}
    return {path: torch.as_tensor(value)} if isinstance(value, torch.Tensor | int | float) else {}


def goes_on(config, unbroken, step):
    """Stop a run, let it go on, and compare it with one that was not stopped, bit by bit."""

    def interrupt(report):
        if report.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, interrupt)
    train(config)
    train(unbroken)
    first, second = (nested(torch.load(c.out / "state.pt", weights_only=True)) for c in (config, unbroken))
    assert first.keys() == second.keys()
    assert not [name for name in first if not torch.equal(first[name], second[name])]
    return first


@pytest.fixture(scope="module")
def runs(settings, stage1, stage2, tmp_path_factory):
    """Stage I, then stage III with its discriminators: (config, last state) of each, stopped and gone on."""
    folder = tmp_path_factory.mktemp("several")
    found = {}
    common = {"adversary": BOTH, "save_every": 2}
    phases = [{"steps": 4, "size": SIDE, "batch": 2, "adversary": True}]
    one = [settings("stage1", folder / f"1{n}", phases=phases, **common) for n in "ab"]
    found["stage1"] = one[0], goes_on(*one, 3)
    common["discriminator"] = one[0].out / "discriminator.safetensors"
    common |= {"stage1": stage1.path, "stage2": stage2.path}
    phases = [{"steps": 4, "batch": 2, "degradation": "mixed", "adversary": True}]
    three = [settings("stage3", folder / f"3{n}", phases=phases, **common) for n in "ab"]
    found["stage3"] = three[0], goes_on(*three, 3)
    return found


@pytest.mark.parametrize("stage", ["stage1", "stage3"])
def test_several_in_a_run(runs, stage):
    config, state = runs[stage]
    lines = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    wanted = {f"{k}_{n}" for k in ("gan", "lambda", "d_loss", "real", "fake") for n in ("patch", "projected")}
    for line in lines:
        if "l1" in line:
            assert wanted <= set(line)
    assert float(state["/discriminator_progress_projected/steps"]) == 4
    assert {name.split("/")[1] for name in state} >= {
        *(f"discriminator{part}_{kind}" for part in ("", "_optimizer") for kind in ("patch", "projected"))
    }  # fmt: skip


def test_projections_stay_through_both_stages(runs):
    config, _ = runs["stage1"]
    saved = load_checkpoint(config.out / "discriminator.safetensors")
    assert saved.info["adversaries"] == ["patch", "projected"]
    _, state = runs["stage3"]
    for level in range(4):
        assert torch.equal(
            state[f"/discriminator_projected/mix{level}"], saved.state[f"projected.mix{level}"]
        )
    head = "heads.0.0.parametrizations.weight.original"
    assert not torch.equal(state[f"/discriminator_projected/{head}"], saved.state[f"projected.{head}"])

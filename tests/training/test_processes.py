"""Several processes, started as users start them, against one process with the double batch."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from facemend.networks.codeformer.checkpoint import load_checkpoint

SIDE = 64
# Sums of gradients differ in their last bits; the bf16 of Muon would magnify that.
ADAMW = {"kind": "adamw", "lr": 1e-4}


def torchrun(config, processes=2):
    """`torchrun -m facemend train ...` on a config file."""
    values = json.loads(config.model_dump_json())
    toml = config.out.parent / f"{config.out.name}.toml"
    toml.write_text("\n".join(lines(values)))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)),
        *("-m", "facemend", "train", config.stage, "-c", str(toml)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def lines(values, prefix=""):
    """TOML of plain values; tables inside lists are written inline."""
    for name, value in values.items():
        if value is not None and not isinstance(value, dict):
            yield f"{name} = {inline(value)}"
    for name, value in values.items():
        if isinstance(value, dict):
            yield f"[{prefix}{name}]"
            yield from lines(value, f"{prefix}{name}.")


def inline(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {inline(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(v) for v in value) + "]"
    return json.dumps(value)


def doubled(phases):
    return [{**phase, "batch": phase["batch"] * 2} for phase in phases]


def assert_same_training(one, two, before):
    """The two went the same way from where they started.

    Weights are compared by how far they moved: a bias before a normalisation has no true gradient, and Adam
    makes whole steps of its rounding noise.
    """
    given = [load_checkpoint(path) for path in (one, two)]
    assert given[0].info["faces"] == given[1].info["faces"]
    first, second = (each.state for each in given)
    assert first.keys() == second.keys()
    apart = sum(float((first[name] - second[name]).abs().sum()) for name in first)
    moved = sum(float((first[name] - before[name]).abs().sum()) for name in first if name in before)
    assert apart < 0.01 * moved


@pytest.fixture
def data(faces):
    return {
        "folders": [{"path": str(faces)}],
        "holdout": 2,
        "flip": 0.5,
        "crop": [0.8, 1.0],
        "rotate": 5.0,
        "light": 0.1,
    }


def test_stage1_in_two_processes_is_stage1_with_the_double_batch(run_to_end, settings, data, tmp_path):
    """Over k-means, EMA codes, revival and the adversary, which all look at the whole batch."""
    phases = [
        {"steps": 4, "size": SIDE, "batch": 2},
        {"steps": 3, "size": SIDE, "batch": 1, "adversary": True},
    ]
    codebook = {"update": "ema", "bypass": 2, "revive_every": 3, "decay": 0.5}
    # Of the draws of seed 0 one discrete choice lies within rounding.
    common = {"seed": 1, "data": data, "codebook": codebook, "optim": ADAMW | {"clip": 1.0}}
    one = settings("stage1", tmp_path / "one", phases=doubled(phases), **common)
    two = settings("stage1", tmp_path / "two", phases=phases, **common)
    start = run_to_end(one).start
    torchrun(two)
    assert_same_training(*(config.out / "model.safetensors" for config in (one, two)), start)

    first, second = (
        [json.loads(line) for line in (c.out / "log.jsonl").read_text().splitlines()] for c in (one, two)
    )
    assert [line["step"] for line in first] == [line["step"] for line in second]
    for a, b in zip(first, second, strict=True):
        for name in {"l1", "lpips_alex", "lambda", "d_loss", "real", "fake", "perplexity"} & a.keys():
            assert b[name] == pytest.approx(a[name], rel=5e-3, abs=1e-4), (a["step"], name)
    assert json.loads((two.out / "environment.json").read_text())["processes"] == 2


def test_stage3_in_two_processes_is_stage3_with_the_double_batch(
    run_to_end, settings, data, faces, stage1, stage2, tmp_path
):
    """With coarse faces, which one process of the two may have alone."""
    (tmp_path / "coarse").mkdir()
    for file in faces.iterdir():
        Image.open(file).resize((40, 40)).save(tmp_path / "coarse" / f"coarse{file.name}")
    phases = [
        {"steps": 2, "batch": 2, "degradation": "mixed", "w": [0.0, 0.0], "image_losses": False},
        {"steps": 4, "batch": 1, "degradation": "mixed", "w": [0.0, 1.2]},
        {"steps": 2, "batch": 1, "degradation": "mixed", "w": [0.5, 1.0], "adversary": True},
    ]
    common = {
        "data": data | {"folders": [*data["folders"], {"path": str(tmp_path / "coarse")}]},
        "perceptual": {"net": "alex", "weight": 5.0, "window": 31},  # of 32: seen at several places
        "stage1": stage1.path,
        "stage2": stage2.path,
        "discriminator": stage1.folder / "discriminator.safetensors",
        "optim": ADAMW,
        "fidelity": 2.0,
        "detach_features": False,
    }
    one = settings("stage3", tmp_path / "one", phases=doubled(phases), **common)
    two = settings("stage3", tmp_path / "two", phases=phases, **common)
    start = run_to_end(one).start
    torchrun(two)
    assert_same_training(*(config.out / "model.safetensors" for config in (one, two)), start)

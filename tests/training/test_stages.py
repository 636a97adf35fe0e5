"""The three stages on made-up pictures, end to end: what is logged, left, frozen, and refused."""

import dataclasses
import itertools
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from facemend.data.faces import Folder, read_faces, split
from facemend.errors import ConfigError, FacemendError, InputError, WeightsError
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.checkpoint import load_checkpoint, save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import preset

SIDE = 64
CODES = preset("tiny").autoencoder.codebook_size
PHASES: dict[str, dict[str, Any]] = {
    "stage1": {"steps": 3, "size": SIDE, "batch": 2},
    "stage2": {"steps": 1, "batch": 2, "degradation": "medium"},
    "stage3": {"steps": 1, "batch": 2, "degradation": "medium"},
}
CODE = {"feature", "token", "top1", "top5"}
IMAGE = {"l1", "lpips_alex"}
GAN = {"gan", "lambda", "d_loss", "real", "fake"}


@pytest.fixture
def start(run_to_end, settings, stage1, stage2, tmp_path) -> Callable[..., Any]:
    """`start("stage2", **changes)`: run a stage for a few steps behind the finished ones."""

    numbers = itertools.count()

    def run(stage: str, **changes: Any) -> Any:
        values: dict[str, Any] = {"phases": [PHASES[stage]]}
        values |= {"stage1": stage1.path} if stage != "stage1" else {}
        values |= {"stage2": stage2.path} if stage == "stage3" else {}
        return run_to_end(settings(stage, tmp_path / f"run{next(numbers)}", **(values | changes)))

    return run


# Stage I.


def test_stage1_learns(stage1):
    """L1 from the first steps to the last, and again from the k-means start of the codebook to the last."""
    l1, code = stage1.metrics("l1"), stage1.metrics("code")
    end = np.mean([value for step, value in l1.items() if step > 50])
    assert end < 0.55 * l1[2]
    assert end < 0.9 * l1[12]
    assert code[12] < 0.5 * code[10]  # k-means puts the codes where the data is


RECORDED = """
2 0.634458 0.413103 32.0, 4 0.510062 0.733543 32.0, 6 0.437015 0.930635 32.0, 8 0.425667 1.024664 32.0,
10 0.397112 1.145882 32.0, 12 0.368593 0.091724 31.987625, 14 0.368984 0.078712 31.954563,
16 0.354269 0.079837 31.89085
"""


def test_stage1_learns_as_it_did(stage1):
    """L1, code loss and perplexity as recorded, over bypass, k-means and revival.

    Recorded anew when stages got draws of their own; with the old draws the old figures still came out.
    """
    for line in RECORDED.replace("\n", " ").split(","):
        step, *wanted = line.split()
        found = [stage1.metrics(name)[int(step)] for name in ("l1", "code", "perplexity")]
        assert found == pytest.approx([float(value) for value in wanted], rel=5e-3)


def test_log_of_stage1(stage1):
    perplexity = stage1.metrics("perplexity")
    assert list(perplexity) == list(range(2, 61, 2))
    assert all(1 <= value <= CODES + 1e-6 for value in perplexity.values())
    assert list(stage1.metrics("held_out/perplexity")) == [30, 60]
    assert 0 < stage1.metrics("held_out/codes_used")[60] <= 1
    assert stage1.metrics("held_out/psnr")[60] > 5
    assert stage1.metrics("held_out/lpips_alex")[60] > 0
    assert stage1.metrics("images_per_second")[60] > 0
    assert {step for step, value in stage1.metrics("bypass").items() if value == 1} == set(range(2, 11, 2))
    assert all(list(stage1.metrics(name)) == [58, 60] for name in GAN)
    assert all(0 <= value <= 1 for value in stage1.metrics("lambda").values())
    (events,) = (stage1.folder / "tensorboard").iterdir()
    for name in (b"held_out/codes_used", b"perplexity", b"l1", b"lambda"):
        assert name in events.read_bytes()


def test_preview_shows_the_held_out_faces_unchanged(stage1):
    """What goes in as truth comes out as truth, to the bit, through loader, range and grid."""
    previews = sorted((stage1.folder / "previews").iterdir())
    assert [path.name for path in previews] == ["step_000030.png", "step_000060.png"]
    grid = np.asarray(Image.open(previews[-1]))
    data = stage1.config.data
    _, held_out = split(read_faces([Folder(data.folders[0].path)], SIDE), data.holdout)
    faces = np.concatenate([held_out.picture(i) for i in range(len(held_out))])
    assert grid.shape == (2 * SIDE, 2 * SIDE, 3)
    np.testing.assert_array_equal(grid[:, :SIDE], faces)
    assert (grid[:, SIDE:] != faces).any()


def test_ema_codebook_moves_without_the_optimiser(start):
    run = start("stage1", codebook={"update": "ema", "kmeans": False, "decay": 0.5})
    net, ema = run.state["net"], run.state["codebook_ema"]
    assert not torch.equal(net["codebook.vectors"], run.start["codebook.vectors"])
    assert len(run.state["optimizer"]["state"]) == len(run.start) - 1
    expected = ema["sums"] / ema["counts"].clamp(min=1e-3)[:, None]
    torch.testing.assert_close(net["codebook.vectors"], expected)


@pytest.mark.parametrize("fresh", ["codebook.", "codebook", "codebook.vectors"])
def test_a_part_can_start_fresh(start, stage1, fresh):
    """A codebook of another shape, which k-means then starts; all else is taken from the file."""
    changes = {"sizes": {"autoencoder": {"codes_per_position": 2}}, "init": stage1.path}
    with pytest.raises(WeightsError, match="does not fit"):
        start("stage1", **changes)
    run = start("stage1", fresh=[fresh], **changes)
    given = stage1.checkpoint.state
    for name, value in run.start.items():
        assert (name == "codebook.vectors") != torch.equal(value, given.get(name, torch.empty(0))), name
    kept = run.state["net"]["codebook.vectors"]
    assert (kept - run.start["codebook.vectors"]).abs().mean() > 10 * 1e-2  # k-means moved it, not one step


def test_a_whole_network_gives_its_autoencoder(start, stage3):
    run = start("stage1", init=stage3.path)
    assert {name.split(".")[0] for name in run.start} == {"encoder", "codebook", "decoder"}
    for name, value in run.start.items():
        assert torch.equal(value, stage3.checkpoint.state[name]), name


def test_no_face_left_to_train_on(start, faces: Path):
    with pytest.raises(ConfigError, match="leaves no training faces"):
        start("stage1", data={"folders": [{"path": faces}], "holdout": 6})


# Stage II.


def test_token_loss_falls(stage2):
    token = stage2.metrics("token")
    assert token[2] > 0.7 * math.log(CODES)  # near chance
    assert token[50] < 0.75 * token[2]
    assert stage2.metrics("top1")[50] > 2 * stage2.metrics("top1")[2]


def test_weights_of_other_heads_are_no_start(start, stage2):
    with pytest.raises(ConfigError, match="was trained with other heads or attention"):
        start("stage2", init=stage2.path, sizes={"heads": 1})


def test_log_and_previews_of_stage2(stage1, stage2):
    first = stage2.log[0]  # what the target codes are like is known before the first step
    assert first["step"] == 0
    assert 0 < first["target_entropy"] <= math.log(CODES)
    assert first["stage1_psnr"] == pytest.approx(stage1.metrics("held_out/psnr")[60], abs=1e-3)
    one, five = stage2.metrics("top1"), stage2.metrics("top5")
    assert list(one) == list(five) == list(range(2, 51, 2))
    assert all(0 <= one[step] <= five[step] <= 1 for step in one)
    for name in ("token", "top1", "psnr_lq", "psnr_w0", "lpips_alex_w0"):
        assert list(stage2.metrics(f"held_out/{name}")) == [25, 50]
    assert "l1" not in stage2.log[-1]
    grid = np.asarray(Image.open(stage2.folder / "previews/step_000050.png"))
    assert grid.shape == (2 * SIDE, 3 * SIDE, 3)  # LQ, restored, HQ


# Stage III.


def test_every_phase_boundary_is_crossed(stage3):
    """The phases before, in and after the one without image losses run, with their metrics."""
    lines = {line["step"]: set(line) for line in stage3.log if "token" in line}
    assert list(lines) == list(range(1, 13))
    for step, names in lines.items():
        losses = CODE | (set() if 4 <= step <= 6 else IMAGE) | (GAN if step >= 10 else set())
        assert names & (CODE | IMAGE | GAN) == losses, step
    for name in ("token", "top1", "psnr_lq", *(f"lpips_alex_w{w}" for w in ("0", "0.5", "1"))):
        assert list(stage3.metrics(f"held_out/{name}")) == [6, 12]
    grid = np.asarray(Image.open(stage3.folder / "previews/step_000012.png"))
    assert grid.shape == (2 * SIDE, 5 * SIDE, 3)  # LQ, three w, HQ
    columns = np.split(grid, 5, axis=1)
    assert (columns[1] != columns[3]).any()  # w matters


def test_w_is_drawn_for_every_face_from_the_phase(start, monkeypatch):
    seen = []
    decode = CodeFormer.decode

    def spy(self, codes, features, w, style=None):
        if torch.is_grad_enabled():  # training, not validation
            seen.append(w.clone())
        return decode(self, codes, features, w, style)

    monkeypatch.setattr(CodeFormer, "decode", spy)
    phases = [
        {"steps": 1, "batch": 3, "degradation": "medium", "w": [1.3, 1.3]},
        {"steps": 1, "batch": 2, "degradation": "medium", "w": [0.0, 0.0], "image_losses": False},
        {"steps": 3, "batch": 4, "degradation": "medium", "w": [0.25, 0.75]},
    ]
    start("stage3", phases=phases)
    assert [len(w) for w in seen] == [3, 4, 4, 4]
    assert torch.equal(seen[0], torch.full((3,), 1.3))
    drawn = torch.cat(seen[1:])
    assert 0.25 <= drawn.min() < 0.4
    assert 0.5 < drawn.max() <= 0.75
    assert len(drawn.unique()) == 12


def test_discriminator_of_stage1_is_taken_up(start, stage1):
    discriminator = stage1.folder / "discriminator.safetensors"
    run = start("stage3", discriminator=discriminator)
    saved = load_checkpoint(discriminator).state
    assert saved
    for name, value in saved.items():  # no adversarial step, so it is as it was
        assert torch.equal(run.state["discriminator"][name.removeprefix("patch.")], value), name


def test_without_a_discriminator_it_starts_fresh_and_says_so(start, caplog):
    caplog.set_level(logging.INFO, "facemend")
    run = start("stage3", phases=[{**PHASES["stage3"], "adversary": True}])
    assert "starts fresh" in caplog.text
    assert "d_loss" in run.log[0]


@pytest.mark.parametrize("stage", ["stage1", "stage3"])
def test_spikes_of_the_decoder_are_seen(start, monkeypatch, stage):
    assert "spikes" not in start(stage).log[0]
    monkeypatch.setattr("facemend.training.spikes.MOST", 1.0)
    assert start(stage, spike_weight=0.5).log[0]["spikes"] > 0


# All of them.


@pytest.mark.parametrize(
    ("stage", "steps", "seen"),
    [("stage1", 60, 16 * 4 + 40 * 4 + 4 * 2), ("stage2", 50, 192), ("stage3", 12, 36)],
)
def test_what_is_left(request, stage, steps, seen):
    run = request.getfixturevalue(stage)
    names = {path.name for path in run.folder.iterdir()}
    expected = {"model.safetensors", "log.jsonl", "config.json", "state.pt", "environment.json"}
    assert expected | {"previews", "tensorboard"} <= names
    assert ("discriminator.safetensors" in names) == (stage == "stage1")
    assert not [name for name in names if name.endswith(".part")]
    checkpoint = run.checkpoint
    assert checkpoint.config == preset("tiny")
    wanted = {"stage": stage, "step": steps, "faces": seen}
    for before in ("stage1", "stage2")[: int(stage[-1]) - 1]:
        wanted[before] = request.getfixturevalue(before).checkpoint.sha256
    assert wanted.items() <= checkpoint.info.items()
    for name, value in checkpoint.state.items():  # the average, not the last step
        assert torch.equal(value, run.state["ema"][name]), name
    assert not torch.equal(checkpoint.state["encoder.out.weight"], run.state["net"]["encoder.out.weight"])


@pytest.mark.parametrize(
    ("stage", "frozen"), [("stage2", {"codebook", "decoder", "fusion"}), ("stage3", {"codebook", "decoder"})]
)
def test_each_starts_from_the_one_before_and_trains_what_is_not_frozen(request, stage, frozen):
    """What is frozen stays to the bit, in the network and in its average."""
    run = request.getfixturevalue(stage)
    before = request.getfixturevalue("stage1" if stage == "stage2" else "stage2").checkpoint.state
    for name, value in before.items():
        assert torch.equal(run.start[name], value), name
    for name, value in run.start.items():
        same = [torch.equal(state[name], value) for state in (run.state["net"], run.checkpoint.state)]
        if name.split(".")[0] in frozen:
            assert all(same), name
        elif stage == "stage3" or not name.startswith("bands."):
            assert not same[1], name


def test_whose_weights_they_were_goes_on(start, stage3, tmp_path):
    """To the export, which asks for the licence. What a run is compared with that goes on is as it was."""
    whose = {"source": {"file": "theirs.pth"}, "licence": "Theirs", "task": "colorization"}
    path = tmp_path / "theirs.safetensors"
    save_checkpoint(path, stage3.checkpoint.state, stage3.checkpoint.config, {"stage": "stage3", **whose})
    one = start("stage1", init=path)
    second = start("stage2", init=path)
    for run in (one, second, start("stage2", stage1=one.path), start("stage3", stage2=second.path)):
        assert whose.items() <= run.checkpoint.info.items()
        assert not whose.keys() & run.state["origin"].keys()


# What they refuse to start from.


def saved(path: Path, sizes: Any) -> Path:
    torch.manual_seed(0)
    save_checkpoint(path, VQAutoencoder(sizes.autoencoder).state_dict(), sizes, {"stage": "stage1"})
    return path


def test_an_untrained_stage1_is_refused(start, tmp_path):
    """Its codes would be noise, and training on them looks like training."""
    path = saved(tmp_path / "random.safetensors", preset("tiny"))
    for stage in ("stage2", "stage3"):
        with pytest.raises(ConfigError, match=r"random\.safetensors: .* dB only .*min_psnr = 18"):
            start(stage, stage1=path, min_psnr=18.0)
    assert not list(tmp_path.glob("run*/model.safetensors"))


def test_other_sizes_are_refused(start, tmp_path):
    sizes = preset("tiny")
    other = dataclasses.replace(sizes, autoencoder=dataclasses.replace(sizes.autoencoder, codebook_size=16))
    with pytest.raises(ConfigError, match=r"other\.safetensors: .*other autoencoder sizes"):
        start("stage2", stage1=saved(tmp_path / "other.safetensors", other))


@pytest.mark.parametrize("wrong", ["discriminator", "stage2"])
def test_a_checkpoint_of_another_network_is_refused(start, stage1, stage2, wrong):
    path = stage2.path if wrong == "stage2" else stage1.folder / "discriminator.safetensors"
    with pytest.raises(FacemendError, match="does not fit the network"):
        start("stage2", stage1=path)


def test_a_stage2_of_another_stage1_is_refused(start, run_to_end, settings, stage1, tmp_path):
    phases = [{"steps": 1, "size": SIDE, "batch": 2}]
    other = run_to_end(settings("stage1", tmp_path / "one", init=stage1.path, phases=phases))
    with pytest.raises(ConfigError, match="was trained on another stage I"):
        start("stage3", stage1=other.path)


def test_a_run_goes_on_with_the_networks_that_it_began_with(run_to_end, settings, stage1, tmp_path):
    phases = [{"steps": 1, "size": SIDE, "batch": 2}]
    other = run_to_end(settings("stage1", tmp_path / "one", init=stage1.path, phases=phases))
    held = tmp_path / "stage1.safetensors"
    shutil.copy(stage1.path, held)
    stage2 = settings("stage2", tmp_path / "two", stage1=held, phases=[PHASES["stage2"]])
    run_to_end(stage2)
    shutil.copy(other.path, held)
    with pytest.raises(ConfigError, match="began with another stage1 than is there now"):
        run_to_end(stage2)


@pytest.mark.parametrize("name", ["stage1", "stage2", "discriminator"])
def test_missing_files_are_refused(start, tmp_path, name):
    with pytest.raises((InputError, WeightsError), match=r"none\.safetensors"):
        start("stage3", **{name: tmp_path / "none.safetensors"})

"""The faces of a run: two sizes in one, streamed, and what the run says of them."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from facemend.errors import InputError
from facemend.training import train
from facemend.training.engine import Engine
from facemend.training.pictures import open_faces

SIDE = 64


@pytest.fixture(scope="module")
def two_sizes(tmp_path_factory):
    """Ten faces at 28 px (7/16 of the network's side), six of them at 64 px too."""
    root = tmp_path_factory.mktemp("two_sizes")
    rng = np.random.default_rng(3)
    for folder, side, count in (("small", 28, 10), ("large", SIDE, 6)):
        (root / folder).mkdir()
        for number in range(count):
            rough = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            picture = rough.resize((side, side), Image.Resampling.BICUBIC)
            picture.save(root / folder / f"{number}.webp", quality=95)
    return root


@pytest.fixture(scope="module")
def make(settings, two_sizes):
    def make(out, steps=3, **data):
        folders = [
            {"path": two_sizes / "large"},
            {"path": two_sizes / "small", "weight": 0.5, "without": two_sizes / "large"},
        ]
        values = {"folders": folders, "holdout": 2, **data}
        return settings("stage1", out, data=values, phases=[{"steps": steps, "size": SIDE, "batch": 4}])

    return make


def test_two_sizes_in_one_run(make, tmp_path):
    pictures = open_faces(make(tmp_path), SIDE, "medium", Engine())
    facts = pictures.facts()
    assert (facts["faces"], facts["fine"], facts["coarse"], facts["held_out"]) == (8, 4, 4, 2)
    assert facts["folders"] == {"large": 4, "small": 4}
    assert sorted(name.split("/")[1] for name in pictures.faces.names if name.startswith("small")) == [
        "6.webp", "7.webp", "8.webp", "9.webp"
    ]  # fmt: skip
    assert pictures.probe["hq"].shape == (2, 3, SIDE, SIDE)
    held = {f"large/{number}.webp" for number in range(6)} - set(pictures.faces.names)
    assert len(held) == 2  # fine faces are held out
    seen = set()
    for batch in pictures.batches(SIDE, 4, "medium", 0, 6):
        assert batch["fine"].dtype == torch.bool
        assert batch["fine"].device == batch["hq"].device
        expected = [pictures.faces.names[face].startswith("large") for face in batch["face"].tolist()]
        assert batch["fine"].tolist() == expected
        seen |= set(expected)
    assert seen == {True, False}
    # A phase at a smaller size: every file has that many pixels.
    assert all(batch["fine"].all() for batch in pictures.batches(28, 4, None, 0, 6))


def test_the_result_does_not_depend_on_cache_or_workers(make, tmp_path):
    states = []
    for name, data in (("a", {}), ("b", {"cache_mb": 0, "workers": 3})):
        config = make(tmp_path / name, **data)
        train(config)
        states.append(torch.load(config.out / "state.pt", weights_only=True)["net"])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    facts = json.loads((tmp_path / "a/data.json").read_text())
    assert (facts["fine"], facts["coarse"]) == (4, 4)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_whose_pictures_vanish_ends_with_the_name_of_one(make, two_sizes, tmp_path, workers):
    shutil.copytree(two_sizes / "large", tmp_path / "faces")
    config = make(
        tmp_path / "run", steps=20, folders=[{"path": tmp_path / "faces"}], workers=workers, cache_mb=0
    )
    reached = []

    def take_away(report):
        reached.append(report.step)
        if report.step == 1:
            shutil.rmtree(tmp_path / "faces")

    with pytest.raises(InputError, match=r"^\S+/faces/\d\.webp: no such file$"):
        train(config, take_away)
    assert 1 <= len(reached) < 20


def test_each_stage_and_seed_draws_its_own_but_is_measured_on_the_same(settings, two_sizes, tmp_path):
    drawn, probes = [], []
    for stage, seed in (("stage2", 0), ("stage3", 0), ("stage2", 1), ("stage2", 0)):
        values = {"folders": [{"path": two_sizes / "large"}], "holdout": 2}
        before = {"stage1": tmp_path / "1"} | ({"stage2": tmp_path / "2"} if stage == "stage3" else {})
        phase = {"steps": 1, "batch": 3, "degradation": "heavy"} | (
            {"w": [0, 1]} if "stage2" in before else {}
        )
        config = settings(stage, tmp_path, data=values, seed=seed, phases=[phase], **before)
        pictures = open_faces(config, SIDE, "heavy", Engine())
        drawn.append(torch.cat([batch["lq"] for batch in pictures.batches(SIDE, 3, "heavy", 0, 2)]))
        probes.append(pictures.probe["lq"])
    assert all(torch.equal(probe, probes[0]) for probe in probes)
    assert torch.equal(drawn[0], drawn[3])
    for other in drawn[1:3]:
        assert not any(torch.equal(one, two) for one in drawn[0] for two in other)

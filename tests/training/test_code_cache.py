"""Stored target codes are those of stage I, for the right pictures, and only as long as they are."""

import numpy as np
import pytest
import torch

from facemend.data.augment import Augmentation
from facemend.data.faces import FaceStream, Folder, read_faces, split, to_signed
from facemend.errors import ConfigError
from facemend.networks.codeformer.config import preset
from facemend.training import code_cache, train
from facemend.training.code_cache import CodeCache
from facemend.training.engine import Engine
from facemend.training.frozen_stage1 import FrozenStage1

SIDE = 64


@pytest.fixture(scope="module")
def frozen(stage1):
    probe = torch.zeros(1, 3, SIDE, SIDE)
    return FrozenStage1(stage1.path, preset("tiny"), probe, 0.0, torch.device("cpu"))


@pytest.fixture(scope="module")
def pictures(faces):
    return split(read_faces([Folder(faces)], SIDE), 2)[0]


def test_codes_are_those_of_stage_1(frozen, pictures, tmp_path):
    cache = CodeCache(tmp_path, pictures, SIDE, frozen, Engine())
    assert cache.codes.shape == (4, 2, frozen.tokens)
    assert cache.codes.dtype == np.int16
    stream = FaceStream(pictures, SIDE, Augmentation(), None, seed=1)
    seen = set()
    for index in range(12):
        sample = stream[index]
        codes, vectors = frozen.targets(to_signed(sample["hq"][None]))
        stored, stored_vectors = cache.targets(sample["face"][None], sample["mirrored"][None])
        assert torch.equal(stored, codes)
        assert stored_vectors.keys() == vectors.keys()
        assert all(torch.equal(stored_vectors[side], own) for side, own in vectors.items())
        seen.add(int(sample["mirrored"]))
    assert seen == {0, 1}
    assert (cache.codes[:, 0] != cache.codes[:, 1]).any()


def test_a_stopped_fill_goes_on(frozen, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(code_cache, "BATCH", 1)
    whole = CodeCache(tmp_path / "..", pictures, SIDE, frozen, Engine()).codes.copy()
    made = []
    real = code_cache._codes

    def fails_at_third(faces, numbers, *rest):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(numbers)
        return real(faces, numbers, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(code_cache, "_codes", fails_at_third)
        with pytest.raises(KeyboardInterrupt):
            CodeCache(tmp_path, pictures, SIDE, frozen, Engine())
    again = []

    def counted(faces, numbers, *rest):
        again.append(numbers)
        return real(faces, numbers, *rest)

    monkeypatch.setattr(code_cache, "_codes", counted)
    assert np.array_equal(CodeCache(tmp_path, pictures, SIDE, frozen, Engine()).codes, whole)
    assert again[:2] == [[2], [3]]


def test_codes_of_other_weights_are_refused(frozen, pictures, tmp_path):
    CodeCache(tmp_path, pictures, SIDE, frozen, Engine())
    stored = np.load(tmp_path / "codes.npy")
    np.save(tmp_path / "codes.npy", (stored + 1) % 32)
    with pytest.raises(ConfigError, match=r"codes\.npy: the codes of .* are not those of this stage I"):
        CodeCache(tmp_path, pictures, SIDE, frozen, Engine())


def test_codes_of_another_stage_are_made_again(frozen, pictures, tmp_path):
    CodeCache(tmp_path, pictures, SIDE, frozen, Engine())
    label = tmp_path / "codes.json"
    label.write_text(label.read_text().replace(frozen.sha256, "0" * 64))
    np.save(tmp_path / "codes.npy", np.zeros((4, 2, frozen.tokens), np.int16))
    cache = CodeCache(tmp_path, pictures, SIDE, frozen, Engine())
    assert cache.codes.any()
    assert frozen.sha256 in label.read_text()


def test_stage2_learns_the_same_from_the_cache(settings, stage1, faces, tmp_path):
    common = {
        "stage1": stage1.path,
        "data": {"folders": [{"path": faces}], "holdout": 2, "flip": 0.5},
        "phases": [{"steps": 4, "batch": 2, "degradation": "medium"}],
    }
    states = []
    for name, cached in (("fresh", False), ("cached", True)):
        config = settings("stage2", tmp_path / name, cache_codes=cached, **common)
        train(config)
        states.append(torch.load(config.out / "state.pt", weights_only=True)["net"])
        assert (config.out / "codes.npy").exists() == cached
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())

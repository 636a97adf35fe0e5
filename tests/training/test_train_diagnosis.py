"""scripts/train_diagnosis: labels that go on, and a head that learns what can be known."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from facemend.errors import ConfigError
from facemend.imaging import read_rgb
from facemend.networks.codeformer.config import preset
from facemend.networks.codeformer.diagnosis import DiagnosisHead, statistics_count
from facemend.types import Diagnosis

SIZES = preset("tiny").autoencoder


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
        yield importlib.import_module("train_diagnosis")


class Counting:
    """Says of a face what its plan is; counts."""

    def __init__(self):
        self.done = 0

    def label(self, face, plan, ws):
        self.done += 1
        self.face = face
        seen = np.full(4, plan.down + face.mean(), np.float32)
        return seen, np.full(Diagnosis.COUNT, len(ws), np.float32)


@pytest.fixture
def faces(tmp_path, script):
    (tmp_path / "faces").mkdir()
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"faces/{number}.png"), np.full((64, 64, 3), 40 * number, np.uint8))
    return script.faces_of(tmp_path / "faces", 60)


def test_labels_go_on_where_they_were(tmp_path, script, faces):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    first, second = Counting(), Counting()
    assert script.make_labels(first, faces, 64, whole, np.inf)
    assert not script.make_labels(second, faces, 64, parts, -1)
    script.make_labels(second, faces[:30], 64, parts, np.inf)
    assert script.make_labels(second, faces, 64, parts, np.inf)
    assert (first.done, second.done) == (60, 30 + 25 + 10)  # the part of five is made anew
    for one, other in zip(script.read_labels(whole), script.read_labels(parts), strict=True):
        np.testing.assert_array_equal(one, other)
    _, labels, held_out = script.read_labels(whole)
    assert (labels[:, 0] == np.where(held_out, 5, script.MEASURED)).all()


def test_a_face_is_what_is_seen_of_a_picture(tmp_path, script, faces):
    """Not what a system puts beside it, and in the colours of its profile."""
    (faces[0].parent / "._0.png").touch()
    assert len(script.in_order(faces[0].parent)) == 6
    with Image.open(Path(__file__).parents[1] / "data/cases/adobergb.jpg") as opened:
        opened.crop((0, 0, 64, 64)).save(tmp_path / "a.png", icc_profile=opened.info["icc_profile"])
    labeller = Counting()
    script.make_labels(labeller, [tmp_path / "a.png"], 64, tmp_path, np.inf)
    np.testing.assert_array_equal(labeller.face, read_rgb(tmp_path / "a.png"))


def test_an_engraving_is_its_own_truth_and_keeps_light_and_shade(script):
    y, x = np.mgrid[:128, :128]
    shade = np.repeat((40 + x + 60 * (y > 64))[..., None], 3, 2).astype(np.uint8)
    number = script.PRESETS.index("engraved")
    truth, plan, _ = script.draw("some.png", number, shade)
    assert plan.size == 128
    assert (
        np.ptp(np.diff(truth[..., 0].astype(float), axis=1), axis=1) > 20
    ).mean() > 0.9  # lines everywhere
    cells = truth.astype(float).mean(2).reshape(8, 16, 8, 16).mean((1, 3))
    wanted = shade.astype(float).mean(2).reshape(8, 16, 8, 16).mean((1, 3))
    assert np.corrcoef(cells.ravel(), wanted.ravel())[0, 1] > 0.9
    for other in range(number):
        assert script.draw("some.png", other, shade)[0] is shade


def test_a_head_learns_what_can_be_known_and_takes_the_statistics_as_they_are(script):
    rng = np.random.default_rng(0)
    seen = rng.normal(3, 2, (600, statistics_count(SIZES))).astype(np.float32)
    known = (seen[:, :20] - 3).mean(1, keepdims=True) * np.sqrt(20) / 2  # of deviation 1
    distances = 0.3 + 0.05 * known * (1 + np.arange(17) % 6)  # which differ within a face, too
    labels = np.concatenate([np.exp(0.4 * np.repeat(known, 3, 1) + 3), 60 + 8 * known, distances], 1)
    labels = np.where(rng.random(labels.shape) < 0.3, np.nan, labels).astype(np.float32)
    head = DiagnosisHead(SIZES, 32)
    steps = list(script.fit(head, seen[:500], labels[:500], steps=1000))
    assert steps[-1][0] == 1000
    with torch.no_grad():
        said = head.diagnose(torch.from_numpy(seen[500:])).numpy()
    error = np.nanmedian(np.abs(said - labels[500:]) / labels[500:], 0)
    spread = np.nanmedian(np.abs(labels[500:] / np.nanmean(labels[:500], 0) - 1), 0)
    assert (error < 0.5 * spread).all()


def test_labels_of_another_model_or_of_other_faces_are_not_taken(tmp_path, script, faces):
    faces = script.in_order(faces[0].parent)
    models = [SimpleNamespace(sha256={"encode": mark}) for mark in "ab"]
    script.claim(tmp_path, models[0], faces, 64)
    script.claim(tmp_path, models[1], faces, 64)  # nothing lies there yet
    (tmp_path / "labels-000000.npz").touch()
    script.claim(tmp_path, models[1], faces, 64)
    for model, some, size in ((models[0], faces, 64), (models[1], faces[:3], 64), (models[1], faces, 128)):
        with pytest.raises(ConfigError, match="labels of another model, or of other faces"):
            script.claim(tmp_path, model, some, size)

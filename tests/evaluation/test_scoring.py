import dataclasses
import json

import numpy as np
import pytest
import torch

from facemend.errors import BackendError, ConfigError
from facemend.evaluation import scoring
from facemend.evaluation.cases import Case, find_entries, load_case
from facemend.evaluation.distances import set_measures
from facemend.evaluation.scoring import Scorer, as_row, describe_metric, metrics_of, pack, unpack
from facemend.imaging import read_picture, to_float
from facemend.metrics import METRICS
from facemend.metrics.distribution import alex_features

FULL = ("psnr", "ssim", "ms_ssim", "lpips", "lpips_vgg", "dists", "ids", "ids_degrees", "identity_distance")
FULL += ("lmd", "niqe")


def tensor(pixels):
    return torch.from_numpy(to_float(pixels)).permute(2, 0, 1)[None]


@pytest.fixture
def case(options):
    chosen = options()
    return load_case(find_entries(chosen)[1], chosen)


def test_every_value_is_that_of_its_metric(case):
    """Also the slow ones, which are measured here only."""
    pictures = [case.lq, np.flip(case.hq, 1).copy()]
    score = Scorer(True, True, alex_features).score(case, pictures)
    assert tuple(score.values) == FULL
    for name, metric in METRICS.items():
        for picture, value in zip(pictures, score.values[name], strict=True):
            reference = (tensor(case.hq),) if metric.reference else ()
            # The angle is steep where the cosine is near 1.
            tolerance = 1e-3 if name == "ids_degrees" else 1e-5
            expected = metric(tensor(picture), *reference).item()
            assert value == pytest.approx(expected, rel=tolerance, abs=1e-6), name
    for row, picture in zip(score.features, pictures, strict=True):
        np.testing.assert_allclose(row, alex_features(tensor(picture))[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(score.reference, alex_features(tensor(case.hq))[0], rtol=1e-4, atol=1e-5)


class Cheap(Scorer):
    """Pixels and landmarks only."""

    def __init__(self):
        super().__init__(True, False, lambda x: x.mean((2, 3)))
        self.metrics = {name: self.metrics[name] for name in ("psnr", "ms_ssim", "lmd")}


def test_equal_pictures_have_no_psnr_and_unmoved_landmarks(case):
    values = Cheap().score(case, [case.hq]).values
    assert values["psnr"] == [None]  # infinite: JSON has no such number
    assert values["lmd"] == [0]
    assert values["ms_ssim"] == [1]


def test_landmarks_move_with_the_picture(case):
    moved = np.roll(case.hq, 3, axis=1)
    (near, far) = Cheap().score(case, [moved, np.roll(case.hq, 9, axis=1)]).values["lmd"]
    assert near == pytest.approx(3 * 512 / 192, rel=0.2)
    assert far == pytest.approx(9 * 512 / 192, rel=0.2)


def test_small_faces_lack_the_metrics_that_need_large_ones():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "METRICS", {name: METRICS[name] for name in ("psnr", "ms_ssim", "niqe")})
        scorer = Scorer(True, True, lambda x: x.mean((2, 3)))
    face = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    values = scorer.score(Case(face, face // 2, None), [face // 2]).values
    assert values["ms_ssim"] == values["niqe"] == [None]
    assert values["psnr"][0] > 0


def test_a_picture_that_the_mesh_fails_on_has_no_landmark_distance(case, monkeypatch):
    scorer = Cheap()
    points, calls = scorer._mesh.points, []

    def sometimes(image, face):
        calls.append(image)
        if len(calls) == 2:
            raise BackendError("no face")
        return points(image, face)

    monkeypatch.setattr(scorer._mesh, "points", sometimes)
    values = scorer.score(case, [case.lq, case.hq]).values["lmd"]
    assert values == [None, 0]
    calls[:] = [None]  # now the original itself fails
    assert scorer.score(case, [case.lq, case.hq]).values["lmd"] == [None, None]


def test_without_originals_nothing_is_said_of_fidelity(case):
    scorer = Scorer(False, True, lambda x: x.mean((2, 3)))
    score = scorer.score(Case(None, case.hq, None), [case.hq, np.full_like(case.hq, 90)])
    assert list(score.values) == ["niqe"]
    assert score.values["niqe"][0] == pytest.approx(METRICS["niqe"](tensor(case.hq)).item(), rel=1e-9)
    assert score.values["niqe"][1] is None  # a flat picture
    assert score.reference is None
    assert as_row(score, ["a", "b"])["reference"] is None


def test_the_slow_metric_is_measured_on_demand():
    assert tuple(metrics_of(True, full=True)) == FULL
    assert set(FULL) - set(metrics_of(True, full=False)) == {"lpips_vgg"}


def test_descriptions_can_be_written(tmp_path):
    for metric in metrics_of(True, full=True).values():
        row = json.loads(json.dumps(describe_metric(metric)))
        assert row["label"] == metric.label
        assert row["higher_is_better"] is metric.higher_is_better
        assert not {"function", "reference"} & set(row)
        assert set(row) | {"function", "reference"} == {f.name for f in dataclasses.fields(metric)}


def test_features_are_kept_exactly():
    features = np.random.default_rng(0).normal(0, 1e-3, 300).astype(np.float32)
    assert np.array_equal(unpack(json.loads(json.dumps(pack(features)))), features)


def test_unknown_devices_are_refused():
    for device in ("gpu9", "cuda:99"):
        with pytest.raises(ConfigError, match=f"--device {device}"):
            Scorer(False, False, alex_features, device)


def test_set_measures_know_their_networks():
    measures = set_measures("alex")
    assert list(measures.functions) == list(measures.descriptions) == ["fd_alex", "kd_alex"]
    assert len(next(iter(measures.weights.values()))) == 64
    rng = np.random.default_rng(0)
    a, b = (rng.random((20, 8), dtype=np.float32) for _ in range(2))
    assert measures.functions["fd_alex"](a, a) == pytest.approx(0, abs=1e-6)
    # Moved by 1 in each of 8 directions: the squared distance of the means is 8.
    assert measures.functions["fd_alex"](a, a + 1) == pytest.approx(8, rel=1e-4)
    assert measures.functions["kd_alex"](a, a + 1) > measures.functions["kd_alex"](a, b)
    with pytest.raises(ConfigError, match="alex or inception"):
        set_measures("vgg")


def test_pictures_are_told_apart_by_size_and_pixels(own_faces):
    face = read_picture(own_faces / "biden.png").pixels
    same, other = Case(None, face, None), Case(None, np.ascontiguousarray(face[:, ::-1]), None)
    assert Case(face, face.copy(), "x").digest == same.digest
    assert other.digest != same.digest
    assert Case(None, face.reshape(96, 384, 3), None).digest != same.digest

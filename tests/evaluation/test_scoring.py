import dataclasses
import json

import numpy as np
import pytest
import torch

from facemend.errors import BackendError, ConfigError
from facemend.evaluation import scoring
from facemend.evaluation.cases import Case, find_entries, load_case
from facemend.evaluation.scoring import Scorer, describe_metric, metrics_of
from facemend.imaging import to_float
from facemend.metrics import METRICS

FULL = ("psnr", "ssim", "ms_ssim", "lpips", "lpips_vgg", "dists", "ids", "ids_degrees", "identity_distance")
FULL += ("lmd", "niqe")


def tensor(pixels):
    return torch.from_numpy(to_float(pixels)).permute(2, 0, 1)[None]


@pytest.fixture
def case(options):
    chosen = options()
    return load_case(find_entries(chosen)[1], chosen)


def test_every_value_is_that_of_its_metric(case):
    pictures = [case.lq, np.flip(case.hq, 1).copy()]
    scorer = Scorer(True, False)
    del scorer.metrics["dists"]  # slow; tests/metrics has it
    values = scorer.score(case, pictures)
    assert tuple(values) == tuple(name for name in FULL if name not in ("lpips_vgg", "dists"))
    for name, metric in ((name, METRICS[name]) for name in values if name != "lmd"):
        for picture, value in zip(pictures, values[name], strict=True):
            reference = (tensor(case.hq),) if metric.reference else ()
            # The angle is steep where the cosine is near 1.
            tolerance = 1e-3 if name == "ids_degrees" else 1e-5
            expected = metric(tensor(picture), *reference).item()
            assert value == pytest.approx(expected, rel=tolerance, abs=1e-6), name


class Cheap(Scorer):
    """Pixels and landmarks only."""

    def __init__(self):
        super().__init__(True, False)
        self.metrics = {name: self.metrics[name] for name in ("psnr", "ms_ssim", "lmd")}


def test_equal_pictures_have_no_psnr_and_landmarks_move_with_the_picture(case):
    moved = [np.roll(case.hq, by, axis=1) for by in (0, 3, 9)]
    values = Cheap().score(case, moved)
    assert values["psnr"][0] is None  # infinite: JSON has no such number
    assert values["ms_ssim"][0] == 1
    assert values["lmd"] == [pytest.approx(by * 512 / 192, rel=0.2) for by in (0, 3, 9)]


def test_small_faces_lack_the_metrics_that_need_large_ones():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "METRICS", {name: METRICS[name] for name in ("psnr", "ms_ssim", "niqe")})
        scorer = Scorer(True, True)
    face = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    values = scorer.score(Case(face, face // 2, None), [face // 2])
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
    assert scorer.score(case, [case.lq, case.hq])["lmd"] == [None, 0]
    calls[:] = [None]  # now the original itself fails
    assert scorer.score(case, [case.lq, case.hq])["lmd"] == [None, None]


def test_without_originals_nothing_is_said_of_fidelity(case):
    values = Scorer(False, True).score(Case(None, case.hq, None), [case.hq, np.full_like(case.hq, 90)])
    # The second picture is flat: it has no score.
    assert values == {"niqe": [pytest.approx(METRICS["niqe"](tensor(case.hq)).item(), rel=1e-9), None]}


def test_metrics_of_a_run_and_what_the_results_say_of_them():
    assert tuple(metrics_of(True, full=True)) == FULL
    assert set(FULL) - set(metrics_of(True, full=False)) == {"lpips_vgg"}
    for metric in metrics_of(True, full=True).values():
        row = json.loads(json.dumps(describe_metric(metric)))
        fields = {f.name for f in dataclasses.fields(metric)} - {"function", "reference"}
        assert row == {name: getattr(metric, name) for name in fields}


@pytest.mark.parametrize("device", ["gpu9", "cuda:99"])
def test_unknown_devices_are_refused(device):
    with pytest.raises(ConfigError, match=f"--device {device}"):
        Scorer(False, False, device)


def test_pictures_are_told_apart_by_size_and_pixels():
    face = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    same, mirrored = Case(None, face, None), Case(None, face[:, ::-1].copy(), None)
    assert Case(face, face.copy(), "x").digest == same.digest
    assert len({same.digest, mirrored.digest, Case(None, face.reshape(32, 128, 3), None).digest}) == 3

import numpy as np
import pytest

from facemend.evaluation.summary import RESAMPLES, interval, slices, strengths


def test_the_interval_is_that_of_a_plain_bootstrap():
    values = [3.0, 1.0, None, 4.0, 1.5, 9.0]
    held = [value for value in values if value is not None]
    draws = np.random.default_rng(0).integers(5, size=(RESAMPLES, 5)).tolist()
    resampled = sorted(sum(held[pick] for pick in picks) / 5 for picks in draws)

    def percentile(share):
        place = share * (RESAMPLES - 1)
        below = int(place)
        return resampled[below] + (place - below) * (resampled[below + 1] - resampled[below])

    ends = {"low": percentile(0.025), "high": percentile(0.975)}
    assert interval(values) == pytest.approx({"mean": 3.7, "n": 5, **ends}, rel=1e-12)
    spread = np.random.default_rng(1).random(50).tolist()
    assert interval(spread, seed=1)["low"] != interval(spread)["low"]


def test_the_interval_holds_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(5)
    found = [interval(rng.normal(2, 1, 60).tolist()) for _ in range(200)]
    held = sum(entry["low"] <= 2 <= entry["high"] for entry in found)
    assert 180 <= held <= 199  # 95 % of 200 is 190; percentile intervals are a little narrow


def test_intervals_of_one_value_and_of_none():
    assert interval([0.25, None]) == {"mean": 0.25, "low": 0.25, "high": 0.25, "n": 1}
    for empty in ([], [None, None]):
        assert interval(empty) == {"mean": None, "low": None, "high": None, "n": 0}


def test_strengths_are_thirds_by_the_input():
    assert strengths([6, 1, 5, 2, 4, 3]) == ["strong", "mild", "strong", "mild", "middle", "middle"]
    assert strengths([0.3, None, 0.1, 0.2]) == ["strong", "", "mild", "middle"]
    assert strengths([0.5, None]) == ["", ""]


def test_slices_hold_the_means_of_their_pictures():
    values = {"lpips": [0.1, 0.2, 0.6, None], "psnr": [20.0, 30.0, 10.0, 40.0]}
    labels = [
        {"kind": "real", "strength": "strong", "source": "one"},
        {"kind": "synthetic", "strength": "mild", "source": "one"},
        {"kind": "real", "strength": "middle", "source": "one"},
        {"kind": "synthetic", "source": "one"},
    ]
    found = slices(values, labels)
    assert list(found) == ["kind", "strength"]  # `source` does not divide the pictures
    assert list(found["strength"]) == ["mild", "middle", "strong"]
    assert found["kind"] == {
        "real": {"lpips": interval([0.1, 0.6]), "psnr": interval([20.0, 10.0])},
        "synthetic": {
            "lpips": {"mean": 0.2, "low": None, "high": None, "n": 1},  # one picture is not certain
            "psnr": interval([30.0, 40.0]),
        },
    }
    assert found["strength"]["strong"]["psnr"]["mean"] == 20
    assert slices(values, [{}] * 4) == {}

import numpy as np
import pytest

from facemend.evaluation.summary import RESAMPLES, distribution, interval, means, slices, strengths


def test_the_interval_is_that_of_a_plain_bootstrap():
    values = [3.0, 1.0, None, 4.0, 1.5, 9.0]
    held = [value for value in values if value is not None]
    rng = np.random.default_rng(0)
    draws = rng.integers(5, size=(RESAMPLES, 5)).tolist()
    resampled = sorted(sum(held[pick] for pick in picks) / 5 for picks in draws)

    def percentile(share):
        place = share * (RESAMPLES - 1)
        below = int(place)
        return resampled[below] + (place - below) * (resampled[below + 1] - resampled[below])

    found = interval(values)
    assert found["n"] == 5
    assert found["mean"] == pytest.approx(3.7, rel=1e-12)
    assert found["low"] == pytest.approx(percentile(0.025), rel=1e-12)
    assert found["high"] == pytest.approx(percentile(0.975), rel=1e-12)
    assert found == interval(values)
    spread = np.random.default_rng(1).random(50).tolist()
    assert interval(spread, seed=1)["low"] != interval(spread)["low"]


def test_the_interval_holds_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        found = interval(rng.normal(2, 1, 60).tolist())
        held += found["low"] <= 2 <= found["high"]
    assert 180 <= held <= 199  # 95 % of 200 is 190; percentile intervals are a little narrow


def test_intervals_of_one_value_and_of_none():
    assert interval([0.25, None]) == {"mean": 0.25, "low": 0.25, "high": 0.25, "n": 1}
    for empty in ([], [None, None]):
        assert interval(empty) == {"mean": None, "low": None, "high": None, "n": 0}


def test_strengths_are_thirds_by_the_input():
    assert strengths([6, 1, 5, 2, 4, 3]) == ["strong", "mild", "strong", "mild", "middle", "middle"]
    assert strengths([0.3, None, 0.1, 0.2]) == ["strong", "", "mild", "middle"]
    assert strengths([0.5, None]) == ["", ""]
    assert strengths([None, None]) == ["", ""]
    assert strengths([]) == []


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
    assert list(found["kind"]) == ["real", "synthetic"]
    assert list(found["strength"]) == ["mild", "middle", "strong"]
    assert found["kind"]["real"]["lpips"] == interval([0.1, 0.6])
    assert found["kind"]["real"]["lpips"]["mean"] == pytest.approx(0.35)
    assert found["kind"]["synthetic"]["lpips"] == {"mean": 0.2, "low": 0.2, "high": 0.2, "n": 1}
    assert found["kind"]["synthetic"]["psnr"]["mean"] == 35
    assert found["strength"]["strong"]["psnr"]["mean"] == 20
    assert slices(values, [{}] * 4) == {}


def test_means_are_intervals_of_every_metric():
    values = {"a": [1.0, 2.0], "b": [None, 3.0]}
    assert means(values) == {"a": interval([1.0, 2.0]), "b": interval([3.0])}


def test_distributions_need_two_pictures_on_both_sides():
    measures = {"gap": lambda a, b: float(a.mean() - b.mean())}
    two, one = np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)
    assert distribution(two, np.zeros((2, 3), np.float32), measures) == {"gap": 1.0}
    for a, b in ((two, one), (one, two), (two, None)):
        assert distribution(a, b, measures) == {"gap": None}

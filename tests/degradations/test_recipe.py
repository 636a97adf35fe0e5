import hashlib
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemend.degradations import PRESETS, OldPhoto, Plan, Recipe, preset
from facemend.degradations.old_photo import Tint
from facemend.errors import ConfigError

SEEDS = st.integers(0, 2**32 - 1)


def draw(recipe: Recipe | str, seed: int, size: int = 512) -> Plan:
    recipe = preset(recipe) if isinstance(recipe, str) else recipe
    return recipe.draw(np.random.default_rng(seed), size)


# The published table, written out once more on purpose.
PUBLISHED = {
    "heavy": ((1, 15), (4, 30), (0, 20), (30, 80)),
    "medium": ((0.1, 10), (1, 12), (0, 15), (60, 100)),
    "small": ((0.1, 10), (1, 12), (0, 15), (60, 100)),
    "light": ((0.1, 2.5), (1, 3), (0, 5), (75, 100)),
    "gfpgan": ((0.1, 10), (0.8, 8), (0, 20), (60, 100)),
    "restoreformer": ((0.1, 10), (0.8, 8), (0, 20), (60, 100)),
    "daefr": ((0.1, 15), (0.8, 30), (0, 20), (30, 100)),
    "difface": ((0.1, 15), (0.8, 32), (0, 20), (30, 100)),
    "colorize": ((1, 15), (4, 30), (0, 20), (30, 80)),
    "mixed": ((0.1, 15), (1, 30), (0, 20), (30, 100)),
    "scan": ((0.1, 2.5), (1, 8), (0, 6), (40, 95)),
}


@pytest.mark.parametrize("name", PRESETS)
@given(seed=SEEDS)
def test_draws_stay_in_the_published_ranges(name: str, seed: int):
    sigma, down, noise, jpeg = PUBLISHED[name]
    plan = draw(name, seed)
    assert draw(name, seed) == plan != draw(name, seed + 1)
    assert plan.blur.radius <= 20
    for value, (low, high) in (
        (plan.blur.sigma_x, sigma),
        (plan.blur.sigma_y, sigma),
        (plan.down, down),
        (plan.noise_sigma, noise),
        (plan.jpeg_quality, jpeg),
    ):
        assert low <= value <= high


@pytest.mark.parametrize("name", ["heavy", "medium", "daefr"])
def test_draws_fill_the_published_ranges(name: str):
    plans = [draw(name, seed) for seed in range(400)]
    columns = (
        [p.blur.sigma_x for p in plans if p.blur],
        [p.down for p in plans],
        [p.noise_sigma for p in plans],
        [p.jpeg_quality for p in plans],
    )
    for values, (low, high) in zip(columns, PUBLISHED[name], strict=True):
        margin = 0.05 * (high - low)
        assert min(values) < low + margin
        assert max(values) > high - margin
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.06 * (high - low))


def test_restoration_presets_leave_the_colour_alone():
    for name in ("heavy", "medium", "small", "daefr", "difface"):
        for seed in range(50):
            plan = draw(name, seed)
            assert (plan.shift, plan.gray, plan.jitter, plan.motion) == (None, False, (), None)


def test_colorize_changes_colour_as_often_as_published():
    plans = [draw("colorize", seed) for seed in range(2000)]
    assert np.mean([p.shift is not None for p in plans]) == pytest.approx(0.3, abs=0.04)
    assert np.mean([bool(p.jitter) for p in plans]) == pytest.approx(0.3, abs=0.04)
    assert np.mean([p.gray for p in plans]) == pytest.approx(0.01, abs=0.008)
    orders = {tuple(kind for kind, _ in p.jitter) for p in plans if p.jitter}
    assert len(orders) == 24
    assert all(abs(v) <= 20 for p in plans if p.shift for v in p.shift)


def test_mixed_spans_untouched_to_heavy():
    plans = [draw("mixed", seed) for seed in range(1000)]
    assert min(p.down for p in plans) < 1.1
    assert max(p.down for p in plans) > 28
    assert any(p.noise_sigma < 1 and p.down < 1.5 and (p.jpeg_quality or 0) > 94 for p in plans)
    for used in ([p.motion for p in plans], [p.gray for p in plans], [p.jitter for p in plans]):
        assert 0.02 < np.mean([bool(u) for u in used]) < 0.09


# Of the plans that these presets drew, and of the number that the generator gives next, before there were
# parts for old photographs.
DRAWN_BEFORE = {
    "heavy": "c1de28111c55058d",
    "medium": "9e92f00b2fb5d485",
    "small": "9e92f00b2fb5d485",
    "gfpgan": "3ee84b5eb9165611",
    "restoreformer": "5314fb71f6821b46",
    "daefr": "884d975ca3c0314b",
    "difface": "8e279e16cc22cd4e",
    "colorize": "7bd59b9cc8af6b3b",
    "mixed": "269e70d635ff541a",
}


@pytest.mark.parametrize("name", DRAWN_BEFORE)
def test_old_presets_draw_what_they_always_drew(name: str):
    digest = hashlib.sha256()
    for seed in range(40):
        for size in (256, 512):
            rng = np.random.default_rng(seed)
            numbers = asdict(preset(name).draw(rng, size))
            assert numbers.pop("print") is numbers.pop("damage") is numbers.pop("sharpening") is None
            assert numbers.pop("generations") == ()
            drawn = [[key, value] for key, value in numbers.items()] + [rng.random()]
            digest.update(json.dumps(drawn).encode())
    assert digest.hexdigest()[:16] == DRAWN_BEFORE[name]


def test_scan_draws_every_part_as_often_as_it_says():
    old = preset("scan").old
    assert old is not None
    plans = [draw("scan", seed) for seed in range(2000)]
    prints = [p.print for p in plans if p.print]
    assert len(prints) == len(plans)
    shares = {
        "gray": [p.tone for p in prints],
        "soft": [p.soft_focus for p in prints],
        "grain": [p.grain for p in prints],
        "paper": [p.paper for p in prints],
        "levels": [p.levels for p in prints],
        "scratch": [p.damage and p.damage.scratches for p in plans],
        "dust": [p.damage and p.damage.dust for p in plans],
        "fold": [p.damage and p.damage.folds for p in plans],
        "sharpen": [p.sharpening for p in plans],
        "again": [p.generations for p in plans],
    }
    for name, used in shares.items():
        wanted = getattr(old, f"{name}_probability")
        assert np.mean([bool(u) for u in used]) == pytest.approx(wanted, abs=0.04), name
    tones = [p.tone for p in prints if p.tone]
    assert np.mean([not tone.neutral for tone in tones]) == pytest.approx(old.tone_probability, abs=0.04)
    sepia, cyan = (
        np.mean([low <= t.hue <= high for t in tones if not t.neutral])
        for low, high in ((0.05, 0.15), (0.5, 0.7))
    )
    assert sepia == pytest.approx(0.7, abs=0.08)
    assert cyan == pytest.approx(0.15, abs=0.06)


def test_screens_finer_than_the_grid_are_left_out():
    recipe = replace(preset("scan"), old=OldPhoto(halftone_probability=1.0, halftone_pitch=(2, 8)))
    for size in (256, 512):
        plans = [draw(recipe, seed, size) for seed in range(200)]
        pairs = [(p.print.halftone.pitch, p.down) for p in plans if p.print and p.print.halftone]
        assert 0 < len(pairs) < 200
        assert all(pitch >= 2 * max(1, down) for pitch, down in pairs)
        assert max(pitch for pitch, _ in pairs) > 7 * size / 512


def test_lengths_of_old_photographs_scale_with_the_face():
    every = OldPhoto(
        **{name: 1.0 for name in OldPhoto.__dataclass_fields__ if name.endswith("_probability")},  # type: ignore[arg-type]
        halftone_pitch=(40, 60),
    )
    recipe = replace(preset("scan"), old=every)
    for seed in range(20):
        large, small = draw(recipe, seed, 512), draw(recipe, seed, 256)
        for group in ("print", "damage"):
            there, here = asdict(large)[group], asdict(small)[group]
            for name, numbers in there.items():
                for key, value in numbers.items():
                    length = (name, key) in {
                        ("soft_focus", "sigma"), ("grain", "size"), ("halftone", "pitch"), ("paper", "size"),
                        ("scratches", "width"), ("dust", "size"), ("folds", "width"),
                    }  # fmt: skip
                    assert here[name][key] == (pytest.approx(value / 2) if length else value), (name, key)
        assert small.generations == large.generations
        shrunk = min(1, large.down / 2)  # the scan of a small face has this share of the pixels
        assert small.sharpening.sigma == pytest.approx(large.sharpening.sigma * shrunk)


def test_severity_zero_draws_the_mild_ends():
    plan = draw(replace(preset("mixed"), severity=(0, 0)), 5)
    assert plan.blur.sigma_x == pytest.approx(0.1)
    assert (plan.down, plan.noise_sigma, plan.jpeg_quality) == (1, 0, 100)


@given(seed=SEEDS)
def test_lengths_scale_with_the_face(seed: int):
    recipe = replace(preset("mixed"), motion_probability=1, translate_probability=1)
    large, small = draw(recipe, seed, 512), draw(recipe, seed, 256)
    assert small.blur.sigma_x == pytest.approx(large.blur.sigma_x / 2)
    assert small.blur.radius <= 10
    assert small.motion.length == pytest.approx(large.motion.length / 2)
    assert abs(small.translate[0] - large.translate[0] / 2) <= 1
    # The thumbnail has the same side, unless the face has fewer pixels than that.
    assert round(256 / small.down) == min(256, round(512 / large.down))
    if large.down >= 2:
        assert small.noise_sigma == large.noise_sigma
    else:
        assert small.noise_sigma == pytest.approx(large.noise_sigma * large.down / 2)
    assert (small.jpeg_quality, small.jitter) == (large.jpeg_quality, large.jitter)


def test_enlarging_factors_act_from_the_reference_size_on():
    recipe = Recipe(blur_sigma=(1, 1), down=(0.8, 0.8), noise=(10, 10), jpeg=(90, 90))
    assert draw(recipe, 0, 512).down == 0.8
    assert draw(recipe, 0, 256).down == 1
    assert draw(recipe, 0, 256).noise_sigma == pytest.approx(4)


@pytest.mark.parametrize("name", ["heavy", "scan"])
@pytest.mark.parametrize("size", [1, 2, 16, 1024, 8192])
def test_any_size_can_be_drawn_for(name: str, size: int):
    for seed in range(50):
        plan = draw(name, seed, size)
        assert plan.size == size
        assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    "change",
    [
        {"down": (5, 4)},
        {"down": (0, 4)},
        {"jpeg": (0, 50)},
        {"jpeg": (50, 101)},
        {"noise": (-1, 5)},
        {"blur_sigma": (0, 5)},
        {"blur_radius": (0, 5)},
        {"motion_probability": 1.5},
        {"severity": (float("nan"), 1)},
        {"severity": (0, float("inf"))},
        {"brightness": (-2, -1)},
        {"translate": -5},
        {"shift": float("nan")},
        {"motion_bend": float("inf")},
        {"grain_probability": -0.1},
        {"levels_gamma": (2, 1)},
        {"halftone_pitch": (0, 4)},
        {"scratch_count": (1, 10**6)},
        {"again_count": (1, 9)},
        {"again_quality": (0, 50)},
        {"sharpen_amount": (0, float("inf"))},
        {"tints": ()},
        {"weight": 0},
        {"hue": (0, 2)},
    ],
    ids=str,
)
def test_impossible_ranges_are_refused(change: dict[str, object]):
    (name,) = change
    tint = Tint(1, (0, 1), (0, 1), (0, 1))
    kind = next(
        of
        for of in (preset("heavy"), OldPhoto(), tint)
        if hasattr(of, name) and (name != "hue" or of is tint)
    )
    with pytest.raises(ConfigError, match=name):
        replace(kind, **change)  # type: ignore[arg-type]


def test_what_the_widest_lengths_draw_for_a_huge_face_can_be_replayed():
    widest = replace(preset("heavy"), motion_probability=1, motion_length=(512, 512), blur_radius=(256, 256))
    plan = draw(replace(widest, blur_sigma=(256, 256)), 0, 8192)
    assert Plan.from_json(plan.to_json()) == plan


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"'strong'.*heavy, medium"):
        preset("strong")
    assert PRESETS["small"] is PRESETS["medium"]

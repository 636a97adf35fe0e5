import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from facemend.degradations import PRESETS, GaussianBlur, MotionBlur, Plan, apply, degrade
from facemend.degradations.parts import (
    Damage,
    Dust,
    Folds,
    Grain,
    Halftone,
    JpegGeneration,
    Levels,
    Paper,
    Print,
    Scratches,
    Sharpening,
    SoftFocus,
    Tone,
)
from facemend.errors import ConfigError, InputError

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def image() -> Pixels:
    """Colourful blobs with edges, 96 px."""
    rng = np.random.default_rng(0)
    blobs = cv2.GaussianBlur(rng.random((96, 96, 3)), (0, 0), 4)
    return ((blobs > 0.5) * 120 + 60 * blobs + 30).astype(np.uint8)


NEUTRAL = Plan(size=96)
SETTINGS: dict[str, dict[str, object]] = {
    "translate x": {"translate": (3, 0)},
    "translate y": {"translate": (0, -3)},
    "down": {"down": 4.0},
    "down less": {"down": 3.0},
    "up": {"down": 0.8},
    "noise": {"noise_sigma": 5.0},
    "noise more": {"noise_sigma": 9.0},
    "noise seed": {"noise_sigma": 5.0, "noise_seed": 1},
    "jpeg": {"jpeg_quality": 90},
    "jpeg less": {"jpeg_quality": 40},
    "shift red": {"shift": (10.0, 0.0, 0.0)},
    "shift green": {"shift": (0.0, 10.0, 0.0)},
    "shift blue": {"shift": (0.0, 0.0, 10.0)},
    "gray": {"gray": True},
    "brightness": {"jitter": (("brightness", 1.2),)},
    "contrast": {"jitter": (("contrast", 1.2),)},
    "saturation": {"jitter": (("saturation", 0.3),)},
    "hue": {"jitter": (("hue", 0.08),)},
    "order": {"jitter": (("contrast", 0.3), ("brightness", 2.0))},
    "other order": {"jitter": (("brightness", 2.0), ("contrast", 0.3))},
    "two earlier jpegs": {"generations": (JpegGeneration(0.8, 60), JpegGeneration(0.9, 40))},
}
# A part of a plan, and other values of its numbers.
BLUR = GaussianBlur(6, 3, 1, 0)
PARTS = [
    (lambda part: {"motion": part}, MotionBlur(9, 0.4, 0.2), {"length": 14, "angle": 1.4, "bend": 1.2}),
    (lambda part: {"blur": part}, BLUR, {"radius": 2, "sigma_x": 2, "sigma_y": 2, "rotation": 0.7}),
    (lambda part: {"sharpening": part}, Sharpening(1.5, 1.0), {"sigma": 2.5, "amount": 2.0}),
    (lambda part: {"generations": (part,)}, JpegGeneration(0.8, 60), {"scale": 0.6, "quality": 30}),
]
PRINTS = {
    "soft_focus": (SoftFocus(6, 0.5), {"sigma": 3, "share": 0.3}),
    "tone": (Tone(0.1, 0.2, 0), {"hue": 0.6, "strength": 0.1, "paper": 0.2}),
    "grain": (Grain(10, 1), {"strength": 15, "size": 2, "seed": 5}),
    "halftone": (Halftone(5, 1, (0.8,)), {"pitch": 6, "hardness": 2, "angles": (0.6,)}),
    "paper": (Paper(0.1, 2), {"strength": 0.2, "size": 3, "seed": 3}),
    "levels": (Levels(0.2, 0.9, 1.2), {"black": 0.0, "white": 0.7, "gamma": 1.5}),
}
AGES = {
    "scratches": (
        Scratches(60, 2, 0.8, 0.1),
        {"count": 80, "width": 4, "opacity": 0.4, "slant": 0.4, "seed": 1},
    ),
    "dust": (Dust(200, 60, 2, 0.8), {"specks": 0, "hairs": 0, "size": 3, "opacity": 0.4, "seed": 1}),
    "folds": (Folds(2, 8, 0.8), {"count": 3, "width": 12, "opacity": 0.4, "seed": 1}),
}
PARTS += [(lambda part, f=f: {"print": Print(**{f: part})}, *how) for f, how in PRINTS.items()]
PARTS += [(lambda part, f=f: {"damage": Damage(**{f: part})}, *how) for f, how in AGES.items()]
for place, base, changes in PARTS:
    SETTINGS[str(base)] = place(base)
    SETTINGS |= {f"{base} but {k} {v}": place(replace(base, **{k: v})) for k, v in changes.items()}
for angles in ((0.8, 0.2, 1.0), (0.8, 0.2, 1.0, 0.5)):
    SETTINGS[f"{len(angles)} inks"] = {"print": Print(halftone=Halftone(5, 1, angles))}


def plan_of(settings: dict[str, object]) -> Plan:
    return replace(NEUTRAL, **settings)  # type: ignore[arg-type]


def test_every_setting_changes_the_output_in_its_own_way_and_survives_json(image: Pixels):
    seen: dict[bytes, str] = {}
    for name, settings in SETTINGS.items():
        plan = plan_of(settings)
        result = apply(image, plan)
        assert (result.dtype, result.shape) == (np.uint8, image.shape)
        assert np.mean(result != image) > 0.05, name
        assert seen.setdefault(result.tobytes(), name) == name
        again = Plan.from_json(plan.to_json())
        assert again == plan
        np.testing.assert_array_equal(apply(image, again), result)
        assert str(plan) != str(NEUTRAL)


def test_the_neutral_plan_changes_nothing(image: Pixels):
    result = apply(image, NEUTRAL)
    np.testing.assert_array_equal(result, image)
    assert not np.shares_memory(result, image)


NOTHING = {
    "no print": {"print": Print()},
    "no damage": {"damage": Damage()},
    "soft focus": {"print": Print(soft_focus=SoftFocus(6, 0))},
    "grain": {"print": Print(grain=Grain(0, 1))},
    "halftone": {"print": Print(halftone=Halftone(5, 0, (0.8,)))},
    "four inks": {"print": Print(halftone=Halftone(5, 0, (0.8, 0.2, 1.0, 0.5)))},
    "paper": {"print": Print(paper=Paper(0, 2))},
    "levels": {"print": Print(levels=Levels())},
    "scratches": {"damage": Damage(scratches=Scratches(0, 2, 1, 0.1))},
    "scratches opacity": {"damage": Damage(scratches=Scratches(9, 2, 0, 0.1))},
    "dust": {"damage": Damage(dust=Dust(0, 0, 2, 1))},
    "folds": {"damage": Damage(folds=Folds(0, 8, 1))},
    "folds opacity": {"damage": Damage(folds=Folds(2, 8, 0))},
    "sharpening": {"sharpening": Sharpening(2, 0)},
}


@pytest.mark.parametrize("name", NOTHING)
def test_neutral_numbers_of_a_part_change_nothing(name: str, image: Pixels):
    np.testing.assert_array_equal(apply(image, plan_of(NOTHING[name])), image)


def test_plans_of_earlier_versions_load(image: Pixels):
    text = (
        '{"size": 96, "translate": [2, 0], "motion": null, "blur": {"radius": 3, "sigma_x": 1.5, '
        '"sigma_y": 1.5, "rotation": 0.0}, "down": 3.0, "noise_sigma": 4.0, "noise_seed": 7, '
        '"jpeg_quality": 60, "shift": null, "gray": true, "jitter": [["contrast", 1.2]]}'
    )
    plan = Plan.from_json(text)
    assert (plan.print, plan.damage, plan.sharpening, plan.generations) == (None, None, None, ())
    same = Plan(
        size=96,
        translate=(2, 0),
        blur=GaussianBlur(3, 1.5, 1.5, 0),
        down=3,
        noise_sigma=4,
        noise_seed=7,
        jpeg_quality=60,
        gray=True,
        jitter=(("contrast", 1.2),),
    )
    np.testing.assert_array_equal(apply(image, plan), apply(image, same))


@pytest.mark.parametrize("name", PRESETS)
def test_replay_through_json_is_bit_exact(name: str, image: Pixels):
    for seed in range(5):
        before = image.copy()
        first, plan = degrade(image, name, seed)
        again = Plan.from_json(plan.to_json())
        assert again == plan
        np.testing.assert_array_equal(apply(image, again), first)
        np.testing.assert_array_equal(degrade(image, plan)[0], first)
        np.testing.assert_array_equal(image, before)


def test_a_plan_prints_its_numbers():
    blur = GaussianBlur(20, 7, 3, 0.5)
    text = str(Plan(size=512, blur=blur, down=8.5, noise_sigma=4, jpeg_quality=41, gray=True))
    for part in ("512 px", "7.00", "3.00", "8.50", "noise 4.0", "jpeg 41", "gray"):
        assert part in text


def part(group: str, name: str, **numbers: object) -> str:
    return json.dumps({"size": 8, group: {name: numbers}})


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"size": 8, "colour": 3}', "colour"),
        ('{"size": 8, "blur": {"radius": 2, "sigma_x": 1, "sigma_y": 1, "rotation": 0, "x": 1}}', "x"),
        ('{"size": 8, "down": 0}', "down"),
        ('{"size": 8, "down": NaN}', "down"),
        ('{"size": 8, "jpeg_quality": 101}', "jpeg_quality"),
        ('{"size": 8, "motion": {"length": 1e9, "angle": 0, "bend": 0}}', "length"),
        ('{"size": 8, "jitter": [["warmth", 1]]}', "jitter"),
        (json.dumps({"size": 8, "jitter": 17 * [["hue", 0.1]]}), "jitter"),
        (part("print", "soft_focus", sigma=1e9, share=0.5), "sigma"),
        (part("print", "soft_focus", sigma=5, share=1.5), "share"),
        (part("print", "tone", hue=2), "hue"),
        (part("print", "grain", strength=1e9, size=1), "strength"),
        (part("print", "grain", strength=5, size=0), "size"),
        (part("print", "grain", strength=5, size=1e9), "size"),
        (part("print", "halftone", pitch=0, hardness=1, angles=[0]), "pitch"),
        (part("print", "halftone", pitch=4, hardness=1, angles=[0, 1]), "angles"),
        (part("print", "halftone", pitch=4, hardness=-1, angles=[0]), "hardness"),
        (part("print", "paper", strength=2, size=1), "strength"),
        (part("print", "levels", gamma=0), "gamma"),
        (part("print", "levels", black=-9), "black"),
        (part("print", "levels", surprise=1), "surprise"),
        (part("damage", "scratches", count=10**6, width=1, opacity=1, slant=0), "count"),
        (part("damage", "scratches", count=1, width=1e6, opacity=1, slant=0), "width"),
        (part("damage", "dust", specks=10**6, hairs=0, size=1, opacity=1), "specks"),
        (part("damage", "dust", specks=0, hairs=10**6, size=1, opacity=1), "hairs"),
        (part("damage", "folds", count=10**6, width=1, opacity=1), "count"),
        ('{"size": 8, "sharpening": {"sigma": 1e6, "amount": 1}}', "sigma"),
        ('{"size": 8, "sharpening": {"sigma": 1, "amount": NaN}}', "amount"),
        ('{"size": 8, "generations": [{"scale": 9, "quality": 50}]}', "scale"),
        ('{"size": 8, "generations": [{"scale": 0.5, "quality": 0}]}', "quality"),
        (json.dumps({"size": 8, "generations": 5 * [{"scale": 0.5, "quality": 50}]}), "generations"),
        ("{}", "size"),
        ("[]", "text"),
        ("not json", "text"),
        ("", "text"),
    ],
)
def test_bad_json_is_refused_in_one_line(text: str, where: str):
    with pytest.raises(ConfigError) as info:
        Plan.from_json(text)
    assert where in str(info.value)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("name", PRESETS)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    value=st.sampled_from([0, 128, 255]),
    seed=st.integers(0, 99),
)
def test_any_shape_and_flat_colour(name: str, height: int, width: int, value: int, seed: int):
    image = np.full((height, width, 3), value, np.uint8)
    result, _ = degrade(image, name, seed)
    assert result.shape == image.shape
    assert result.dtype == np.uint8


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_do_not_wrap(value: int):
    image = np.full((64, 64, 3), value, np.uint8)
    for seed in range(20):
        result, _ = degrade(image, "heavy", seed)
        assert np.abs(result.astype(int) - value).max() < 128


def test_toned_faces_have_no_colours_of_their_own():
    assert NEUTRAL.coloured
    assert replace(NEUTRAL, print=Print(grain=Grain(3, 1))).coloured
    assert not replace(NEUTRAL, gray=True).coloured
    assert not replace(NEUTRAL, print=Print(tone=Tone())).coloured
    assert not replace(NEUTRAL, print=Print(tone=Tone(0.1, 0.2, 0))).coloured


def test_gray_has_equal_channels(image: Pixels):
    result = apply(image, replace(NEUTRAL, gray=True))
    np.testing.assert_array_equal(result[..., 0], result[..., 1])
    np.testing.assert_array_equal(result[..., 0], result[..., 2])
    luma = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(result[..., 0] - luma).max() <= 0.51
    np.testing.assert_array_equal(apply(image, replace(NEUTRAL, print=Print(tone=Tone()))), result)


def test_jitter_matches_closed_forms(image: Pixels):
    x = image.astype(float)
    luma = x @ np.array([0.299, 0.587, 0.114])
    expected = {
        ("brightness", 0.7): 0.7 * x,
        ("contrast", 0.4): 0.4 * x + 0.6 * luma.mean(),
        ("saturation", 0.0): np.repeat(luma[..., None], 3, axis=2),
    }
    for step, wanted in expected.items():
        result = apply(image, replace(NEUTRAL, jitter=(step,)))  # type: ignore[arg-type]
        assert np.abs(result - wanted).max() <= 0.51, step


def test_hue_turns_red_to_green():
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    for turn in (1 / 3, -2 / 3, -5 / 3, 7 / 3):
        np.testing.assert_array_equal(
            apply(red, Plan(size=4, jitter=(("hue", turn),))), np.roll(red, 1, axis=2)
        )


def test_a_picture_that_would_grow_beyond_memory_is_refused():
    line = np.zeros((1, 4_000_000, 3), np.uint8)
    with pytest.raises(InputError, match="enlarges the picture to 32000000 x 8"):
        apply(line, Plan(size=8, down=0.125))


def test_noise_has_the_asked_strength_in_each_channel():
    image = np.full((256, 256, 3), 128, np.uint8)
    result = apply(image, Plan(size=256, noise_sigma=12.0, noise_seed=4)).astype(float) - 128
    np.testing.assert_allclose(result.std(axis=(0, 1)), 12, rtol=0.02)
    assert abs(np.corrcoef(result.reshape(-1, 3).T)[0, 1]) < 0.02


def test_jpeg_keeps_the_channel_order():
    image = np.zeros((16, 16, 3), np.uint8)
    image[...] = (200, 100, 30)
    result = apply(image, Plan(size=16, jpeg_quality=95)).astype(int)
    assert np.abs(result - image).max() <= 3


@pytest.mark.parametrize(
    ("shape", "kind"), [((8, 8), "u1"), ((8, 8, 4), "u1"), ((0, 8, 3), "u1"), ((8, 8, 3), "f4")]
)
def test_other_arrays_are_refused(shape: tuple[int, ...], kind: str):
    with pytest.raises(ConfigError, match="uint8 RGB"):
        apply(np.zeros(shape, kind), NEUTRAL)

import numpy as np
import pytest

from facemend.degradations import Mixture, Recipe, apply, degrade, preset, recipe_of
from facemend.degradations.sheet import CELL, COLUMNS, LABEL, draw_sheet
from facemend.errors import ConfigError

ONE = Recipe(blur_sigma=(1, 1), down=(2, 2), noise=(0, 0), jpeg=(90, 90))
TWO = Recipe(blur_sigma=(1, 1), down=(3, 3), noise=(0, 0), jpeg=(90, 90))
THREE = Recipe(blur_sigma=(1, 1), down=(4, 4), noise=(0, 0), jpeg=(90, 90))


def test_recipes_are_drawn_by_weight():
    mixture = Mixture(((1.5, ONE), (0.5, TWO), (3, THREE)))
    downs = [mixture.draw(np.random.default_rng(seed)).down for seed in range(4000)]
    for down, share in ((2, 0.3), (3, 0.1), (4, 0.6)):
        assert np.mean(np.array(downs) == down) == pytest.approx(share, abs=0.025)


def test_the_same_seed_draws_the_same_plan():
    mixture = recipe_of({"mixed": 0.6, "scan": 0.4})
    plans = [[mixture.draw(np.random.default_rng(seed), 256) for seed in range(40)] for _ in range(2)]
    assert plans[0] == plans[1]
    assert len(set(plans[0])) == 40
    assert {plan.size for plan in plans[0]} == {256}
    assert 5 < sum(plan.print is not None for plan in plans[0]) < 30


def test_a_part_of_a_mixture_draws_as_it_does_alone_and_a_name_is_the_preset_itself():
    rng = np.random.default_rng(8)
    rng.random()  # chooses
    plan = preset("heavy").draw(rng)
    assert recipe_of({"heavy": 2}).draw(np.random.default_rng(8)) == plan
    assert recipe_of("heavy") is preset("heavy")
    image = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    result, drawn = degrade(image, recipe_of({"heavy": 2}), 8)
    assert drawn == plan
    np.testing.assert_array_equal(apply(image, plan), result)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({}, "no recipe"),
        ({"mixed": 0}, "above 0, got 0"),
        ({"mixed": 1, "scan": -0.5}, "above 0, got -0.5"),
        ({"mixed": float("nan")}, "above 0"),
        ({"mixed": float("inf")}, "above 0"),
        ({"mixed": "much"}, "above 0, got much"),
        ({"mixed": 1, "nasty": 1}, r"'nasty': choose one of .*mixed"),
        ("nasty", r"'nasty': choose one of .*scan"),
    ],
    ids=str,
)
def test_wrong_mixtures_are_refused(value: object, match: str):
    with pytest.raises(ConfigError, match=match):
        recipe_of(value)  # type: ignore[arg-type]


def cells(sheet: np.ndarray, side: int) -> list[np.ndarray]:
    rows = sheet.reshape(-1, side + LABEL, COLUMNS, side, 3).transpose(0, 2, 1, 3, 4)
    return [cell[:side] for row in rows for cell in row]


def test_a_sheet_shows_the_clean_face_and_then_draws_by_seed():
    rng = np.random.default_rng(2)
    faces = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    shown = cells(draw_sheet(faces[:1], preset("scan"), 10), 64)
    assert len(shown) == 24
    np.testing.assert_array_equal(shown[0], faces[0])
    for number in (0, 7, 22):
        np.testing.assert_array_equal(shown[1 + number], degrade(faces[0], "scan", 10 + number)[0])
    both = cells(draw_sheet(faces, preset("scan"), 10), 64)
    assert len(both) == 24
    np.testing.assert_array_equal(both[12], faces[1])
    np.testing.assert_array_equal(both[13], degrade(faces[1], "scan", 21)[0])
    assert len(cells(draw_sheet(faces * 3, preset("scan")), 64)) == 36


def test_large_pictures_are_shown_smaller_and_keep_their_shape():
    face = np.full((2 * CELL, CELL, 3), 40, np.uint8)
    clean = cells(draw_sheet([face], preset("medium")), CELL)[0]
    np.testing.assert_array_equal(clean[:, : CELL // 2], 40)
    np.testing.assert_array_equal(clean[:, CELL // 2 :], 245)

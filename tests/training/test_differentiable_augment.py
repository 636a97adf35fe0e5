"""Differentiable augmentation: closed forms, the neutral values, and the gradient."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from facemend.training.differentiable_augment import Augmentation, augment, draw_augmentation

COUNT, HEIGHT, WIDTH = 3, 16, 24


def neutral(count: int = COUNT) -> Augmentation:
    zeros, ones = torch.zeros(count), torch.ones(count)
    return Augmentation(zeros, ones, ones, torch.zeros(count, 2), torch.full((count, 2), 0.5), zeros)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(COUNT, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 2 - 1


def drawn(seed: int, count: int = COUNT) -> Augmentation:
    return draw_augmentation(count, torch.Generator().manual_seed(seed))


def test_the_neutral_one_changes_nothing(image):
    assert torch.equal(augment(image, neutral()), image)


@pytest.mark.parametrize("name", [field.name for field in fields(Augmentation) if field.name != "centre"])
def test_each_part_changes_the_picture(image, name):
    plan = replace(neutral(), **{name: getattr(drawn(1), name)})
    assert not torch.equal(augment(image, plan), image)


def test_colours_have_their_closed_form(image):
    values = torch.tensor([-0.5, 0.2, 0.4]), torch.tensor([0.0, 0.5, 2.0]), torch.tensor([0.5, 1.5, 1.0])
    plan = replace(neutral(), brightness=values[0], saturation=values[1], contrast=values[2])
    for k, x in enumerate(image.double().numpy()):
        brightness, saturation, contrast = (float(v[k]) for v in values)
        x = x + brightness
        gray = x.mean(0, keepdims=True)
        x = gray + saturation * (x - gray)
        x = x.mean() + contrast * (x - x.mean())
        np.testing.assert_allclose(augment(image, plan)[k].numpy(), x, atol=1e-5)


def test_translation_moves_and_leaves_gray(image):
    plan = replace(neutral(), shift=torch.tensor([[1 / 8, 0.0], [0.0, -1 / 8], [-1 / 8, 1 / 8]]))
    moved = augment(image, plan)
    for k, (down, right) in enumerate([(2, 0), (0, -3), (-2, 3)]):
        expected = np.zeros((3, HEIGHT, WIDTH), np.float32)
        for i in range(HEIGHT):
            for j in range(WIDTH):
                if 0 <= i - down < HEIGHT and 0 <= j - right < WIDTH:
                    expected[:, i, j] = image[k, :, i - down, j - right]
        np.testing.assert_array_equal(moved[k].numpy(), expected)


def test_the_hole_is_a_quarter_of_the_area_and_cut_by_the_edges(image):
    centre = torch.tensor([[0.5, 0.5], [0.0, 0.0], [1.0, 0.5]])
    holed = augment(image, replace(neutral(), hole=torch.full((COUNT,), 0.5), centre=centre))
    empty = (holed == 0).all(1)
    assert empty.float().mean((1, 2)).tolist() == [1 / 4, 1 / 16, 1 / 8]
    assert empty[1, : HEIGHT // 4, : WIDTH // 4].all()
    assert torch.equal(holed[:, :, ~empty.any(0)], image[:, :, ~empty.any(0)])


def test_draws_are_the_generators_and_within_bounds():
    first, again, other = drawn(3, 500), drawn(3, 500), drawn(4, 500)
    for field in fields(Augmentation):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
        assert field.name == "hole" or not torch.equal(getattr(first, field.name), getattr(other, field.name))
    bounds = {
        "brightness": (-0.5, 0.5), "saturation": (0, 2), "contrast": (0.5, 1.5), "shift": (-1 / 8, 1 / 8),
        "centre": (0, 1), "hole": (0.5, 0.5),
    }  # fmt: skip
    for name, (low, high) in bounds.items():
        values = getattr(first, name)
        span = 0.02 * (high - low)
        assert low <= values.min() <= low + span
        assert high - span <= values.max() <= high


def test_rows_are_those_of_the_pictures(image):
    plan = drawn(5)
    whole = augment(image, plan)
    chosen = torch.tensor([0, 2])
    assert torch.equal(augment(image[chosen], plan.rows(chosen)), whole[chosen])
    assert torch.equal(augment(image[1:], plan.rows(slice(1, None))), whole[1:])


def test_gradient_is_that_of_finite_differences(image):
    plan = drawn(6, 1)
    small = image[:1, :, :6, :8].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, plan), (small,))

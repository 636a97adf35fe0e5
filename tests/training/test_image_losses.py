"""The gradient at the picture is that of the weighted sum."""

import pytest
import torch

from facemend.faces.template import template_points
from facemend.imaging import luma
from facemend.metrics import identity_measures
from facemend.training.image_losses import ImageLosses, _place, in_gray
from facemend.training.settings import PerceptualConfig


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1
    target = torch.nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(-1, 1)
    return (target + 0.2 * torch.randn(target.shape, generator=generator)).clamp(-1, 1), target


@pytest.mark.parametrize("identity", [0.0, 0.5])
def test_the_gradient_is_the_slope_of_the_sum(identity):
    image, target = pair()
    losses = ImageLosses(1.0, [PerceptualConfig(net="alex")], identity)
    metrics, gradient = losses(image, target, torch.Generator().manual_seed(1))
    assert ("identity" in metrics) == bool(identity)

    def total(x: torch.Tensor) -> float:
        values, _ = losses(x, target, torch.Generator().manual_seed(1))
        extra = identity * identity_term(x, target) if identity else 0
        return float(values["l1"] + values["lpips_alex"] + extra)

    def identity_term(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return identity_measures((x + 1) / 2, (y + 1) / 2)["identity_distance"].square().mean()

    direction = torch.nn.functional.avg_pool2d(gradient.sign(), 5, 1, 2)
    step = 2e-3
    slope = (total(image + step * direction) - total(image - step * direction)) / (2 * step)
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=0.05)


def test_eyes_weigh_more():
    target = torch.zeros(1, 3, 96, 96)
    metrics, gradient = ImageLosses(1.0, [], eye_weight=4.0)(target + 0.1, target, torch.Generator())
    assert float(metrics["l1"]) == pytest.approx(0.1)  # what is told stays comparable
    weights = gradient[0, 0] * gradient.numel()
    eyes = [weights[round(y), round(x)] for x, y in template_points(96)[:2]]
    assert eyes == [pytest.approx(5, abs=0.2)] * 2
    assert float(weights[80:].max()) == pytest.approx(1, abs=1e-3)
    assert float(weights.mean()) < 1.5


def test_windows_on_the_features_hold_eyes_and_mouth():
    eyes_and_mouth = template_points(256)
    term = PerceptualConfig(net="alex", window=128, focus=1.0)
    generator = torch.Generator().manual_seed(0)
    places = [_place(term, (256, 256), generator) for _ in range(50)]
    assert len({(rows.start, columns.start) for rows, columns in places}) > 20
    for rows, columns in places:
        assert (rows.stop - rows.start, columns.stop - columns.start) == (128, 128)
        for x, y in eyes_and_mouth:
            assert rows.start <= y < rows.stop
            assert columns.start <= x < columns.stop


def test_half_of_the_windows_lie_anywhere():
    term = PerceptualConfig(net="alex", window=64, focus=0.5)
    generator = torch.Generator().manual_seed(0)
    starts = [tuple(part.start for part in _place(term, (256, 256), generator)) for _ in range(400)]
    near = [
        start
        for start in starts
        if all(abs(s + 32 - c) <= 18 for s, c in zip(start, (154, 128), strict=True))
    ]
    assert 180 < len(near) < 250  # 200, and those that chance puts there
    assert max(start[0] for start in starts) > 180
    larger = _place(PerceptualConfig(window=128, focus=1.0), (64, 64), generator)
    assert larger == (slice(0, 64), slice(0, 64))


def test_coarse_faces_are_compared_at_half_size():
    """A batch of both kinds: the mean over faces of what each would say alone."""
    image, target = pair()
    losses = ImageLosses(1.0, [PerceptualConfig(net="alex")])
    half = [torch.nn.functional.avg_pool2d(x, 2) for x in (image, target)]
    alone = [
        losses(image[:1], target[:1], torch.Generator())[0],
        losses(half[0][1:], half[1][1:], torch.Generator())[0],
    ]
    mixed, gradient = losses(image, target, torch.Generator(), fine=torch.tensor([True, False]))
    for name in ("l1", "lpips_alex"):
        assert float(mixed[name]) == pytest.approx(float(alone[0][name] + alone[1][name]) / 2, rel=1e-5)
    # Nothing finer than two pixels is asked of a coarse face.
    cells = gradient[1].unflatten(1, (32, 2)).unflatten(3, (32, 2))
    assert torch.equal(cells[:, :, 0, :, 0], cells[:, :, 1, :, 1])
    assert gradient[0].abs().sum() > 0


@pytest.mark.parametrize("fine", [True, False])
def test_batches_of_one_kind(fine):
    image, target = pair()
    losses = ImageLosses(1.0, [PerceptualConfig(net="alex")])
    metrics, _ = losses(image, target, torch.Generator(), fine=torch.full((2,), fine))
    seen = (image, target) if fine else [torch.nn.functional.avg_pool2d(x, 2) for x in (image, target)]
    wanted, _ = losses(*seen, torch.Generator())
    assert metrics["l1"] == wanted["l1"]
    assert metrics["lpips_alex"] == wanted["lpips_alex"]


def test_a_term_can_look_at_the_whole_for_little():
    """`shrink` averages before comparing; two terms of one trunk have metrics of their own."""
    image, target = pair()
    terms = [PerceptualConfig(net="alex", shrink=2), PerceptualConfig(net="alex", weight=2.0)]
    metrics, _ = ImageLosses(0.0, terms)(image, target, torch.Generator())
    half = [torch.nn.functional.avg_pool2d(x, 2) for x in (image, target)]
    one = ImageLosses(0.0, [PerceptualConfig(net="alex")])
    assert metrics["lpips_alex"] == one(*half, torch.Generator())[0]["lpips_alex"]
    assert metrics["lpips_alex_2"] == one(image, target, torch.Generator())[0]["lpips_alex"]


def test_only_faces_without_colours_are_taken_as_gray():
    faces, _ = pair()
    coloured = torch.tensor([True, False])
    seen = in_gray(faces, coloured)
    assert torch.equal(seen[0], faces[0])
    assert torch.equal(seen[1, 0], seen[1, 2])
    expected = torch.from_numpy(luma((faces[1].permute(1, 2, 0).numpy() + 1) / 2)) * 2 - 1
    torch.testing.assert_close(seen[1, 1], expected, rtol=0, atol=1e-5)


def test_a_face_is_seen_at_one_place_whatever_is_beside_it():
    """Of two processes one may have coarse faces alone."""
    losses = ImageLosses(0.0, (PerceptualConfig(net="alex", window=32),))
    image, target = torch.rand(2, 2, 3, 128, 128) * 2 - 1
    gradients = [
        losses(image[rows], target[rows], torch.Generator().manual_seed(7), None, torch.tensor(fine))[1]
        for rows, fine in ((slice(2), [True, False]), (slice(1, 2), [False]))
    ]
    torch.testing.assert_close(2 * gradients[0][1:], gradients[1])


def test_what_is_drawn_afterwards_does_not_depend_on_the_faces():
    """Of two processes one may have fine faces alone: the discriminators' draws must stay the same."""
    losses = ImageLosses(1.0, (PerceptualConfig(net="alex", window=64, focus=0.5),))
    image, target = torch.rand(2, 2, 3, 128, 128) * 2 - 1
    after = []
    for fine in ([True, True], [True, False], [False, False]):
        generator = torch.Generator().manual_seed(7)
        losses(image, target, generator, None, torch.tensor(fine))
        after.append(torch.rand(3, generator=generator))
    assert torch.equal(after[0], after[1])
    assert torch.equal(after[0], after[2])

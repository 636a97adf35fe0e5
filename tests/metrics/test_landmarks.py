import math

import pytest
import torch

from facemend.metrics import landmark_distance


def test_a_shift_is_its_length_in_pixels_of_512():
    points = torch.rand(2, 468, 2, generator=torch.Generator().manual_seed(0)) * 256
    moved = points + torch.tensor([[3.0, 4.0], [0.0, 1.0]])[:, None]
    torch.testing.assert_close(
        landmark_distance(moved, points, 256),
        torch.tensor([10.0, 2.0], dtype=torch.float64),
        atol=1e-4,
        rtol=0,
    )
    torch.testing.assert_close(
        landmark_distance(moved, points, 512),
        torch.tensor([5.0, 1.0], dtype=torch.float64),
        atol=1e-4,
        rtol=0,
    )
    assert landmark_distance(points, points, 256).tolist() == [0, 0]


def test_the_mean_is_over_lengths_not_over_coordinates():
    a = torch.zeros(1, 2, 2)
    b = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert landmark_distance(a, b, 512).item() == pytest.approx(math.sqrt(2) / 2)


def test_one_set_serves_a_batch():
    a = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(1))
    b = torch.rand(1, 5, 2, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(landmark_distance(a, b, 64), landmark_distance(a, b.expand(3, 5, 2), 64))


@pytest.mark.parametrize(
    ("a", "b"), [((2, 5, 2), (2, 4, 2)), ((2, 5, 2), (3, 5, 2)), ((5, 2), (5, 2)), ((2, 5, 3), (2, 5, 3))]
)
def test_other_shapes_are_refused(a, b):
    with pytest.raises(ValueError, match="LMD compares"):
        landmark_distance(torch.zeros(a), torch.zeros(b), 512)

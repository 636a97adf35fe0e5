import math

import pytest
import torch

from facemend.metrics import landmark_distance


@pytest.mark.parametrize(("size", "lengths"), [(256, [10.0, 2.0]), (512, [5.0, 1.0])])
def test_a_shift_is_its_length_in_pixels_of_512(size, lengths):
    points = torch.rand(2, 468, 2, generator=torch.Generator().manual_seed(0)) * 256
    moved = points + torch.tensor([[3.0, 4.0], [0.0, 1.0]])[:, None]
    assert landmark_distance(moved, points, size).tolist() == pytest.approx(lengths, abs=1e-4)
    # One set serves a batch.
    one = landmark_distance(moved, points[:1], size)
    torch.testing.assert_close(one, landmark_distance(moved, points[:1].expand(2, -1, -1), size))


def test_the_mean_is_over_lengths_not_over_coordinates():
    a = torch.zeros(1, 2, 2)
    b = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert landmark_distance(a, b, 512).item() == pytest.approx(math.sqrt(2) / 2)


@pytest.mark.parametrize(
    ("a", "b"), [((2, 5, 2), (2, 4, 2)), ((2, 5, 2), (3, 5, 2)), ((5, 2), (5, 2)), ((2, 5, 3), (2, 5, 3))]
)
def test_other_shapes_are_refused(a, b):
    with pytest.raises(ValueError, match="LMD compares"):
        landmark_distance(torch.zeros(a), torch.zeros(b), 512)

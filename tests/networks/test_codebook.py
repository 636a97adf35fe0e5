"""Nearest-neighbour lookup, straight-through gradient, usage figures."""

import pytest
import torch

from facemend.networks.codeformer.codebook import Codebook, code_usage


@pytest.fixture
def codebook():
    torch.manual_seed(0)
    book = Codebook(20, 6)
    with torch.no_grad():
        book.vectors.normal_()
    return book


@pytest.fixture
def z():
    return torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(1))


def test_initial_range():
    vectors = Codebook(50, 100).vectors
    assert vectors.shape == (50, 100)
    assert vectors.abs().max() <= 1 / 50
    assert vectors.abs().max() > 0.9 / 50


def test_nearest_by_brute_force(codebook, z):
    codes = codebook.nearest(z)
    assert codes.shape == (2, 12)
    for b in range(2):
        for row in range(3):
            for column in range(4):
                distances = [
                    float((z[b, :, row, column] - v).double().square().sum())
                    for v in codebook.vectors.detach()
                ]
                assert codes[b, row * 4 + column] == distances.index(min(distances))


def test_nearest_ignores_autocast(codebook, z):
    """bfloat16 has 8 bits: codes a thousandth apart would be confused."""
    with torch.no_grad():
        codebook.vectors.copy_(10 + 0.001 * codebook.vectors)
    wanted = codebook.nearest(10 + 0.001 * z)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(codebook.nearest(10 + 0.001 * z), wanted)


def test_lookup_is_row_by_row(codebook):
    vectors = codebook.lookup(torch.tensor([[3, 5, 7, 9, 11, 13]]), (2, 3))
    assert vectors.shape == (1, 6, 2, 3)
    assert torch.equal(vectors[0, :, 1, 0], codebook.vectors[9])


def test_layout_is_left_to_the_decoder(codebook):
    """By channel: a convolution lays its output out by pixel where its input is, whatever its weights are."""
    assert codebook.lookup(torch.zeros(2, 6, dtype=torch.int64), (2, 3)).is_contiguous()


def test_gradient_goes_straight_through(codebook, z):
    z.requires_grad_()
    weight = torch.randn(2, 6, 3, 4)
    (codebook(z).features * weight).sum().backward()
    assert torch.equal(z.grad, weight)
    assert codebook.vectors.grad is None


def test_vectors_train_the_codebook_only(codebook, z):
    z.requires_grad_()
    quantized = codebook(z)
    quantized.vectors.sum().backward()
    assert z.grad is None
    times = torch.bincount(quantized.codes.flatten(), minlength=20).float()
    torch.testing.assert_close(codebook.vectors.grad, times[:, None].expand(20, 6))


@pytest.mark.parametrize(
    ("counts", "used", "perplexity"),
    [
        ([5, 5, 5, 5], 1.0, 4.0),
        ([0, 7, 0, 0], 0.25, 1.0),
        ([3, 3, 0, 0], 0.5, 2.0),
        # exp(entropy of 1/2, 1/4, 1/4) = 2^(1/2 + 1/2 + 1/2)
        ([2, 1, 1, 0], 0.75, 2**1.5),
        ([0, 0, 0, 0], 0.0, 1.0),
    ],
)
def test_usage(counts, used, perplexity):
    usage = code_usage(torch.tensor(counts))
    assert usage.used == pytest.approx(used)
    assert usage.perplexity == pytest.approx(perplexity)

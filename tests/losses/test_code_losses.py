"""Code loss in both forms, feature and token losses, code accuracy."""

import math

import pytest
import torch

from facemend.losses.codes import code_accuracy, code_loss, feature_loss, token_loss


@pytest.fixture
def z():
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.fixture
def vectors():
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()


@pytest.mark.parametrize(("form", "commitment", "codebook"), [("release", 1.0, 0.25), ("paper", 0.25, 1.0)])
def test_code_loss(z, vectors, form, commitment, codebook):
    loss = code_loss(z, vectors, beta=0.25, form=form)
    difference = (z - vectors).detach()
    assert loss.item() == pytest.approx(1.25 * difference.square().mean().item(), rel=1e-5)
    loss.backward()
    # d mean(d^2) / d z = 2 d / n; each term reaches one side only.
    slope = 2 * difference / difference.numel()
    torch.testing.assert_close(z.grad, commitment * slope)
    torch.testing.assert_close(vectors.grad, -codebook * slope)


def test_beta_scales_the_lesser_term(z, vectors):
    code_loss(z, vectors, beta=0.1).backward()
    torch.testing.assert_close(vectors.grad, -0.1 * z.grad)


def test_feature_loss_trains_the_encoder_only(z, vectors):
    loss = feature_loss(z, vectors)
    loss.backward()
    assert loss.item() == pytest.approx((z - vectors).square().mean().item(), rel=1e-5)
    assert z.grad is not None
    assert vectors.grad is None


def test_token_loss_at_chance_is_the_logarithm_of_the_codebook_size():
    loss = token_loss(torch.zeros(2, 5, 1024), torch.randint(1024, (2, 5)))
    assert loss.item() == pytest.approx(math.log(1024), rel=1e-5)


def test_token_loss_by_hand():
    logits = torch.tensor([[[1.0, 2.0, 3.0], [0.0, 0.0, 5.0]]])
    first = math.log(sum(math.exp(v) for v in (1, 2, 3))) - 3
    second = math.log(2 + math.exp(5)) - 0
    assert token_loss(logits, torch.tensor([[2, 0]])).item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_token_loss_in_bfloat16_is_counted_in_float32():
    logits = torch.randn(1, 4, 64).bfloat16()
    codes = torch.randint(64, (1, 4))
    assert token_loss(logits, codes).dtype == torch.float32
    assert token_loss(logits, codes).item() == token_loss(logits.float(), codes).item()


def test_accuracy():
    # Ranks of the true code: 0, 4, 5, 0.
    logits = torch.arange(10.0, 0.0, -1).repeat(1, 4, 1)
    accuracy = code_accuracy(logits, torch.tensor([[0, 4, 5, 0]]))
    assert accuracy.top1 == pytest.approx(0.5)
    assert accuracy.top5 == pytest.approx(0.75)


def test_accuracy_with_fewer_than_five_codes():
    accuracy = code_accuracy(torch.tensor([[[3.0, 2.0, 1.0]]]), torch.tensor([[2]]))
    assert (accuracy.top1, accuracy.top5) == (0.0, 1.0)

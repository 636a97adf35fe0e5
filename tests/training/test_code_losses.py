"""Code loss in both forms, feature and token losses, code accuracy."""

import math

import pytest
import torch

from facemend.training.code_losses import code_accuracy, code_loss, feature_loss, soft_targets, token_loss


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


def test_feature_loss_trains_the_encoder_only(z, vectors):
    loss = feature_loss(z, vectors)
    loss.backward()
    assert loss.item() == pytest.approx((z - vectors).square().mean().item(), rel=1e-5)
    assert z.grad is not None
    assert vectors.grad is None


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
    assert code_accuracy(logits, torch.tensor([[0, 4, 5, 0]])) == pytest.approx((0.5, 0.75))


def test_accuracy_with_fewer_than_five_codes():
    assert code_accuracy(torch.tensor([[[3.0, 2.0, 1.0]]]), torch.tensor([[2]])) == (0.0, 1.0)


@pytest.fixture
def table():
    return torch.randn(9, 4, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_soft_targets_by_brute_force(table, temperature):
    distance = [[float((a - b).double().square().sum()) for b in table] for a in table]
    unit = sum(min(d for k, d in enumerate(row) if k != s) for s, row in enumerate(distance)) / 9
    targets = soft_targets(table, temperature)
    assert targets.shape == (9, 9)
    for s, row in enumerate(distance):
        weights = [math.exp(-d / (temperature * unit)) for d in row]
        wanted = [weight / sum(weights) for weight in weights]
        assert targets[s].tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("temperature", [0.3, 5.0])
def test_soft_token_loss_by_brute_force(table, temperature):
    logits = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(3), requires_grad=True)
    codes = torch.randint(9, (2, 5), generator=torch.Generator().manual_seed(4))
    targets = soft_targets(table, temperature)
    loss = token_loss(logits, codes, targets)
    loss.backward()
    total, slopes = 0.0, torch.zeros(2, 5, 9)
    for b in range(2):
        for t in range(5):
            said = [math.exp(v) for v in logits[b, t].tolist()]
            wanted = targets[codes[b, t]].tolist()
            total -= sum(p * math.log(q / sum(said)) for p, q in zip(wanted, said, strict=True)) / 10
            slopes[b, t] = torch.tensor([(q / sum(said) - p) / 10 for p, q in zip(wanted, said, strict=True)])
    assert loss.item() == pytest.approx(total, rel=1e-5)
    torch.testing.assert_close(logits.grad, slopes, atol=1e-6, rtol=1e-4)


def test_cold_targets_are_hard(table):
    logits = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(3))
    codes = torch.randint(9, (2, 5), generator=torch.Generator().manual_seed(4))
    assert torch.equal(soft_targets(table, 1e-4), torch.eye(9))
    cold = token_loss(logits, codes, soft_targets(table, 1e-4))
    assert cold.item() == pytest.approx(token_loss(logits, codes).item(), rel=1e-6)
    warm = token_loss(logits, codes, soft_targets(table, 5.0))
    assert abs(warm.item() - cold.item()) > 1e-2


def test_codes_at_the_same_place_share_the_target(table):
    """As dead codes do; a table of nothing else has no unit of distance."""
    twice = torch.cat((table, table[:1]))
    torch.testing.assert_close(soft_targets(twice, 1e-4)[0, [0, 9]], torch.tensor([0.5, 0.5]))
    assert torch.equal(soft_targets(table[:1].expand(4, 4), 1.0), torch.full((4, 4), 0.25))

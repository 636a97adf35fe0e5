"""Hinge losses and the adaptive weight against closed forms."""

import pytest
import torch
from torch import nn

from facemend.training.adversarial_loss import adaptive_weight, generator_loss, hinge_discriminator_loss


def test_hinge_by_hand():
    real = torch.tensor([2.0, 0.5, -1.0])  # 1 - D: below 0, 0.5, 2
    fake = torch.tensor([-3.0, 0.0])  # 1 + D: below 0, 1
    assert hinge_discriminator_loss(real, fake).item() == pytest.approx(2.5 / 3 + 0.5)


def test_hinge_stops_at_the_margin():
    real, fake = torch.tensor([1.5], requires_grad=True), torch.tensor([-1.5], requires_grad=True)
    loss = hinge_discriminator_loss(real, fake)
    loss.backward()
    assert loss.item() == real.grad.item() == fake.grad.item() == 0


def test_generator_loss():
    fake = torch.tensor([1.0, -4.0], requires_grad=True)
    loss = generator_loss(fake)
    loss.backward()
    assert loss.item() == 1.5
    assert fake.grad.tolist() == [-0.5, -0.5]


@pytest.fixture
def scene():
    """A network with a last layer, a target, and a discriminator."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 3, 3, padding=1))
    discriminator = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 1, 3))
    image = network(torch.rand(2, 3, 12, 12))
    return (
        network,
        image,
        (image - torch.rand(2, 3, 12, 12)).abs().mean(),
        generator_loss(discriminator(image)),
    )


def gradient_norm(loss, parameter):
    return torch.autograd.grad(loss, parameter, retain_graph=True)[0].norm()


@pytest.mark.parametrize("scale", [1.0, 1000.0])
@pytest.mark.parametrize("limit", [1.0, 1e9])
def test_adaptive_weight_by_two_backward_passes(scene, scale, limit):
    network, image, reconstruction, adversarial = scene
    adversarial = adversarial * scale
    last = network[2].weight
    at_image = [
        torch.autograd.grad(loss, image, retain_graph=True)[0] for loss in (reconstruction, adversarial)
    ]
    got = adaptive_weight(image, last, *at_image, limit=limit)
    wanted = gradient_norm(reconstruction, last) / (gradient_norm(adversarial, last) + 1e-4)
    assert got.item() == pytest.approx(min(wanted.item(), limit), rel=1e-4)
    assert not got.requires_grad
    assert last.grad is None
    image.sum().backward()  # the graph is left for the step
    assert network[0].weight.grad is not None


def test_adaptive_weight_without_adversarial_gradient_is_finite(scene):
    network, image, reconstruction, _ = scene
    gradient = torch.autograd.grad(reconstruction, image, retain_graph=True)[0]
    weight = adaptive_weight(image, network[2].weight, gradient, torch.zeros_like(gradient))
    assert weight.item() == 1.0  # |.| / 1e-4, cut at the limit

"""The projected discriminator: what is fixed, what is trained, and that it learns."""

import pytest
import torch
from torch.nn import functional as F

from facemend.networks.discriminators.efficientnet import EfficientNetLite0
from facemend.networks.discriminators.projected import ProjectedDiscriminator
from facemend.training.adversarial_loss import hinge_discriminator_loss


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def trunk() -> EfficientNetLite0:
    return EfficientNetLite0()


def projections(net: ProjectedDiscriminator) -> dict[str, torch.Tensor]:
    return {name: value for name, value in net.state_dict().items() if name.startswith(("mix", "down"))}


def test_projections_come_from_the_generator_and_are_saved(trunk):
    first, again, other = (projections(ProjectedDiscriminator(seeded(s), trunk)) for s in (1, 1, 2))
    shapes = {name: tuple(value.shape) for name, value in first.items()}
    assert shapes == {
        "mix0": (64, 24, 1, 1),
        "mix1": (64, 40, 1, 1),
        "mix2": (128, 112, 1, 1),
        "mix3": (256, 320, 1, 1),
        "down0": (64, 64, 3, 3),
        "down1": (64, 128, 3, 3),
        "down2": (128, 256, 3, 3),
    }
    for name, value in first.items():
        assert torch.equal(value, again[name])
        assert not torch.equal(value, other[name])
        # Signals keep their size: variance one over the inputs of a place.
        assert float(value.var() * value[0].numel()) == pytest.approx(1, rel=0.1)


def test_a_checkpoint_brings_its_projections_and_no_trunk(trunk):
    first, second = (ProjectedDiscriminator(seeded(s), trunk).eval() for s in (1, 2))
    assert not [name for name in first.state_dict() if name.startswith("trunk")]
    image = torch.rand(1, 3, 64, 64)
    second.load_state_dict(first.state_dict())
    for a, b in zip(first(image), second(image), strict=True):
        assert torch.equal(a, b)


def test_scales_are_mixed_from_coarse_to_fine_only(trunk, monkeypatch):
    """With the taps made up: a change of one reaches its own scale and the finer ones."""
    net = ProjectedDiscriminator(seeded(0), trunk)
    taps = [torch.randn(1, c, 16 >> k, 16 >> k) for k, c in enumerate((24, 40, 112, 320))]
    monkeypatch.setattr(EfficientNetLite0, "forward", lambda self, image: list(taps))
    before = net.features(torch.zeros(1))
    for level in range(4):
        kept = taps[level]
        taps[level] = kept + 1
        after = net.features(torch.zeros(1))
        changed = [bool((a != b).any()) for a, b in zip(after, before, strict=True)]
        taps[level] = kept
        assert changed == [scale <= level for scale in range(4)]


def test_gradients_reach_picture_and_heads_alone(trunk):
    net = ProjectedDiscriminator(seeded(0), trunk)
    image = torch.rand(2, 3, 64, 64).requires_grad_()
    logits = net(image)
    assert [tuple(x.shape) for x in logits] == [(2, 1, 2, 2)] * 4
    sum(x.mean() for x in logits).backward()
    assert image.grad.abs().sum() > 0
    assert all(name.startswith("heads.") for name, _ in net.named_parameters())
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert not any(buffer.requires_grad for buffer in net.buffers())


def test_spectral_norm_of_the_heads_is_one(trunk):
    net = ProjectedDiscriminator(seeded(0), trunk)
    for _ in range(30):  # each forward pass is one step of the power iteration
        net(torch.zeros(1, 3, 32, 32))
    convs = [layer for head in net.heads for layer in head if isinstance(layer, torch.nn.Conv2d)]
    assert len(convs) == 3 + 2 + 1 + 0 + 2 * 4
    for conv in convs:
        norm = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2)
        assert float(norm) == pytest.approx(1, rel=0.05)


def test_too_small_a_picture_is_named(trunk):
    net = ProjectedDiscriminator(seeded(0), trunk)
    net(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="sides >= 32"):
        net(torch.zeros(1, 3, 31, 40))


def test_it_learns_to_tell_blurred_from_sharp(trunk):
    torch.manual_seed(0)
    net = ProjectedDiscriminator(seeded(0), trunk)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, betas=(0.5, 0.99), weight_decay=0)
    losses = []
    for _ in range(12):
        sharp = (F.interpolate(torch.rand(8, 3, 16, 16), scale_factor=4) * 2 - 1).clamp(-1, 1)
        blurred = F.avg_pool2d(F.pad(sharp, (2,) * 4, mode="replicate"), 5, 1)
        loss = torch.stack(
            [hinge_discriminator_loss(a, b) for a, b in zip(net(sharp), net(blurred), strict=True)]
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 1.5
    assert losses[-1] < 0.5

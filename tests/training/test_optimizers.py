"""Muon against torch's own, AdamW inside it against torch's, and which weights go where."""

import pytest
import torch
from torch import nn

from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import preset
from facemend.training import optimizers
from facemend.training.optimizers import Muon, make_optimizer, orthogonal
from facemend.training.settings import OptimConfig


def gradients(shape, steps=4):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for _ in range(steps)]


@pytest.mark.parametrize("shape", [(24, 16), (16, 40), (32, 32)])
def test_a_matrix_moves_as_with_torchs_muon(monkeypatch, shape):
    monkeypatch.setattr(optimizers, "bf16_pays", lambda device: True)  # torch's is always in bf16
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours = nn.Parameter(start.clone())
    theirs = nn.Parameter(ours.detach().clone())
    mine = Muon([{"params": [ours], "lr": 0.02, "muon": True}], weight_decay=0.1)
    other = torch.optim.Muon(
        [theirs], lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for gradient in gradients(shape):
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        other.step()
    # Four steps of lr .02, each entry about .2 a step; bf16 leaves two digits of it.
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=0, atol=2e-4)
    assert (ours.detach() - start).abs().max() > 5e-3


def test_a_convolution_moves_as_its_matrix():
    torch.manual_seed(0)
    conv = nn.Parameter(torch.randn(8, 4, 3, 3))
    flat = nn.Parameter(conv.detach().flatten(1).clone())
    optimizers = [Muon([{"params": [p], "lr": 0.02, "muon": True}], 0.0) for p in (conv, flat)]
    for gradient in gradients((8, 4, 3, 3)):
        conv.grad, flat.grad = gradient, gradient.flatten(1)
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(conv.flatten(1), flat)


@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize("shape", [(48, 12), (12, 48), (20, 20)])
def test_the_update_is_nearly_orthogonal(monkeypatch, shape, pays):
    monkeypatch.setattr(optimizers, "bf16_pays", lambda device: pays)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(3))))
    assert values.min() > 0.5
    assert values.max() < 1.3


@pytest.mark.parametrize("pays", [True, False])
def test_products_are_in_bf16_only_where_the_cpu_has_it(monkeypatch, pays):
    seen = set()
    product = torch.addmm
    monkeypatch.setattr(
        torch, "addmm", lambda x, *parts, **how: seen.add(x.dtype) or product(x, *parts, **how)
    )
    monkeypatch.setattr(optimizers, "bf16_pays", lambda device: pays)
    assert orthogonal(torch.randn(8, 12)).dtype == torch.float32
    assert seen == {torch.bfloat16 if pays else torch.float32}


def test_the_rest_moves_as_with_adamw():
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(7))
    theirs = nn.Parameter(ours.detach().clone())
    mine = Muon([{"params": [ours], "lr": 0.01, "muon": False, "betas": (0.8, 0.9)}], weight_decay=0.1)
    other = torch.optim.AdamW([theirs], lr=0.01, betas=(0.8, 0.9), weight_decay=0.1)
    for gradient in gradients((7,), 6):
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        other.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_which_weights_are_matrices():
    net = CodeFormer(preset("tiny"))
    net.decoder.requires_grad_(False)
    optimizer = make_optimizer(net, OptimConfig(lr=1e-3, adam_share=0.5))
    names = {id(p): name for name, p in net.named_parameters()}
    muon, rest = ({names[id(p)] for p in group["params"]} for group in optimizer.param_groups)
    assert "transformer.layers.0.linear1.weight" in muon
    assert "encoder.levels.1.blocks.0.conv1.weight" in muon
    assert {"encoder.stem.weight", "transformer.positions", "codebook.vectors", "encoder.norm.bias"} <= rest
    assert not any(name.startswith("decoder.") for name in muon | rest)
    assert muon | rest == {name for name, p in net.named_parameters() if p.requires_grad}
    assert not muon & rest
    assert [group.get("share", 1.0) for group in optimizer.param_groups] == [1.0, 0.5]


@pytest.mark.parametrize("kind", ["patch", "projected"])
def test_a_discriminator_can_learn_by_muon(kind):
    from facemend.networks.discriminators.patch import PatchDiscriminator
    from facemend.training.adversary import _optimizer
    from facemend.training.settings import AdversaryConfig

    if kind == "patch":
        net = PatchDiscriminator(8, 2, "spectral")
    else:
        from facemend.networks.discriminators.projected import ProjectedDiscriminator

        net = ProjectedDiscriminator(torch.Generator().manual_seed(0))
    config = AdversaryConfig(kind=kind, optimizer="muon", lr=1e-3)
    optimizer = _optimizer(net, config)
    assert isinstance(optimizer, Muon)
    chosen = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert chosen == {id(p) for p in net.parameters() if p.requires_grad}
    before = [p.detach().clone() for p in net.parameters() if p.requires_grad]
    logits = net(torch.rand(2, 3, 64, 64) * 2 - 1)
    sum(x.mean() for x in ([logits] if isinstance(logits, torch.Tensor) else logits)).backward()
    optimizer.step()
    after = [p for p in net.parameters() if p.requires_grad]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))

"""What is written another way for the sake of quick training says the same as torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from facemend.networks.codeformer.attention import attention
from facemend.networks.codeformer.fusion import enlarged


@pytest.mark.parametrize(("height", "width", "factor"), [(8, 8, 4), (3, 5, 2), (4, 4, 1), (1, 2, 32)])
def test_enlarging(height, width, factor):
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.randn(2, 3, height * factor, width * factor, generator=torch.Generator().manual_seed(1))
    wanted = F.interpolate(x, scale_factor=float(factor), mode="bilinear")
    with torch.autocast("cpu", torch.bfloat16):  # the photo's colours are not rounded
        found = enlarged(x, factor)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    (own,), (torchs,) = (torch.autograd.grad(y, x, target) for y in (found, wanted))
    torch.testing.assert_close(own, torchs, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert enlarged(x, factor).equal(wanted)


@pytest.mark.parametrize("tokens", [64, 520])
def test_attention(tokens):
    draw = torch.Generator().manual_seed(2)
    parts = [torch.randn(2, 4, tokens, 16, generator=draw).bfloat16().requires_grad_() for _ in range(3)]
    target = torch.randn(2, 4, tokens, 16, generator=draw).bfloat16()
    exact = [part.detach().double().requires_grad_() for part in parts]
    wanted = F.scaled_dot_product_attention(*exact)
    found = attention(*parts)
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
    gradients = torch.autograd.grad(found, parts, target)
    for own, exactly in zip(gradients, torch.autograd.grad(wanted, exact, target.double()), strict=True):
        assert (own - exactly).abs().max() < 0.03 * exactly.abs().max()

"""Operators for training stay out of exported graphs."""

import pytest
import torch
from torch import nn

from facemend.networks.codeformer.attention import attention
from facemend.networks.codeformer.fusion import enlarged
from facemend.networks.codeformer.group_norm import GroupNorm


class Enlarged(nn.Module):
    def forward(self, x):
        return enlarged(x, 2)


class Attention(nn.Module):
    def forward(self, x):
        return attention(x, x, x)


CASES = {
    "enlarged": (Enlarged(), torch.rand(1, 4, 6, 6), "interpolate|upsample"),
    "attention": (Attention(), torch.rand(1, 4, 6, 8, dtype=torch.bfloat16), "scaled_dot_product"),
    "norm": (GroupNorm(4, 2), torch.rand(1, 4, 6, 6).to(memory_format=torch.channels_last), "group_norm"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_exported_graph_holds_the_one_operator(case):
    layer, x, name = CASES[case]
    program = torch.export.export(layer, (x.requires_grad_(),))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert len(called) == 1
    assert any(part in called[0] for part in name.split("|"))


@pytest.mark.parametrize("case", CASES)
def test_training_takes_others_with_the_same_result(case):
    layer, x, _ = CASES[case]
    learnt = layer(x.requires_grad_())
    with torch.no_grad():
        torch.testing.assert_close(learnt.detach(), layer(x))
    kind = type(learnt.grad_fn).__name__
    assert not any(part in kind.lower() for part in ("upsample", "scaleddotproduct", "nativegroupnorm"))

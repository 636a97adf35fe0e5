import numpy as np
import pytest
import torch
from torch import nn

from facemend.errors import ModelNotFoundError, WeightsError
from facemend.evaluation.real_esrgan import UPSCALERS, CompactUpscaler, RRDBNet, ncnn_state, upscaler

# ncnn 1.0.20261020 (PyPI `ncnn`, CPU, float32 arithmetic) with the same .param and .bin, on `waves()`:
# output[:, 5::30, 7::40], then mean and standard deviation of the whole output. Our largest difference over
# all its pixels was 3e-6.
GOLDEN = {
    "realesrgan-x4plus": (
        """
        0.85639 0.18647 0.91307 0.10913 0.84673 0.07860 0.81663 0.14094
        0.18883 0.76310 0.10552 0.89783 0.06171 0.85164 0.18081 0.87043
        0.77432 0.80532 0.81116 0.81292 0.15215 0.84270 0.74303 0.74041
        0.20989 0.07306 0.73282 0.69575 0.21150 0.15779 0.18651 0.80421
        0.04373 0.31198 0.27258 0.43716 0.19769 0.36367 0.47502 0.60599
        0.45128 0.54453 0.65692 0.80421 0.57531 0.71023 0.86527 0.92908
        """,
        0.513695,
        0.284225,
    ),
    "realesr-animevideov3": (
        """
        0.88407 0.09821 0.95979 0.07712 1.00307 0.07231 0.95894 0.12453
        0.03606 0.97806 0.00736 0.96846 -0.00534 0.90151 0.13227 0.93652
        0.41937 0.83831 0.81639 0.82401 0.14868 0.88729 0.78220 0.73956
        0.16383 0.11418 0.86094 0.84700 0.14095 0.11648 0.05580 0.77420
        -0.03403 0.20686 0.32318 0.46657 0.21799 0.35291 0.45314 0.67912
        0.48959 0.59627 0.74332 0.84094 0.56035 0.66703 0.86009 0.92729
        """,
        0.512374,
        0.329174,
    ),
}
PARAMETERS = {"realesrgan-x4plus": 16_697_987, "realesr-animevideov3": 621_424}


def waves() -> torch.Tensor:
    """A different pattern in every channel, (1, 3, 24, 32) in [0, 1]."""
    y, x = np.mgrid[0:24, 0:32].astype(np.float32)
    red = 0.5 + 0.5 * np.sin(x / 3 + y / 5)
    green = np.where(x > y, 0.8, 0.2) + 0.1 * np.cos(y)
    return torch.from_numpy(np.stack([red, green, (x + 2 * y) / 80]).astype(np.float32).clip(0, 1))[None]


@pytest.mark.parametrize("name", UPSCALERS)
def test_equals_ncnn(name):
    network = upscaler(name)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]
    assert not network.training
    assert [len(digest) for digest in network.files.values()] == [64]
    with torch.inference_mode():
        output = network(waves())[0].numpy()
    assert output.shape == (3, 96, 128)
    values, mean, deviation = GOLDEN[name]
    np.testing.assert_allclose(
        output[:, 5::30, 7::40].flatten(), [float(v) for v in values.split()], atol=5e-5
    )
    assert output.mean(dtype=np.float64) == pytest.approx(mean, abs=5e-6)
    assert output.std(dtype=np.float64) == pytest.approx(deviation, abs=5e-6)
    with pytest.raises(ModelNotFoundError, match=name):
        upscaler("waifu")  # type: ignore[arg-type]


LAYERS = """7767517
6 6
Input    in    0 1 data
Split    two   1 2 data a b
Convolution c0 1 1 a x 0=5 1=3 4=1 5=1 6=135
PReLU    p0    1 1 x y 0=5
Convolution c1 1 1 y z 0=48 1=3 4=1 5=1 6=2160 9=2 -23310=1,2.000000e-01
PixelShuffle s 1 1 z out 0=4
"""


def network() -> CompactUpscaler:
    """The network of `LAYERS`: the first kernel has an odd number of weights, so halves are padded."""
    return CompactUpscaler(width=5, layers=0)


def packed(model: nn.Module, *, half: bool) -> bytes:
    """Its parameters in ncnn's layout."""
    parts = []
    for p in model.parameters():
        values = p.detach().numpy().flatten()
        if p.ndim == 4 and half:
            values = np.append(values, np.zeros(values.size % 2, np.float32)).astype("<f2")
            parts.append(b"\x47\x6b\x30\x01")
        elif p.ndim == 4:
            parts.append(bytes(4))
        parts.append(values.tobytes())
    return b"".join(parts)


@pytest.fixture
def files(tmp_path):
    def write(layers: str, data: bytes):
        (tmp_path / "net.param").write_text(layers)
        (tmp_path / "net.bin").write_bytes(data)
        return tmp_path / "net.param", tmp_path / "net.bin"

    return write


@pytest.mark.parametrize("half", [True, False])
def test_reads_what_was_written(files, half):
    model = network()
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(i)))
            if half and p.ndim == 4:
                p.copy_(p.half())
    state = ncnn_state(*files(LAYERS, packed(model, half=half)), network())
    assert state.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value), name


def refused(param, weights, message, into=None):
    with pytest.raises(WeightsError, match=message):
        ncnn_state(param, weights, into or network())


def test_damaged_weights_are_refused_by_name(files):
    good = packed(network(), half=True)
    nan = good[:-4] + b"\x00\x00\xc0\x7f"
    for data in (b"", good[:-1], good[:-4], good + bytes(4), b"\x01" + good[1:], bytes(4) + good[4:], nan):
        refused(*files(LAYERS, data), r"net\.bin: .*fetch it again")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("7767517", "7767518"),
        ("6 6", "7 6"),
        ("6 6", "six 6"),
        ("PReLU    p0    1 1 x y 0=5", "PReLU p0"),
        ("0=5 1=3", "0=6 1=3"),
        ("6=135", "6=136"),
        ("6=135", ""),
        ("6=135", "6=135 8=1"),
        ("1=3 4=1 5=1 6=135", "1=5 4=1 5=1 6=135"),
        ("2.000000e-01", "1.000000e-01"),
        ("9=2 ", ""),
        ("x y 0=5", "x y 0=6"),
        ("PReLU    p0", "Split p0"),
        ("PReLU    p0", "InnerProduct p0"),
        ("Input    in    0 1 data", "Input in 0 1 dätä"),
    ],
)
def test_other_layer_lists_are_refused_by_name(files, old, new):
    assert old in LAYERS
    data = packed(network(), half=True)
    refused(*files(LAYERS.replace(old, new, 1), data), r"net\.param: .*fetch it again")


def test_missing_and_huge_files_are_refused(tmp_path, files):
    param, weights = files(LAYERS, packed(network(), half=True))
    refused(tmp_path / "none.param", weights, r"none\.param")
    refused(param, tmp_path / "none.bin", r"none\.bin")
    refused(param, weights, r"net\.param.*layers with weights", RRDBNet(8, 4, 1))
    for path in (param, weights):
        with path.open("ab") as stream:
            stream.truncate(1 << 40)  # sparse: must be refused before it is read
    refused(param, weights, r"net\.param.*too large")
    param.write_text(LAYERS)
    refused(param, weights, r"net\.bin.*cannot hold")

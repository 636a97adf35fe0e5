import importlib.util
import inspect
import os
import sys
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from facemend.convert.published_layout import official_keys
from facemend.errors import ConfigError, WeightsError
from facemend.evaluation import peers
from facemend.evaluation.peers import PEERS, Peer, open_peer
from facemend.networks.codeformer.checkpoint import network_shapes
from facemend.networks.codeformer.config import preset


def pictures(count: int, size: int) -> np.ndarray:
    """Smooth coloured patterns with edges, (N, S, S, 3)."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    found = []
    for i in range(count):
        red = 0.5 + 0.4 * np.sin(9 * x + 5 * y + i)
        found.append(np.stack([red, np.where(x + 0.3 * i > y, 0.7, 0.2), 0.1 + 0.7 * x + 0.1 * y], axis=-1))
    return np.stack(found).astype(np.float32)


@pytest.mark.parametrize("name", PEERS)
def test_peers_keep_the_picture_and_its_form(name):
    faces = pictures(2, 66)  # no multiple of four
    before = faces.copy()
    peer = open_peer(name)
    restored = peer(faces)
    assert np.array_equal(faces, before)
    assert (restored.shape, restored.dtype) == (faces.shape, np.float32)
    assert restored.min() >= 0
    assert restored.max() <= 1
    # The same picture in the same colours, but not untouched.
    difference = np.abs(restored - faces).mean((0, 1, 2))
    assert (difference < 0.12).all(), difference
    assert difference.max() > 1e-4
    assert np.array_equal(peer(faces[1:])[0], restored[1])  # the batch does not matter; repeats exactly
    assert (peer.name, "\n" in peer.note, bool(peer.weights)) == (name, False, name.startswith("realesr"))


def test_bicubic_knows_only_a_quarter_of_the_picture():
    faces = pictures(1, 64)
    fine = faces + np.tile([[0.05], [-0.05]], (32, 64))[None, :, :, None].astype(np.float32)  # averages out
    bicubic = open_peer("bicubic")
    np.testing.assert_allclose(bicubic(fine), bicubic(faces), atol=1e-5)


@pytest.mark.parametrize("size", [256, 512])
def test_unsharp_steepens_edges_by_the_documented_amount(size):
    # A wave of 8 periods a picture: the blur leaves exp(-(2 pi f sigma)^2 / 2) of it, at every size.
    frequency, sigma = 8, 1.5 / 256
    x = (np.arange(size) + 0.5) / size
    wave = np.broadcast_to(0.5 + 0.2 * np.sin(2 * np.pi * frequency * x)[None, :, None], (size, size, 3))
    restored = open_peer("unsharp")(wave.astype(np.float32)[None])[0]
    factor = 2 - np.exp(-((2 * np.pi * frequency * sigma) ** 2) / 2)
    inner = slice(size // 8, -size // 8)  # away from the repeated edge
    gain = (restored[inner, inner] - 0.5).std() / (wave[inner, inner] - 0.5).std()
    assert gain == pytest.approx(factor, rel=0.01)
    assert gain > 1.02


def test_results_are_clipped_and_wrong_input_is_refused():
    peer = Peer("double", "", lambda face: 2 * face - 0.5)
    faces = pictures(2, 16)
    assert np.array_equal(peer(faces), np.clip(2 * faces - 0.5, 0, 1))
    for wrong in (faces[0], faces[:, :8], faces[..., :1], faces.astype(np.float64)):
        with pytest.raises(ValueError, match="faces must be"):
            peer(wrong)
    with pytest.raises(ConfigError, match=r"no peer 'gpen'; there are bicubic, .*spandrel:PATH"):
        open_peer("gpen")


@pytest.mark.parametrize("missing", ["spandrel", "spandrel_extra_arches"])
def test_says_how_to_install_spandrel(monkeypatch, tmp_path, missing):
    if missing != "spandrel":
        needs_spandrel()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=rf"package {missing}; run `pip install .*spandrel-extra-arches=="):
        open_peer(f"spandrel:{tmp_path / 'face.pth'}")
    assert "torchvision" not in sys.modules


def needs_spandrel():
    """As in tests/networks/test_oracle.py: its absence is no silent pass."""
    if os.environ.get("FACEMEND_NO_ORACLE") == "1":
        pytest.skip("FACEMEND_NO_ORACLE=1: no spandrel")
    if not importlib.util.find_spec("spandrel_extra_arches"):
        pytest.fail(
            "needs spandrel (see tests/networks/test_oracle.py), or FACEMEND_NO_ORACLE=1 to leave it out"
        )


def test_files_that_are_no_face_network_are_refused(tmp_path):
    needs_spandrel()
    path = tmp_path / "net.safetensors"
    with pytest.raises(WeightsError, match=r"none\.pth"):
        open_peer(f"spandrel:{tmp_path / 'none.pth'}")
    path.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"net\.safetensors"):
        open_peer(f"spandrel:{path}")

    class Bad:  # would run code
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save({"params_ema": Bad()}, tmp_path / "face.pth")
    with pytest.raises(WeightsError, match=r"face\.pth"):
        open_peer(f"spandrel:{tmp_path / 'face.pth'}")
    assert not (tmp_path / "ran").exists()
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ConfigError, match=r"net\.safetensors: not a network that spandrel knows"):
        open_peer(f"spandrel:{path}")
    # Known to spandrel, but a denoiser: DnCNN is convolutions and rectifiers in a row.
    layers = {0: (64, 1), **{2 * i: (64, 64) for i in range(1, 16)}, 32: (1, 64)}
    state = {f"model.{i}.weight": torch.zeros(out, inputs, 3, 3) for i, (out, inputs) in layers.items()}
    save_file(state | {f"model.{i}.bias": torch.zeros(out) for i, (out, _) in layers.items()}, path)
    with pytest.raises(ConfigError, match=r"net\.safetensors: holds DnCNN, not a face network"):
        open_peer(f"spandrel:{path}")


def test_codeformer_by_spandrel_sees_and_gives_what_the_published_one_does(monkeypatch, tmp_path):
    """Its numbers are compared in tests/networks/test_oracle.py; here a stand-in says what it is given."""
    needs_spandrel()
    config = preset("codeformer-512")
    shapes = network_shapes(config)
    state = {name: torch.zeros(shapes[ours]) for name, ours in official_keys(config).items()}
    monkeypatch.setattr(peers, "read_official", lambda _: state)
    path = tmp_path / "codeformer.pth"
    path.write_bytes(b"stands for a file of some hundred MB")
    peer = open_peer(f"spandrel:{path}")
    assert peer.name == "spandrel:codeformer.pth"
    assert peer.note == "CodeFormer by spandrel, at 512 pixels, weight = 0.5"
    assert list(peer.weights) == ["codeformer.pth"]

    network, seen = peer.restore.args[0], []
    assert "weight" in inspect.signature(network.forward).parameters

    def forward(image, weight):
        seen.append((image, weight))
        return image / 2, None

    monkeypatch.setattr(network, "forward", forward)
    face = pictures(1, 512)
    np.testing.assert_allclose(peer(face), face / 2 + 0.25, atol=1e-6)
    ((image, weight),) = seen
    np.testing.assert_allclose(image.permute(0, 2, 3, 1), face * 2 - 1, atol=1e-6)
    assert weight == 0.5
    assert "torchvision" not in sys.modules


def test_gfpgan_can_be_told_to_draw_no_noise():
    needs_spandrel()
    peers._import_spandrel()
    module = importlib.import_module("spandrel.architectures.GFPGAN")
    assert "randomize_noise" in inspect.signature(module.GFPGAN.forward).parameters


@pytest.mark.long
@pytest.mark.parametrize("kind", ["GFPGAN", "RestoreFormer"])
def test_other_face_networks_load_and_repeat(kind, monkeypatch, tmp_path):
    needs_spandrel()
    peers._import_spandrel()
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        module = importlib.import_module(f"spandrel.architectures.{kind}")
        network = getattr(module, kind)()
        state = {name: value.clone() for name, value in network.state_dict().items()}
    path = tmp_path / "net.pth"
    path.write_bytes(b"stands for a file of some hundred MB")
    monkeypatch.setattr(peers, "read_official", lambda _: state)
    peer = open_peer(f"spandrel:{path}")
    assert peer.note.startswith(f"{kind} by spandrel, at 512 pixels")
    face = pictures(1, 128)
    first = peer(face)
    assert first.shape == face.shape
    assert np.array_equal(first, peer(face))
    assert first.std() > 0.01

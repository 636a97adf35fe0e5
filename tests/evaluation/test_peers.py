import importlib.util
import os
import sys
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from facemend.convert.published_layout import to_official
from facemend.errors import ConfigError, WeightsError
from facemend.evaluation import peers
from facemend.evaluation.peers import PEERS, Peer, open_peer
from facemend.networks.codeformer.codeformer import CodeFormer
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


@pytest.fixture(scope="module")
def codeformer():
    """Our network with weights that make its tokens differ clearly."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = CodeFormer(preset("codeformer-512")).eval()
        model.transformer.positions.normal_(generator=generator)
        model.transformer.head.weight.normal_(0, 0.2, generator=generator)
        model.codebook.vectors.normal_(generator=generator)
        # The picture that comes out of random weights is far from [-1, 1].
        model.decoder.out.weight.mul_(0.3)
    return model


@pytest.mark.slow
def test_codeformer_by_spandrel_sees_and_gives_what_the_published_one_does(codeformer, tmp_path):
    needs_spandrel()
    path = tmp_path / "codeformer.pth"
    state = to_official(codeformer.state_dict(), codeformer.config)
    torch.save({"params_ema": state}, path)
    peer = open_peer(f"spandrel:{path}")
    path.unlink()  # large
    assert peer.name == "spandrel:codeformer.pth"
    assert peer.note == "CodeFormer by spandrel, at 512 pixels, weight = 0.5"
    assert list(peer.weights) == ["codeformer.pth"]

    face = pictures(1, 512)
    with torch.inference_mode():
        image = torch.from_numpy(face).permute(0, 3, 1, 2) * 2 - 1
        encoded = codeformer.encode(image)
        ours = codeformer.decode(encoded.codes, encoded.features, torch.tensor([0.5]), encoded.z)
        expected = ((ours + 1) / 2).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    restored = peer(face)
    np.testing.assert_allclose(restored[0], expected, atol=1e-3)
    assert np.mean((expected > 0) & (expected < 1)) > 0.1, "all clipped: would prove nothing"
    assert "torchvision" not in sys.modules


@pytest.mark.parametrize("kind", ["GFPGAN", pytest.param("RestoreFormer", marks=pytest.mark.long)])
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

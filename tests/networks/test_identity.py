from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facemend.errors import WeightsError
from facemend.networks.perceptual.identity import SAME_PERSON_DISTANCE, IdentityNet, aligned_chips
from facemend.networks.perceptual.weights import read_dlib_resnet

FACES = Path(__file__).parent / "data"

# dlib 20.0.1 with the same weight file, on the chip of test_equals_dlib: first values, length, sum.
DLIB_HEAD = [-0.054913, 0.122001, 0.063602, 0.006221, -0.060127, -0.047081, -0.08336, -0.004601]
DLIB_NORM = 1.318101898
DLIB_SUM = -0.283986548


@pytest.fixture(scope="module")
def net() -> IdentityNet:
    return IdentityNet()


def face(name: str) -> torch.Tensor:
    """FFHQ-aligned 256 pixel face (White House photo, public domain), (3, 256, 256) in [-1, 1]."""
    picture = np.asarray(Image.open(FACES / f"{name}.jpg").convert("RGB"), dtype=np.float32)
    return torch.from_numpy(picture).permute(2, 0, 1) / 127.5 - 1


def test_equals_dlib(net):
    y, x = np.mgrid[0:150, 0:150]
    chip = torch.from_numpy(np.stack([x, y, (x + y) // 2]).astype(np.float32))[None]
    embedding = net(chip)[0].double().numpy()
    np.testing.assert_allclose(embedding[: len(DLIB_HEAD)], DLIB_HEAD, atol=2e-6)
    assert np.linalg.norm(embedding) == pytest.approx(DLIB_NORM, abs=5e-6)
    assert embedding.sum() == pytest.approx(DLIB_SUM, abs=2e-5)


def test_tells_people_apart_in_aligned_crops(net):
    embeddings = net.embed_aligned(torch.stack([face("obama"), face("obama2"), face("biden")]))
    assert embeddings.shape == (3, 128)
    distance = torch.cdist(embeddings, embeddings)
    assert distance[0, 1] < SAME_PERSON_DISTANCE
    assert distance[0, 2] > SAME_PERSON_DISTANCE
    assert distance[1, 2] > SAME_PERSON_DISTANCE


def test_size_of_the_crop_matters_little(net):
    small = face("obama")[None]
    large = torch.nn.functional.interpolate(small, scale_factor=2.0, mode="bicubic", align_corners=False)
    assert torch.dist(net.embed_aligned(small), net.embed_aligned(large)) < 0.1


@pytest.mark.parametrize("size", [256, 512])
def test_chips_are_cut_by_the_published_matrix(size):
    # On a ramp of positions (in pixels of the 512 crop) every chip pixel must read where it came from.
    at = (torch.arange(size, dtype=torch.float32) + 0.5) * 512 / size - 0.5
    ramp = torch.stack([at.expand(size, size), at[:, None].expand(size, size), torch.zeros(size, size)])
    chip = aligned_chips(ramp[None] / 127.5 - 1)[0].double().numpy()
    matrix = np.array([[0.42174, 0.00137, -34.013], [-0.00137, 0.42174, -55.769]])
    for u, v in [(0, 0), (149, 0), (0, 149), (149, 149), (75, 60)]:
        back = matrix @ [*chip[:2, v, u], 1.0]
        np.testing.assert_allclose(back, [u, v], atol=1e-3)


def test_gradient_reaches_the_face_and_no_parameter(net):
    start = face("biden")[None].requires_grad_()
    target = net.embed_aligned(face("obama")[None]).detach()
    distance = (net.embed_aligned(start) - target).norm()
    distance.backward()
    assert start.grad is not None
    assert torch.isfinite(start.grad).all()
    assert all(p.grad is None for p in net.parameters())
    closer = start.detach() - start.grad / start.grad.norm()
    assert (net.embed_aligned(closer) - target).norm() < distance


def test_wrong_shapes_and_weights_are_refused(net):
    with pytest.raises(ValueError, match="150"):
        net(torch.zeros(1, 3, 112, 112))
    with pytest.raises(ValueError, match="faces must be"):
        net.embed_aligned(torch.zeros(1, 3, 256, 128))
    with pytest.raises(WeightsError, match="do not fit"):
        IdentityNet({})


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "net.dat"
    tensor = b"\x05con_4" + bytes([1, 2, 2, 128, 18, 1, 1, 1, 1, 1, 1])
    huge = b"\x05con_4" + bytes([1, 2]) + (b"\x08" + b"\xff" * 8) * 4
    for content in (b"", tensor, tensor + bytes(4736 * 4), huge, b"\x05con_4\x01", b"\x05con_4\x01\x03"):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"net\.dat"):
            read_dlib_resnet(path)

"""A grown network gives the picture of the one it comes from, enlarged."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from facemend.errors import ConfigError
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import preset
from facemend.networks.codeformer.grow import grow

SMALL = preset("tiny")
_AE = SMALL.autoencoder


def larger(pixels=2, widths=(16, 16, 24), skips=True, **changes):
    autoencoder = replace(
        _AE,
        image_size=_AE.image_size * pixels,
        patch=_AE.patch * pixels,
        widths=widths,
        encoder_skips=skips,
    )
    bands = tuple(cell * pixels for cell in SMALL.bands)
    return replace(SMALL, **{"autoencoder": autoencoder, "bands": bands} | changes)


def network(config, seed=0):
    """Weights that leave nothing at its neutral start: biases, norms, gates."""
    torch.manual_seed(seed)
    net = CodeFormer(config).eval()
    with torch.no_grad():
        for value in net.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return net


def enlarged(images, pixels):
    return images.repeat_interleave(pixels, 2).repeat_interleave(pixels, 3)


def pair(large, noise=0.0):
    small_net = network(SMALL)
    large_net = CodeFormer(large).eval()
    large_net.load_state_dict(grow(small_net.state_dict(), SMALL, large, noise))
    return small_net, large_net


@pytest.mark.parametrize("pixels", [1, 2, 3])
@pytest.mark.parametrize("widths", [(8, 16, 24), (16, 16, 24), (24, 32, 24)])
def test_the_same_picture_enlarged(pixels, widths):
    """Exactly at w = 0; with fusion and bands its area averages are the small picture."""
    small, large = pair(larger(pixels, widths))
    face = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        for w in (0.0, 0.6, 1.2):
            weight = torch.full((2,), w)
            wanted, got = small(face, weight), large(enlarged(face, pixels), weight)
            averages = F.avg_pool2d(got, pixels) if pixels > 1 else got
            # Gates and bands are interpolated together: what lies between their places differs a little.
            torch.testing.assert_close(averages, wanted, rtol=0, atol=1e-4 if w == 0 else 1e-2)
            if w == 0:
                torch.testing.assert_close(got, enlarged(wanted, pixels), rtol=0, atol=1e-4)


def test_without_bands_every_w_is_exact():
    small = replace(SMALL, bands=())
    net = network(small)
    large = larger(2, bands=())
    grown = CodeFormer(large).eval()
    grown.load_state_dict(grow(net.state_dict(), small, large))
    face = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        for w in (0.0, 0.5, 1.0):
            weight = torch.full((2,), w)
            torch.testing.assert_close(
                grown(enlarged(face, 2), weight), enlarged(net(face, weight), 2), rtol=0, atol=1e-4
            )


def test_an_autoencoder_grows_alone():
    torch.manual_seed(0)
    small = VQAutoencoder(_AE).eval()
    large = VQAutoencoder(larger().autoencoder).eval()
    large.load_state_dict(grow(small.state_dict(), SMALL, larger()))
    face = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        wanted = enlarged(small(face).image, 2)
        torch.testing.assert_close(large(enlarged(face, 2)).image, wanted, rtol=0, atol=1e-4)


def test_noise_breaks_the_symmetry_of_copies_only():
    exact, noisy = pair(larger())[1].state_dict(), pair(larger(), noise=0.02)[1].state_dict()
    stem = noisy["encoder.stem.weight"]
    assert not torch.equal(stem[0::2], stem[1::2])
    assert torch.equal(exact["encoder.stem.weight"][0::2], exact["encoder.stem.weight"][1::2])
    spread = (stem - exact["encoder.stem.weight"]).std() / exact["encoder.stem.weight"].std()
    assert 0.015 < spread < 0.025
    for name in ("transformer.head.weight", "codebook.vectors", "encoder.out.weight"):
        assert torch.equal(noisy[name], exact[name])
    again = grow(network(SMALL).state_dict(), SMALL, larger(), 0.02)
    assert torch.equal(again["encoder.stem.weight"], stem)


@pytest.mark.parametrize(
    ("large", "message"),
    [
        (replace(larger(), layers=3), "differ in more"),
        (larger(widths=(12, 16, 24), skips=True), "whole multiples"),
        (larger(widths=(16, 16, 48)), "coarsest level"),
        (larger(bands=()), "bands"),
        (preset("codeformer-512"), "differ in more"),
        (larger(pixels=1, widths=(16, 16, 24), skips=False), "encoder_skips"),
    ],
)
def test_what_cannot_grow(large, message):
    with pytest.raises(ConfigError, match=message):
        grow(network(SMALL).state_dict(), SMALL, large)


def test_compact_512_grows_from_compact_256():
    small, large = preset("compact-256"), preset("compact-512")
    state = CodeFormer(small).state_dict()
    CodeFormer(large).load_state_dict(grow(state, small, large))

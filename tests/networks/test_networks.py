"""Sizes and behaviour of the networks: presets, w, AdaIN, upsampling, discriminator."""

import json
import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from facemend.errors import ConfigError
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.blocks import ShuffleUpsample
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import PRESETS, AutoencoderConfig, CodeFormerConfig, preset
from facemend.networks.codeformer.fusion import adaptive_instance_norm
from facemend.networks.discriminators.patch import PatchDiscriminator


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return CodeFormer(preset("tiny")).eval()


@pytest.fixture
def faces():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("name", PRESETS)
def test_shapes(name):
    config = preset(name)
    side, grid = config.autoencoder.image_size, config.autoencoder.code_grid
    device = "cpu" if name == "tiny" else "meta"
    with torch.device(device):
        network = CodeFormer(config)
        image, w = torch.zeros(2, 3, side, side), torch.tensor([0.0, 1.0])
    encoded = network.encode(image)
    assert encoded.codes.shape == (2, grid**2)
    assert encoded.logits.shape == (2, grid**2, config.autoencoder.codebook_size)
    assert encoded.z.shape == (2, config.autoencoder.code_dim, grid, grid)
    kept = {s: (config.autoencoder.width_at(s), s, s) for s in config.fuse_sizes}
    kept |= {side: (3, side, side)} if config.bands else {}
    assert {s: f.shape[1:] for s, f in encoded.features.items()} == kept
    assert sorted(kept) == list(config.kept_sizes)
    assert network(image, w).shape == image.shape


def test_autoencoder_shares_names_with_the_whole_network(tiny):
    """Stage II takes stage I's tensors by name."""
    shapes = {name: value.shape for name, value in tiny.state_dict().items()}
    stage1 = VQAutoencoder(preset("tiny").autoencoder).state_dict()
    assert all(shapes[name] == value.shape for name, value in stage1.items())


def test_bypass_leaves_the_codebook_out(faces):
    torch.manual_seed(0)
    network = VQAutoencoder(preset("tiny").autoencoder).eval()
    bypassed = network(faces, quantize=False)
    assert torch.equal(bypassed.image, network.decoder(bypassed.z))
    assert not torch.equal(bypassed.image, network(faces).image)


def test_compact_budget():
    with torch.device("meta"):
        network = CodeFormer(preset("compact-256")).eval().requires_grad_(False)
        image, w = torch.zeros(1, 3, 256, 256), torch.zeros(1)
    assert parameters(network) <= 16_000_000
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(image, w)
    assert counter.get_total_flops() <= 20e9  # 2 x MAC
    # The budget would hold of itself if the counter left out a kind.
    kinds = {str(kind): flops for kind, flops in counter.get_flop_counts()["Global"].items()}
    # The second residual block of the finest fused level, one of dozens: two 3x3 on 64 channels at 64 x 64.
    assert kinds["aten.convolution"] > 2 * 2 * 64 * 64 * 9 * 64**2
    # Nine layers: query, key, value, out (4 c^2), two linears (2 c f), on 256 tokens.
    assert sum(v for k, v in kinds.items() if "mm" in k) >= 2 * 9 * 256 * (4 * 256**2 + 2 * 256 * 512)


def test_w_zero_is_the_decoder_alone(tiny, faces):
    with torch.inference_mode():
        encoded = tiny.encode(faces)
        fused = tiny.decode(encoded.codes, encoded.features, torch.zeros(2))
        alone = tiny.decoder(tiny.codebook.lookup(encoded.codes, (8, 8)))
    assert torch.equal(fused, alone)


def test_each_face_has_its_own_w(tiny, faces):
    with torch.inference_mode():
        together = tiny(faces, torch.tensor([0.0, 1.0]))
        first = tiny(faces[:1], torch.tensor([0.0]))
        second = tiny(faces[1:], torch.tensor([1.0]))
        other = tiny(faces[1:], torch.tensor([0.0]))
    torch.testing.assert_close(together, torch.cat((first, second)), atol=1e-5, rtol=1e-5)
    assert (second - other).abs().max() > 1e-2


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0], ids=["black", "gray", "white"])
@pytest.mark.parametrize("w", [0.0, 0.5, 1.0, 2.0])
def test_flat_pictures_give_finite_numbers(tiny, value, w):
    with torch.inference_mode():
        out = tiny(torch.full((1, 3, 64, 64), value), torch.tensor([w]))
    assert out.isfinite().all()


def test_w_gets_a_gradient(tiny, faces):
    """A branch on w would cut it off."""
    w = torch.tensor([0.0, 0.5], requires_grad=True)
    tiny(faces, w).square().sum().backward()
    assert (w.grad != 0).all()


def test_half_and_whole_agree(tiny, faces):
    w = torch.tensor([0.3, 0.7])
    with torch.inference_mode():
        encoded = tiny.encode(faces)
        style = tiny.decode(encoded.codes, encoded.features, w, encoded.z)
        plain = tiny.decode(encoded.codes, encoded.features, w)
        assert torch.equal(tiny(faces, w), style)
        assert torch.equal(tiny(faces, w, adain=False), plain)
    assert torch.equal(encoded.codes, encoded.logits.argmax(2))
    assert not torch.equal(style, plain)


def test_encoder_output_is_full_precision_under_autocast(tiny, faces):
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        assert tiny.encode(faces).z.dtype == torch.float32


def test_adain_has_the_published_statistics():
    content, style = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64).unbind()
    content, style = content * 5 + 1, style * 0.2 - 3
    out = adaptive_instance_norm(content, style)
    for b in range(2):
        for c in range(3):
            x, y = content[b, c].flatten().tolist(), style[b, c].flatten().tolist()
            mx, my = sum(x) / 16, sum(y) / 16
            sx, sy = (math.sqrt(sum((v - m) ** 2 for v in vs) / 15 + 1e-5) for vs, m in ((x, mx), (y, my)))
            want = torch.tensor([(v - mx) / sx * sy + my for v in x], dtype=torch.float64)
            torch.testing.assert_close(out[b, c].flatten(), want)


def test_shuffle_upsampling_starts_as_repetition():
    torch.manual_seed(0)
    out = ShuffleUpsample(6, 5)(torch.randn(1, 6, 4, 4))
    assert out.shape == (1, 5, 8, 8)
    cells = out.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    torch.testing.assert_close(cells, cells[..., :1].expand_as(cells))


def test_config_survives_json():
    for config in PRESETS.values():
        assert CodeFormerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"widths": (64, 128)}, "as many encoder_blocks"),
        ({"image_size": 500}, "not a multiple"),
        ({"norm_groups": 48}, "multiple of norm_groups"),
        ({"upsample": "bilinear"}, "not 'bilinear'"),
        ({"decoder_blocks": (0, 2, 2, 2, 2, 2)}, "at least one"),
    ],
)
def test_impossible_sizes(values, match):
    with pytest.raises(ConfigError, match=match):
        AutoencoderConfig(**values)


def test_impossible_transformer():
    with pytest.raises(ConfigError, match="multiple of heads"):
        CodeFormerConfig(heads=7)
    with pytest.raises(ConfigError, match="no level of 100 px"):
        CodeFormerConfig(fuse_sizes=(100,))
    with pytest.raises(ConfigError, match="surprise"):
        CodeFormerConfig.from_dict({"surprise": 1})
    with pytest.raises(ConfigError, match="codeformer-512"):
        preset("nonsense")


def test_published_discriminator():
    with torch.device("meta"):
        network = PatchDiscriminator()
        assert network(torch.zeros(1, 3, 512, 512)).shape == (1, 1, 30, 30)
    assert parameters(network) == 6_960_961


def test_receptive_field():
    torch.manual_seed(0)
    network = PatchDiscriminator(width=4).eval()
    image = torch.rand(1, 3, 256, 256, requires_grad=True)
    network(image)[0, 0, 7, 7].backward()
    seen = image.grad[0].abs().sum(0) > 0
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (142, 142)


def test_spectral_discriminator():
    torch.manual_seed(0)
    network = PatchDiscriminator(width=8, layers=3, norm="spectral")
    images = torch.rand(4, 3, 64, 64)
    for _ in range(30):  # each pass in training mode refines the estimate
        network(images)
    network.eval()
    first = network[0].weight.detach().flatten(1)
    assert torch.linalg.matrix_norm(first, 2).item() == pytest.approx(1, abs=0.02)
    # No batch statistics: a face's logits do not depend on its neighbours.
    torch.testing.assert_close(network(images)[:1], network(images[:1]))

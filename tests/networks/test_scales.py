"""Several codes a position and several scales of codes: against brute force, and what w does to them."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facemend.errors import ConfigError
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.codebook import Codebook, code_usage
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import AutoencoderConfig, CodeFormerConfig, changed, preset
from facemend.networks.codeformer.scales import code_face, codebook_of, look_up

TINY = preset("tiny")


def tiny(attention="global", **sizes) -> CodeFormerConfig:
    return changed(TINY, {"attention": attention, "autoencoder": sizes})


def network(config) -> CodeFormer:
    """Random weights whose codes are as far apart as latents are."""
    torch.manual_seed(0)
    net = CodeFormer(config).eval()
    with torch.no_grad():
        net.codebook.vectors.normal_()
        net.transformer.positions.normal_()
    return net


@pytest.fixture
def faces():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


GOLDEN = json.loads(Path(__file__).with_name("data").joinpath("single_code.json").read_text())


@pytest.mark.parametrize("name", ["tiny", "compact-256"])
def test_one_code_a_position_has_the_tensors_it_had(name):
    """Recorded from the version that knew nothing else."""
    with torch.device("meta"):
        state = CodeFormer(preset(name)).state_dict()
    shapes = {key: " ".join(map(str, value.shape)) for key, value in state.items()}
    assert list(shapes.items()) == list(GOLDEN["shapes"][name].items())


def test_one_code_a_position_has_the_numbers_it_had(faces):
    torch.manual_seed(0)
    net = CodeFormer(TINY).eval()
    with torch.inference_mode():
        encoded = net.encode(faces)
        assert (encoded.codes == torch.tensor(GOLDEN["codes"])).float().mean() > 0.98
        near = {"atol": 1e-4, "rtol": 1e-4}
        torch.testing.assert_close(encoded.logits[0, 0], torch.tensor(GOLDEN["logits"]), **near)
        torch.testing.assert_close(encoded.z[1, :, 3, 4], torch.tensor(GOLDEN["z"]), **near)
        for w in (0.0, 0.5, 1.0):
            image = net.decode(
                torch.tensor(GOLDEN["codes"]), encoded.features, torch.full((2,), w), encoded.z
            )
            torch.testing.assert_close(
                image[1, :, 20:22, 33], torch.tensor(GOLDEN[f"image_w{w:g}"]), atol=1e-3, rtol=1e-3
            )
        torch.manual_seed(0)
        out = VQAutoencoder(TINY.autoencoder)(faces)
    assert (out.quantized.codes == torch.tensor(GOLDEN["stage1_codes"])).float().mean() > 0.98
    assert not encoded.fine
    torch.testing.assert_close(
        out.image[1, :, 20:22, 33], torch.tensor(GOLDEN["stage1_image"]), atol=1e-3, rtol=1e-3
    )


# Product quantisation.


@pytest.fixture
def parted():
    torch.manual_seed(0)
    book = Codebook(7, 6, parts=3, scales=2)
    with torch.no_grad():
        book.vectors.normal_()
    return book


def test_each_part_has_its_nearest(parted):
    z = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(1))
    tables = parted.vectors.detach().view(2, 3, 7, 2).double()
    for scale in (0, 1):
        found = parted(z, scale)
        assert found.codes.shape == (2, 3 * 4 * 3)
        for b, row, column, part in np.ndindex(2, 3, 4, 3):
            own = z[b, 2 * part : 2 * part + 2, row, column].double()
            distances = [float((own - vector).square().sum()) for vector in tables[scale, part]]
            nearest = distances.index(min(distances))
            assert found.codes[b, (row * 4 + column) * 3 + part] == nearest
            wanted = tables[scale, part, nearest].float()
            assert torch.equal(found.vectors[b, 2 * part : 2 * part + 2, row, column], wanted)
    torch.testing.assert_close(found.features, found.vectors)


def test_rows_and_counts_are_those_of_the_tables(parted):
    codes = [torch.randint(7, (2, n), generator=torch.Generator().manual_seed(n)) for n in (6, 24)]
    counts = parted.histogram(codes)
    assert counts.shape == (2, 3, 7)
    for scale, part, code in np.ndindex(2, 3, 7):
        assert counts[scale, part, code] == (codes[scale][:, part::3] == code).sum()
        row = parted.rows(torch.full((1, 3), code), scale)[0, part]
        assert torch.equal(parted.vectors[row], parted.vectors.view(2, 3, 7, 2)[scale, part, code])
    assert parted.table(1).data_ptr() == parted.vectors[21:].data_ptr()


def test_usage_of_several_tables_is_their_mean():
    one, other = torch.tensor([4, 4, 0, 0]), torch.tensor([1, 1, 1, 1])
    usage = code_usage(torch.stack((one, other)))
    assert usage.used == pytest.approx(0.75)
    assert usage.perplexity == pytest.approx((2 + 4) / 2)
    assert code_usage(one).perplexity == pytest.approx(2)


# Residual quantisation.


def area(x, side):
    """Cell means of (C, n, n)."""
    cell = x.shape[1] // side
    return x.reshape(len(x), side, cell, side, cell).mean((2, 4))


def bilinear(x, side):
    """(C, m, m) enlarged, cells meeting at their edges, written out."""
    weights = np.zeros((side, x.shape[1]))
    for place in range(side):
        at = min(max((place + 0.5) * x.shape[1] / side - 0.5, 0), x.shape[1] - 1)
        low = math.floor(at)
        high = min(low + 1, x.shape[1] - 1)
        weights[place, low] += 1 - (at - low)
        weights[place, high] += at - low
    return np.einsum("yi,cij,xj->cyx", weights, x, weights)


def test_residual_quantisation_by_brute_force():
    sizes = tiny(scales=(2, 4, 8, 16), codes_per_position=2).autoencoder
    torch.manual_seed(0)
    book = codebook_of(sizes)
    with torch.no_grad():
        book.vectors.normal_()
    z, fine = torch.randn(2, 16, 8, 8), {16: torch.randn(2, 16, 16, 16)}
    made = code_face(book, sizes, z, fine)
    tables = book.vectors.detach().double().numpy().reshape(4, 2, 32, 8)

    def matched(x, scale):
        parts = x.reshape(2, 8, *x.shape[1:])
        distance = ((parts[:, None] - tables[scale][..., None, None]) ** 2).sum(2)
        codes = distance.argmin(1)  # (part, row, column)
        vectors = np.stack([tables[scale, part][codes[part]] for part in range(2)])
        return codes.transpose(1, 2, 0).ravel(), vectors.transpose(0, 3, 1, 2).reshape(x.shape)

    for b in range(2):
        left = z[b].double().numpy()
        total, codes = np.zeros_like(left), []
        for scale, side in enumerate((2, 4, 8)):
            np.testing.assert_allclose(made.scales[scale].latent[b], area(left, side), atol=1e-5)
            own, vectors = matched(area(left, side), scale)
            codes.append(own)
            left = left - bilinear(vectors, 8)
            total += bilinear(vectors, 8)
        own, vectors = matched(fine[16][b].double().numpy(), 3)
        assert made.codes[b].tolist() == [*np.concatenate(codes), *own]
        np.testing.assert_allclose(made.features[b], total, atol=1e-5)
        np.testing.assert_allclose(made.fine[16][b], vectors, atol=1e-5)
    coarse, found = look_up(book, sizes, made.codes)
    torch.testing.assert_close(coarse, made.features)
    torch.testing.assert_close(found[16], made.fine[16])


def test_gradients_of_residual_quantisation():
    """Features hand theirs to the latent as it is; each scale's vectors train its own tables only."""
    sizes = tiny(scales=(4, 8, 16)).autoencoder
    torch.manual_seed(0)
    book = codebook_of(sizes)
    z = torch.randn(1, 16, 8, 8, requires_grad=True)
    fine = torch.randn(1, 16, 16, 16, requires_grad=True)
    made = code_face(book, sizes, z, {16: fine})
    weight, other = torch.randn_like(z), torch.randn_like(fine)
    ((made.features * weight).sum() + (made.fine[16] * other).sum()).backward()
    assert torch.equal(z.grad, weight)
    assert torch.equal(fine.grad, other)
    assert book.vectors.grad is None
    for scale, found in enumerate(made.scales):
        book.vectors.grad = None
        found.vectors.sum().backward()
        reached = book.vectors.grad.view(3, -1).abs().sum(1) > 0
        assert reached.tolist() == [other == scale for other in range(3)]


def test_pictures_of_other_sizes_can_be_coded():
    """Stage I begins on small pictures, whose grids the scales need not divide."""
    net = VQAutoencoder(tiny(scales=(4, 8, 16)).autoencoder)
    out = net(torch.rand(1, 3, 40, 40) * 2 - 1)
    assert out.image.shape == (1, 3, 40, 40)
    assert [scale.latent.shape[2] for scale in out.quantized.scales] == [2, 5, 10]
    assert out.quantized.codes.shape == (1, 4 + 25 + 100)


# The whole network.

FORMS = {
    "parts": tiny(codes_per_position=4),
    "coarse": tiny(scales=(2, 8)),
    "fine": tiny(scales=(4, 8, 16)),
    "all": tiny("split", scales=(2, 8, 16, 32), codes_per_position=2),
}


@pytest.mark.parametrize("name", FORMS)
def test_shapes_of_the_whole(name, faces):
    config = FORMS[name]
    ae = config.autoencoder
    net = network(config)
    encoded = net.encode(faces)
    tokens = sum(side**2 for side in ae.grids)
    assert encoded.codes.shape == (2, tokens * ae.codes_per_position)
    assert sum(ae.code_counts) == tokens * ae.codes_per_position
    assert encoded.logits.shape == (*encoded.codes.shape, 32)
    assert torch.equal(encoded.codes, encoded.logits.argmax(2))
    assert {side: latent.shape[1:] for side, latent in encoded.fine.items()} == {
        side: (16, side, side) for side in ae.grids if side > 8
    }
    assert net(faces, torch.ones(2)).shape == faces.shape
    stage1 = VQAutoencoder(ae).state_dict()
    assert all(net.state_dict()[key].shape == value.shape for key, value in stage1.items())


@pytest.mark.parametrize("name", ["coarse", "all"])
def test_each_scale_has_its_own_way_through_the_transformer(name, faces):
    """Against maps that are cut out of the weights and put together one by one."""
    config = FORMS[name]
    ae = config.autoencoder
    net = network(config)
    maps = net.transformer
    with torch.inference_mode():
        encoded = net.encode(faces)
        tokens = []
        for scale, side in enumerate(ae.grids):
            latent = encoded.fine[side] if side > 8 else F.avg_pool2d(encoded.z, 8 // side)
            rows = slice(scale * config.width, (scale + 1) * config.width)
            row = latent.permute(0, 2, 3, 1).reshape(2, side * side, 16)
            tokens.append(row @ maps.embed.weight[rows].T + maps.embed.bias[rows])
        mixed = torch.cat(tokens, 1)
        for layer in maps.layers:
            mixed = layer(mixed, maps.positions)
        mixed = maps.norm(mixed)
        wanted, start = [], 0
        for scale, side in enumerate(ae.grids):
            for place in range(start, start + side**2):
                for part in range(ae.codes_per_position):
                    table = scale * ae.codes_per_position + part
                    wanted.append(mixed[:, place] @ maps.head.weight[table * 32 : (table + 1) * 32].T)
            start += side**2
        torch.testing.assert_close(encoded.logits, torch.stack(wanted, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["fine", "all"])
def test_w_0_leaves_finer_scales_out(name, faces):
    net = network(FORMS[name])
    ae = net.config.autoencoder
    coarse = sum(n for side, n in zip(ae.grids, ae.code_counts, strict=True) if side <= 8)
    with torch.inference_mode():
        encoded = net.encode(faces)
        other = encoded.codes.clone()
        other[:, coarse:] = (other[:, coarse:] + 1) % 32
        for w, same in ((0.0, True), (0.5, False)):
            images = [
                net.decode(codes, encoded.features, torch.full((2,), w)) for codes in (encoded.codes, other)
            ]
            assert torch.equal(*images) is same
        vectors, _ = look_up(net.codebook, ae, encoded.codes)
        zero = net.decode(encoded.codes, encoded.features, torch.zeros(2))
        assert torch.equal(zero, net.decoder(vectors))


def test_w_1_without_fusion_is_stage_1(faces):
    config = dataclasses.replace(FORMS["all"], fuse_sizes=(), bands=())
    net = network(config)
    stage1 = VQAutoencoder(config.autoencoder).eval()
    stage1.load_state_dict({key: net.state_dict()[key] for key in stage1.state_dict()})
    with torch.inference_mode():
        out = stage1(faces)
        image = net.decode(out.quantized.codes, {}, torch.ones(2))
        torch.testing.assert_close(image, out.image, atol=1e-4, rtol=1e-4)
        half = net.decode(out.quantized.codes, {}, torch.full((2,), 0.5))
        assert (half - image).abs().max() > 1e-2


def test_bypass_lets_finer_latents_through(faces):
    torch.manual_seed(0)
    net = VQAutoencoder(FORMS["fine"].autoencoder).eval()
    bypassed = net(faces, quantize=False)
    z, taps = net.encoder(faces)
    fine = net.encoder.fine_latents(taps)
    assert torch.equal(bypassed.image, net.decoder(z, fine=fine))
    assert not torch.equal(bypassed.image, net.decoder(z))
    assert not torch.equal(bypassed.image, net(faces).image)


# What is no network.


@pytest.mark.parametrize(
    "scales",
    [(8, 4), (4, 4, 8), (3, 8), (0, 8), (-2, 8), (8, 12), (8, 64), (16,), (16, 32), (5,)],
    ids=str,
)
def test_impossible_scales(scales):
    with pytest.raises(ConfigError, match="must go from coarse to fine and begin at 8 or less") as caught:
        tiny(scales=scales)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("parts", [0, 3, -1, 32])
def test_impossible_parts(parts):
    with pytest.raises(ConfigError, match="codes_per_position"):
        dataclasses.replace(TINY.autoencoder, codes_per_position=parts)


def test_sizes_of_before_mean_what_they_meant():
    values = json.loads(json.dumps(TINY.to_dict()))
    del values["attention"], values["autoencoder"]["scales"], values["autoencoder"]["codes_per_position"]
    assert CodeFormerConfig.from_dict(values) == TINY
    full = AutoencoderConfig()
    assert (full.grids, full.tables, full.code_counts) == ((16,), 1, (256,))
    again = json.loads(json.dumps(FORMS["all"].to_dict()))
    assert CodeFormerConfig.from_dict(again) == FORMS["all"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 3}, "has no 'depth'"),
        ({"autoencoder": {"depth": 3}}, "AutoencoderConfig has no 'depth'"),
        ({"autoencoder": 3}, "table of sizes"),
        ({"layers": "6"}, "layers = '6'"),
        ({"layers": 0}, "layers = 0"),
        ({"layers": 2.0}, "layers = 2.0"),
        ({"layers": True}, "layers = True"),
        ({"attention": 3}, "attention = 3"),
        ({"autoencoder": {"scales": [4, 8.0]}}, "scales"),
        ({"autoencoder": {"scales": 8}}, "scales = 8"),
        ({"autoencoder": {"middle": 1}}, "middle = 1"),
    ],
)
def test_changes_that_are_none(changes, message):
    with pytest.raises(ConfigError, match=message):
        changed(TINY, changes)


def test_changes_of_a_network():
    made = changed(TINY, {"layers": 3, "fuse_hidden": 1, "bands": [], "autoencoder": {"scales": [4, 8]}})
    inner = dataclasses.replace(TINY.autoencoder, scales=(4, 8))
    assert made == dataclasses.replace(TINY, layers=3, fuse_hidden=1, bands=(), autoencoder=inner)
    assert changed(TINY, {}) == TINY

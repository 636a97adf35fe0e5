"""Sizes from the shapes of a published file, and sizes that no file may claim."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from layouts import UNEVEN, to_official

from facemend.convert.infer_sizes import check_sizes, infer_config
from facemend.errors import WeightsError
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import PRESETS, AutoencoderConfig, CodeFormerConfig, preset


def published_shapes(config):
    with torch.device("meta"):
        state = CodeFormer(config).state_dict()
    return {name: tuple(value.shape) for name, value in to_official(state, config).items()}


def test_the_published_table_gives_the_published_network():
    with (Path(__file__).parent / "data/state_dict_keys.tsv").open() as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    shapes = {name: tuple(int(n) for n in shape.split("x")) for name, shape in rows}
    assert infer_config(shapes, "codeformer.pth") == preset("codeformer-512")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"fuse_sizes": (16,)},
        {"fuse_sizes": (16, 32, 64)},
        {"autoencoder": replace(UNEVEN.autoencoder, codebook_size=512)},
        {"autoencoder": replace(UNEVEN.autoencoder, attention_sizes=(32, 16))},
        {"autoencoder": replace(UNEVEN.autoencoder, attention_sizes=())},
    ],
)
def test_every_size_is_read_back(change):
    config = replace(UNEVEN, **change)
    assert infer_config(published_shapes(config), "test") == config


def test_variants_of_the_published_network():
    """The colourisation and inpainting networks are fused at three scales, one has half the codes."""
    full = preset("codeformer-512")
    for codes in (512, 1024):
        variant = replace(
            full, fuse_sizes=(32, 64, 128), autoencoder=replace(full.autoencoder, codebook_size=codes)
        )
        assert infer_config(published_shapes(variant), "test") == variant


def without(*prefixes):
    return {k: v for k, v in published_shapes(UNEVEN).items() if not k.startswith(prefixes)}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            without("position_emb", "feat_emb", "ft_layers", "idx_pred_layer", "fuse_convs_dict"),
            r"net\.pth: a stage I file \(autoencoder only\): .* lacks the transformer and the fusion",
        ),
        (without("fuse_convs_dict"), r"net\.pth: a stage II file: .* lacks the fusion of stage III"),
        (without("encoder"), "not the weights of a CodeFormer network"),
        ({"conv.weight": (3, 3, 3, 3)}, "not the weights of a CodeFormer network"),
        ({}, "not the weights of a CodeFormer network"),
        ({f"encoder.{i}": (1,) for i in range(6000)} | published_shapes(UNEVEN), "not the weights"),
    ],
    ids=["stage1", "stage2", "no encoder", "other", "empty", "many"],
)
def test_what_is_missing_is_said(shapes, message):
    with pytest.raises(WeightsError, match=message) as caught:
        infer_config(shapes, "net.pth")
    assert "\n" not in str(caught.value)


def changed(**shapes):
    return {**published_shapes(UNEVEN), **{name.replace("__", "."): shape for name, shape in shapes.items()}}


@pytest.mark.parametrize(
    "shapes",
    [
        changed(position_emb=(255, 16)),
        changed(position_emb=(256,)),
        changed(position_emb=(0, 16)),
        changed(position_emb=(256, 15)),
        changed(quantize__embedding__weight=(24, 8, 1)),
        changed(fuse_convs_dict__x__scale__0__bias=(1,)),
        changed(fuse_convs_dict__48__scale__0__bias=(1,)),
        changed(encoder__blocks__99__conv__weight=(1,)),
        changed(encoder__blocks__x__conv__weight=(1,)),
        without("ft_layers.0."),
        without("encoder.blocks.3."),
        without("generator.blocks.1"),
        {
            "encoder.blocks.0.weight": (),
            "quantize": (),
            "generator": (),
            "position_emb": (),
            "fuse_convs_dict": (),
        },
    ],
)
def test_other_arrangements_are_refused(shapes):
    with pytest.raises(WeightsError, match=r"net\.pth: .*(not arranged as in a CodeFormer|a usable network)"):
        infer_config(shapes, "net.pth")


def test_a_giant_is_refused_before_it_is_built():
    giant = {name: shape for name, shape in published_shapes(UNEVEN).items() if "fuse" not in name}
    giant |= {"position_emb": (10**12, 16), "fuse_convs_dict.1000000.scale.0.bias": (1,)}
    with pytest.raises(
        WeightsError, match=r"net\.pth: image_size is 4000000, a usable network has 32 to 2048"
    ):
        infer_config(giant, "net.pth")
    with pytest.raises(WeightsError, match="codebook_size is 1000000000000"):
        infer_config(changed(quantize__embedding__weight=(10**12, 8)), "net.pth")


@pytest.mark.parametrize(
    "config",
    [
        replace(UNEVEN, layers=10**9),
        replace(UNEVEN, layers="many"),
        replace(UNEVEN, feedforward=True),
        replace(UNEVEN, fuse_hidden=float("nan")),
        replace(UNEVEN, fuse_hidden="x"),
        replace(UNEVEN, autoencoder=replace(UNEVEN.autoencoder, decoder_blocks=(1, 1, 10**9))),
        replace(UNEVEN, autoencoder=replace(UNEVEN.autoencoder, code_dim=-1)),
        replace(UNEVEN, autoencoder=replace(UNEVEN.autoencoder, code_dim=4096, codes_per_position=4096)),
        replace(UNEVEN, autoencoder=replace(UNEVEN.autoencoder, codes_per_position=1.0)),
        replace(UNEVEN, autoencoder=replace(UNEVEN.autoencoder, scales=(1, 2.0, 4))),
        CodeFormerConfig(
            autoencoder=AutoencoderConfig(
                image_size=512, widths=(32,), encoder_blocks=(1,), decoder_blocks=(1,)
            ),
            fuse_sizes=(),
        ),
    ],
)
def test_sizes_beyond_reason(config):
    with pytest.raises(WeightsError, match=r"net: \w+(\[[12]\])? is .*, a usable network has"):
        check_sizes(config, "net")


@pytest.mark.parametrize("name", PRESETS)
def test_our_own_networks_are_within_reason(name):
    check_sizes(preset(name), name)

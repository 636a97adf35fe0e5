"""The published weight layout: every name, both ways, and files that are not what they claim."""

import csv
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from facemend.convert.published_layout import (
    PARTS,
    STAGE1_PARTS,
    from_official,
    official_keys,
    official_parts,
    read_official,
    to_official,
)
from facemend.errors import ConfigError, WeightsError
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.checkpoint import load_into
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import AutoencoderConfig, CodeFormerConfig, changed, preset
from facemend.weights import weight_files

# The published form at a size that tests can afford.
SMALL = CodeFormerConfig(
    autoencoder=AutoencoderConfig(
        image_size=32,
        widths=(8, 8, 16),
        encoder_blocks=(2, 2, 2),
        decoder_blocks=(2, 2, 2),
        attention_sizes=(8,),
        code_dim=8,
        codebook_size=16,
        norm_groups=4,
    ),
    width=16,
    heads=2,
    layers=2,
    feedforward=24,
    fuse_sizes=(16, 32),
)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CodeFormer(SMALL).eval()


@pytest.fixture
def official(network):
    return to_official(network.state_dict(), SMALL)


@pytest.fixture
def tensors():
    """What a small weight file may hold."""
    return {"position_emb": torch.rand(3, 4), "encoder.blocks.0.bias": torch.rand(5)}


def published_table():
    with (Path(__file__).parent / "data/state_dict_keys.tsv").open() as file:
        rows = list(csv.reader(file, delimiter="\t"))
    return [(name, tuple(int(n) for n in shape.split("x"))) for name, shape in rows[1:]]


def shapes_by_official_name(parts=PARTS):
    config = preset("codeformer-512")
    with torch.device("meta"):
        state = CodeFormer(config).state_dict()
    state = {name: value for name, value in state.items() if name.split(".")[0] in parts}
    return {name: tuple(value.shape) for name, value in to_official(state, config).items()}


def numbers(shapes):
    return sum(torch.Size(shape).numel() for shape in shapes)


def test_names_and_shapes_are_those_of_the_published_file():
    ours = shapes_by_official_name()
    assert list(ours.items()) == published_table()
    assert len(ours) == 515
    assert numbers(ours.values()) == 94_112_707


def test_stage1_file_of_329_tensors():
    ours = shapes_by_official_name(STAGE1_PARTS)
    assert len(ours) == 329
    assert numbers(ours.values()) == 63_740_099


def test_map_is_one_to_one_and_complete(network):
    keys = official_keys(SMALL)
    assert len(set(keys.values())) == len(keys)
    assert set(keys.values()) == set(network.state_dict())


@pytest.mark.parametrize("name", ["compact-256", "tiny"])
def test_networks_of_our_own_form_have_no_published_names(name):
    with pytest.raises(ConfigError, match="patch, middle, upsample"):
        official_keys(preset(name))


@pytest.mark.parametrize(
    "changes",
    [{"attention": "split"}, {"autoencoder": {"scales": [4, 8]}}, {"autoencoder": {"codes_per_position": 2}}],
)
def test_what_the_published_names_would_not_tell_is_refused(changes):
    with pytest.raises(
        ConfigError, match=r"no room for this network \((attention|scales|codes_per_position)\)"
    ):
        official_keys(changed(SMALL, changes))


def test_round_trip(network, official):
    ours = from_official(official, SMALL)
    state = network.state_dict()
    assert set(ours) == set(state)
    assert all(torch.equal(ours[name], state[name]) for name in state)


def test_loaded_network_gives_the_same_picture(network, official):
    other = CodeFormer(SMALL).eval()
    load_into(other, from_official(official, SMALL), "test")
    image, w = torch.rand(1, 3, 32, 32) * 2 - 1, torch.tensor([0.5])
    with torch.inference_mode():
        assert torch.equal(network(image, w), other(image, w))


def test_half_precision_becomes_float32(official):
    ours = from_official({name: value.half() for name, value in official.items()}, SMALL)
    assert {value.dtype for value in ours.values()} == {torch.float32}


def test_stage1_file_fits_the_autoencoder(official):
    state = {k: v for k, v in official.items() if k.split(".")[0] in ("encoder", "quantize", "generator")}
    assert official_parts(state, SMALL) == STAGE1_PARTS
    load_into(VQAutoencoder(SMALL.autoencoder), from_official(state, SMALL, STAGE1_PARTS), "test")
    with pytest.raises(WeightsError, match=r"vqgan\.pth.*no transformer in it; no fusion in it \(2 in all\)"):
        from_official(state, SMALL, source="vqgan.pth")


def test_stage2_file_lacks_fusion_only(official):
    state = {k: v for k, v in official.items() if not k.startswith("fuse_convs_dict")}
    parts = official_parts(state, SMALL)
    assert parts == ("transformer", "encoder", "codebook", "decoder")
    assert not any(name.startswith("fusion") for name in from_official(state, SMALL, parts))
    with pytest.raises(WeightsError, match="no fusion in it"):
        from_official(state, SMALL)


def test_part_of_a_whole_file(official):
    ours = from_official(official, SMALL, STAGE1_PARTS)
    assert {name.split(".")[0] for name in ours} == set(STAGE1_PARTS)


def test_first_problems_are_named(official):
    del official["encoder.blocks.1.norm1.weight"]
    official["extra"] = torch.zeros(1)
    official["feat_emb.bias"] = torch.zeros(3)
    with pytest.raises(WeightsError) as caught:
        from_official(official, SMALL, source="some.pth")
    assert str(caught.value) == (
        "some.pth: does not fit the network: missing encoder.blocks.1.norm1.weight; unexpected extra; "
        "feat_emb.bias is (3,), the network has (16,) (3 in all)"
    )


def test_published_weights_do_not_fit_other_sizes(official):
    larger = replace(SMALL, autoencoder=replace(SMALL.autoencoder, codebook_size=32))
    with pytest.raises(
        WeightsError, match=r"quantize\.embedding\.weight is \(16, 8\), the network has \(32, 8\)"
    ):
        from_official(official, larger)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(official, value):
    official["feat_emb.bias"] = torch.full((16,), value)
    with pytest.raises(WeightsError, match=r"feat_emb\.bias holds NaN or infinite"):
        from_official(official, SMALL)


def test_names_of_ours_that_were_never_published():
    with pytest.raises(WeightsError, match="nonsense"):
        to_official({"nonsense": torch.zeros(1)}, SMALL)


def assert_same(state, tensors):
    assert set(state) == set(tensors)
    assert all(torch.equal(state[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("wrap", ["params_ema", "params", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_read_torch_file(tmp_path, tensors, wrap, prefix):
    content = {prefix + name: value for name, value in tensors.items()}
    torch.save({wrap: content} if wrap else content, tmp_path / "a.pth")
    assert_same(read_official(tmp_path / "a.pth"), tensors)


def test_averaged_weights_go_first(tmp_path, tensors):
    raw = {name: value + 1 for name, value in tensors.items()}
    torch.save({"params": raw, "params_ema": tensors}, tmp_path / "a.pth")
    assert_same(read_official(tmp_path / "a.pth"), tensors)


def test_read_safetensors(tmp_path, tensors):
    save_file(tensors, tmp_path / "a.safetensors")
    assert_same(read_official(tmp_path / "a.safetensors"), tensors)


class Payload:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def refuse(path, match):
    with pytest.raises(WeightsError, match=match) as caught:
        read_official(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_code_in_a_torch_file_is_not_run(tmp_path, tensors):
    torch.save({"params_ema": {**tensors, "x": Payload(tmp_path / "ran")}}, tmp_path / "a.pth")
    refuse(tmp_path / "a.pth", "more than tensors")
    assert not (tmp_path / "ran").exists()


def test_plain_pickle_is_not_run(tmp_path):
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    refuse(tmp_path / "a.pth", "a plain pickle")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, 0.999])
def test_cut_off_files(tmp_path, tensors, name, keep):
    path = tmp_path / name
    torch.save({"params_ema": tensors}, path) if name == "a.pth" else save_file(tensors, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    refuse(path, "damaged|not a whole")


def test_any_damage_ends_in_one_error(tmp_path, tensors, rng):
    path = tmp_path / "a.pth"
    torch.save({"params_ema": tensors}, path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        entry = next(e for e in archive.infolist() if e.filename.endswith("data.pkl"))
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(entry.header_offset, entry.header_offset + entry.file_size, 3):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            state = read_official(path)
        except WeightsError:
            continue
        assert all(isinstance(value, torch.Tensor) for value in state.values())


def test_compressed_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    refuse(tmp_path / "a.pth", "compressed")


def test_missing_and_too_large(tmp_path, monkeypatch):
    refuse(tmp_path / "none.pth", "cannot read")
    refuse(tmp_path, "cannot read")
    monkeypatch.setattr(weight_files, "MAX_WEIGHT_BYTES", 10)
    (tmp_path / "a.pth").write_bytes(bytes(11))
    refuse(tmp_path / "a.pth", "more than a weight file has")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([torch.zeros(1)], "no table"),
        ({}, "no table"),
        ({"params_ema": {}}, "no table"),
        ({"x": 1.0}, "'x' is not a plain tensor"),
        ({"x": torch.zeros(2, dtype=torch.int64)}, "'x' is not a plain tensor"),
        ({"x": torch.eye(2).to_sparse()}, "'x' is not a plain tensor"),
        ({1: torch.zeros(2)}, "'1' is not a plain tensor"),
    ],
    ids=["list", "empty", "empty inside", "number", "integers", "sparse", "name"],
)
def test_other_contents(tmp_path, content, match):
    torch.save(content, tmp_path / "a.pth")
    refuse(tmp_path / "a.pth", match)

"""The published weight layout: every name, and files that are not what they claim."""

import csv
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from layouts import UNEVEN, network, official, to_official
from safetensors.torch import save_file

from facemend.convert.published_layout import (
    from_official,
    official_keys,
    read_official,
)
from facemend.errors import ConfigError, WeightsError
from facemend.networks.codeformer.checkpoint import load_into
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import changed, preset
from facemend.weights import weight_files


@pytest.fixture
def state():
    return official(UNEVEN)


@pytest.fixture
def tensors():
    """What a small weight file may hold."""
    return {"position_emb": torch.rand(3, 4), "encoder.blocks.0.bias": torch.rand(5)}


def test_names_and_shapes_are_those_of_the_published_file():
    with (Path(__file__).parent / "data/state_dict_keys.tsv").open() as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    table = [(name, tuple(int(n) for n in shape.split("x"))) for name, shape in rows]
    config = preset("codeformer-512")
    with torch.device("meta"):
        whole = CodeFormer(config).state_dict()
    ours = to_official(whole, config)
    assert [(name, tuple(value.shape)) for name, value in ours.items()] == table
    stage1 = [v for k, v in ours.items() if k.split(".")[0] in ("encoder", "quantize", "generator")]
    for values, count, numbers in ((ours.values(), 515, 94_112_707), (stage1, 329, 63_740_099)):
        assert (len(values), sum(value.numel() for value in values)) == (count, numbers)


def test_round_trip(state):
    net, other = network(UNEVEN), CodeFormer(UNEVEN).eval()
    keys = official_keys(UNEVEN)
    assert len(set(keys.values())) == len(keys) == len(net.state_dict())
    ours = from_official(state, UNEVEN)
    assert_same(ours, net.state_dict())
    load_into(other, ours, "test")
    image, w = torch.rand(1, 3, 64, 64) * 2 - 1, torch.tensor([0.5])
    with torch.inference_mode():
        assert torch.equal(net(image, w), other(image, w))
    rounded = from_official({name: value.half() for name, value in state.items()}, UNEVEN)
    assert {value.dtype for value in rounded.values()} == {torch.float32}


def test_networks_of_our_own_form_have_no_published_names():
    for name in ("compact-256", "tiny"):
        with pytest.raises(ConfigError, match="patch, middle, upsample"):
            official_keys(preset(name))
    for name, change in (
        ("attention", {"attention": "split"}),
        ("scales", {"autoencoder": {"scales": [4, 16]}}),
        ("codes_per_position", {"autoencoder": {"codes_per_position": 2}}),
    ):
        with pytest.raises(ConfigError, match=rf"no room for this network \({name}\)"):
            official_keys(changed(UNEVEN, change))


def test_files_of_the_stages(state):
    first = {k: v for k, v in state.items() if k.split(".")[0] in ("encoder", "quantize", "generator")}
    with pytest.raises(WeightsError, match=r"vqgan\.pth.*no transformer in it; no fusion in it \(2 in all\)"):
        from_official(first, UNEVEN, source="vqgan.pth")
    second = {k: v for k, v in state.items() if not k.startswith("fuse_convs_dict")}
    with pytest.raises(WeightsError, match="no fusion in it"):
        from_official(second, UNEVEN)


def test_first_problems_are_named(state):
    larger = changed(UNEVEN, {"autoencoder": {"codebook_size": 32}})
    with pytest.raises(WeightsError, match=r"embedding\.weight is \(24, 8\), the network has \(32, 8\)"):
        from_official(state, larger)
    for value in (float("nan"), float("inf")):
        with pytest.raises(WeightsError, match=r"feat_emb\.bias holds NaN or infinite"):
            from_official({**state, "feat_emb.bias": torch.full((16,), value)}, UNEVEN)
    del state["encoder.blocks.1.norm1.weight"]
    state["extra"] = torch.zeros(1)
    state["feat_emb.bias"] = torch.zeros(3)
    with pytest.raises(WeightsError) as caught:
        from_official(state, UNEVEN, source="some.pth")
    assert str(caught.value) == (
        "some.pth: does not fit the network: missing encoder.blocks.1.norm1.weight; unexpected extra; "
        "feat_emb.bias is (3,), the network has (16,) (3 in all)"
    )


def assert_same(state, tensors):
    assert set(state) == set(tensors)
    assert all(torch.equal(state[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("wrap", ["params_ema", "params", "both", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_read_torch_file(tmp_path, tensors, wrap, prefix):
    content = {prefix + name: value for name, value in tensors.items()}
    raw = {name: value + 1 for name, value in content.items()}
    wrapped = {"params": raw, "params_ema": content} if wrap == "both" else {wrap: content}
    torch.save(wrapped if wrap else content, tmp_path / "a.pth")
    assert_same(read_official(tmp_path / "a.pth"), tensors)
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
    refuse(tmp_path / "a.pth", "its table of contents names '__builtin__ getattr'")
    assert not (tmp_path / "ran").exists()


def test_an_onnx_file_and_a_plain_pickle_are_refused(tmp_path):
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    refuse(tmp_path / "a.pth", "a plain pickle")
    assert not (tmp_path / "ran").exists()
    (tmp_path / "a.pth").write_bytes(b"\x08\x09:\x00")
    refuse(tmp_path / "a.pth", "an ONNX file")


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
    refused = []
    for at in rng.integers(len(whole), size=60):
        path.write_bytes(whole[:at] + rng.bytes(1) + whole[at + 1 :])
        try:
            state = read_official(path)
        except WeightsError as error:
            refused.append(str(error))
        else:
            assert all(isinstance(value, torch.Tensor) for value in state.values())
    assert 0 < len(refused) < 60
    assert not any("\n" in told for told in refused)


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
        (
            {"x": torch.eye(2).to_sparse()},
            "its table of contents names 'torch._utils _rebuild_sparse_tensor'",
        ),
        ({1: torch.zeros(2)}, "'1' is not a plain tensor"),
    ],
    ids=["list", "empty", "empty inside", "number", "integers", "sparse", "name"],
)
def test_other_contents(tmp_path, content, match):
    torch.save(content, tmp_path / "a.pth")
    refuse(tmp_path / "a.pth", match)

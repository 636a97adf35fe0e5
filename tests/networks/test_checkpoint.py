"""Checkpoints: what is written is read, and nothing damaged or foreign gets through."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from facemend.errors import OutputError, WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into, save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import AutoencoderConfig, CodeFormerConfig, preset

# Nothing like a preset.
ODD = CodeFormerConfig(
    autoencoder=AutoencoderConfig(
        image_size=36,
        patch=3,
        widths=(6, 15),
        encoder_blocks=(1, 3),
        decoder_blocks=(2, 1),
        attention_sizes=(12,),
        middle=True,
        code_dim=7,
        codebook_size=13,
        norm_groups=3,
    ),
    width=10,
    heads=5,
    layers=1,
    feedforward=11,
    fuse_sizes=(12,),
    fuse_hidden=0.7,
)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "deep/model.safetensors"
    save_checkpoint(path, CodeFormer(ODD).state_dict(), ODD, {"stage": "stage3", "step": 7, "psnr": 21.5})
    return path


def test_round_trip(saved):
    checkpoint = load_checkpoint(saved)
    assert checkpoint.config == ODD
    assert checkpoint.info == {"stage": "stage3", "step": 7, "psnr": 21.5}
    assert checkpoint.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    network = CodeFormer(checkpoint.config)
    load_into(network, checkpoint.state, saved)
    assert all(torch.equal(value, checkpoint.state[name]) for name, value in network.state_dict().items())
    assert network(torch.zeros(1, 3, 36, 36), torch.ones(1)).shape == (1, 3, 36, 36)


def test_saving_twice_replaces(saved):
    save_checkpoint(saved, {"a": torch.ones(2)}, ODD, {})
    assert set(load_checkpoint(saved).state) == {"a"}
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_tensors_that_share_or_skip_memory(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    save_checkpoint(tmp_path / "a.safetensors", {"t": base.T, "part": base[:, 1]}, ODD, {})
    state = load_checkpoint(tmp_path / "a.safetensors").state
    assert torch.equal(state["t"], base.T)
    assert torch.equal(state["part"], base[:, 1])


def refuse(path, match):
    with pytest.raises(WeightsError, match=match) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    refuse(tmp_path / "none.safetensors", "no such checkpoint")


@pytest.mark.parametrize("keep", [0, 4, 200, 0.5, 0.999])
def test_cut_off_file(saved, keep):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    refuse(saved, "not a readable safetensors file")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_must_be_finite(saved, value):
    checkpoint = load_checkpoint(saved)
    checkpoint.state["transformer.head.weight"][2, 3] = value
    save_checkpoint(saved, checkpoint.state, ODD, {})
    refuse(saved, r"transformer\.head\.weight holds NaN or infinite")


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "write", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))], ids=["zip", "plain"]
)
def test_a_renamed_pickle_is_not_run(tmp_path, write):
    write({"a": Payload(tmp_path / "ran")}, tmp_path / "model.safetensors")
    refuse(tmp_path / "model.safetensors", "not a readable safetensors file")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("header", [None, {}, {"config": "not json"}, {"info": "{}"}], ids=repr)
def test_foreign_safetensors(tmp_path, header):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata=header)
    refuse(tmp_path / "a.safetensors", "not a facemend checkpoint")


def test_first_misfits_are_named(saved):
    state = load_checkpoint(saved).state
    del state["encoder.out.bias"]
    state["extra"] = torch.zeros(1)
    state["transformer.embed.bias"] = torch.zeros(3)
    network = CodeFormer(ODD)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_into(network, state, "some file")
    assert str(caught.value) == (
        "some file: does not fit the network: missing encoder.out.bias; unexpected extra; "
        "transformer.embed.bias is (3,), the network has (10,) (3 in all)"
    )
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    "config",
    [
        "[1]",
        "3",
        "null",
        '{"surprise": 1}',
        '{"heads": 0}',
        '{"autoencoder": 3}',
        '{"autoencoder": {"norm_groups": 0}}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_impossible_sizes_in_the_header(tmp_path, config):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata={"config": config})
    refuse(tmp_path / "a.safetensors", "not a facemend checkpoint")


def test_a_full_disk_leaves_the_older_file_whole(tmp_path, monkeypatch):
    """The weights are written in part, then the disk is full."""
    import facemend.networks.codeformer.checkpoint as module

    path = tmp_path / "model.safetensors"
    state = CodeFormer(preset("tiny")).state_dict()
    save_checkpoint(path, state, preset("tiny"), {"step": 1})
    before = path.read_bytes()

    def fail(tensors, file, metadata):
        Path(file).write_bytes(before[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", fail)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
        save_checkpoint(path, state, preset("tiny"), {"step": 2})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]

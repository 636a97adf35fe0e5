"""Weights of others into the cache: the published layout, our checkpoints, and files that are neither."""

import dataclasses
import json
import struct
from pathlib import Path

import pytest
import torch
from layouts import COLOUR, INPAINT, SMALL, network, official
from safetensors.torch import load_file, save_file

from facemend.convert import export as exporting
from facemend.convert import import_torch as importing
from facemend.convert.export import ExportOptions
from facemend.convert.import_torch import ImportOptions, import_weights
from facemend.errors import ConfigError, OutputError, WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint, save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import preset
from facemend.weights.models import models_dir


@pytest.fixture(scope="module")
def state():
    return official(SMALL)


@pytest.fixture(scope="module")
def variant():
    return official(COLOUR)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def quick(monkeypatch):
    """Without the exporter: what it was asked for is written into model.json."""

    def export(checkpoint, out, options):
        out.mkdir()
        row = {"file": "x.onnx", "sha256": "0" * 64}
        text = {
            "name": options.name,
            "description": options.description,
            "licence": options.licence,
            "image_size": load_checkpoint(checkpoint).config.autoencoder.image_size,
            "template": "ffhq",
            "default_w": options.default_w,
            "task": options.task,
            "precision": options.precision,
            "adain": options.adain,
            "files": {"encode": row, "decode": row},
            **options.more,
        }
        (out / "model.json").write_text(json.dumps(text))

    monkeypatch.setattr(importing, "export_model", export)


def put(path: Path, content) -> Path:
    torch.save(content, path)
    return path


def refuse(file, match, error=WeightsError, **options):
    with pytest.raises(error, match=match) as caught:
        import_weights(file, ImportOptions(**options))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{file}: "), caught.value
    assert ".import-" not in str(caught.value)
    assert not models_dir().is_dir() or list(models_dir().iterdir()) == []


def test_wrappers_and_formats(tmp_path, state, quick):
    files = [
        put(tmp_path / "ema.pth", {"params": {k: v + 1 for k, v in state.items()}, "params_ema": state}),
        put(tmp_path / "raw.pth", {"params": state}),
        put(tmp_path / "bare.pth", state),
        put(tmp_path / "module.pth", {"params": {f"module.{k}": v for k, v in state.items()}}),
        tmp_path / "plain.safetensors",
    ]
    save_file(state, files[-1])
    for file in files:
        info = import_weights(file, ImportOptions())
        assert info.name == file.stem
        ours = load_file(info.folder / "model.safetensors")
        assert all(torch.equal(ours[name], value) for name, value in network(SMALL).state_dict().items())


def test_our_own_checkpoint(tmp_path, quick):
    sizes = preset("tiny")
    file = tmp_path / "mine.safetensors"
    save_checkpoint(file, CodeFormer(sizes).state_dict(), sizes, {"stage": "stage3", "step": 7})
    info = import_weights(file, ImportOptions(precision="fp16"))
    assert (info.name, info.task, info.details["precision"]) == ("mine", "restoration", "fp16")
    kept = load_checkpoint(info.folder / "model.safetensors")
    assert kept.config == sizes
    assert kept.info["step"] == 7


@pytest.mark.parametrize(
    ("name", "given", "task", "w", "adain"),
    [
        ("codeformer_inpainting.pth", None, "inpainting", 1, False),
        ("codeformer_colorization.pth", None, "colorization", 0, True),
        ("net.pth", "inpainting", "inpainting", 1, False),
        ("net.pth", "colorization", "colorization", 0, True),
        ("codeformer_colorization.pth", "restoration", "restoration", 0.5, True),
    ],
)
def test_variants(tmp_path, variant, quick, name, given, task, w, adain):
    info = import_weights(put(tmp_path / name, {"params_ema": variant}), ImportOptions(task=given))
    assert (info.task, info.default_w, info.details["adain"]) == (task, w, adain)


def test_a_variant_is_asked_for_where_nothing_tells(tmp_path, variant, quick):
    file = put(tmp_path / "net.pth", variant)
    refuse(file, r"is fused at 8 only, .*say which it is with --task", ConfigError)


@pytest.mark.parametrize("usual", ["colorization", "inpainting"])
def test_the_usual_task_counts_where_nothing_tells(tmp_path, state, variant, quick, usual):
    options = ImportOptions(usual_task=usual)
    assert import_weights(put(tmp_path / "net.pth", variant), options).task == usual
    assert import_weights(put(tmp_path / "other.pth", state), options).task == "restoration"
    named = put(tmp_path / "codeformer_inpainting.pth", variant)
    assert import_weights(named, options).task == "inpainting"
    unclear = put(tmp_path / "more.pth", variant)
    with pytest.raises(ConfigError, match="say which it is with --task"):
        import_weights(unclear, ImportOptions(usual_task="restoration"))


def test_half_the_codes_tell_the_inpainting_network(tmp_path, quick):
    file = put(tmp_path / "net.pth", official(INPAINT))
    info = import_weights(file, ImportOptions())
    assert info.task == "inpainting"
    assert load_checkpoint(info.folder / "model.safetensors").config.autoencoder.codebook_size == 512


def test_names(tmp_path, state, quick):
    file = put(tmp_path / "net.pth", state)
    assert import_weights(file, ImportOptions(name="mine")).name == "mine"
    assert import_weights(file, ImportOptions()).name == "net"
    second = import_weights(file, ImportOptions(precision="fp16"))
    assert second.name.startswith("net-")
    with pytest.raises(OutputError, match="mine: there is a model of that name already"):
        import_weights(file, ImportOptions(name="mine"))


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (("position_emb", "feat_emb", "ft_layers", "idx_pred", "fuse"), r"vqgan\.pth: a stage I file"),
        (("fuse_convs_dict",), r"vqgan\.pth: a stage II file"),
        (("encoder.blocks.4",), "not arranged as in a CodeFormer network"),
        (("feat_emb.bias",), r"does not fit the network: missing feat_emb\.bias \(1 in all\)"),
        (("quantize",), "not the weights of a CodeFormer network"),
    ],
)
def test_what_lacks_something(tmp_path, state, gone, message):
    content = {name: value for name, value in state.items() if not name.startswith(gone)}
    refuse(put(tmp_path / "vqgan.pth", {"params_ema": content}), message)


def safetensors(path, header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}, bytes(4)),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4 * 10**12]}}, bytes(4)),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
        ({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, bytes(4)),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(400)),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        (b"{" * 1000, b""),
        (b'{"a": 1}', b""),
    ],
)
def test_headers_that_lie(tmp_path, header, body):
    refuse(safetensors(tmp_path / "net.safetensors", header, body), "not a whole safetensors file")


def own(path, config, tensors=None, info=None):
    """A checkpoint of ours whose header says whatever one likes."""
    header = {"config": config if isinstance(config, str) else json.dumps(config)}
    save_file(tensors or {"a": torch.zeros(1)}, path, metadata={**header, "info": json.dumps(info or {})})
    return path


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "its header lacks usable sizes"),
        ("[]", "does not fit the network: missing"),
        ({"surprise": 1}, "its header lacks usable sizes"),
        ({"layers": 10**9}, "layers is 1000000000, a usable network has 1 to 64"),
        ({"layers": "many"}, "layers is 'many'"),
        ({"fuse_sizes": [32], "layers": 1}, "does not fit the network"),
        ({"autoencoder": {"image_size": 2**30}}, "lacks usable sizes|image_size is"),
        ({"autoencoder": {"codebook_size": 10**15}}, "codebook_size is"),
        ({"autoencoder": {"widths": [32] * 6, "attention_sizes": "x"}}, "no network has|does not fit|lacks"),
        ({"bands": [3]}, "lacks usable sizes"),
        ({"fuse_sizes": [[32]]}, "lacks usable sizes"),
    ],
)
def test_headers_of_ours_that_lie(tmp_path, config, message):
    refuse(own(tmp_path / "net.safetensors", config), message)


@pytest.mark.parametrize(("stage", "lacks"), [("stage1", "transformer"), ("stage2", "fusion of stage III")])
def test_early_checkpoints_of_ours(tmp_path, stage, lacks):
    sizes = dataclasses.asdict(preset("tiny"))
    refuse(
        own(tmp_path / "net.safetensors", sizes, info={"stage": stage}), f"a checkpoint of {stage}: .*{lacks}"
    )


def test_missing_and_foreign(tmp_path):
    refuse(tmp_path / "none.pth", "cannot read the weight file")
    (tmp_path / "photo.pth").write_bytes(b"\xff\xd8\xff" * 100)
    refuse(tmp_path / "photo.pth", "not a whole .pth")
    (tmp_path / "graph.pth").write_bytes(b"\x08\x09:\x00")
    refuse(tmp_path / "graph.pth", "an ONNX file")


def test_an_exporter_that_fails_leaves_nothing(tmp_path, state, monkeypatch):
    def export(checkpoint, out, options):
        out.mkdir()
        (out / "encode.onnx").write_bytes(b"half")
        raise WeightsError(f"{checkpoint}: no")

    monkeypatch.setattr(importing, "export_model", export)
    refuse(put(tmp_path / "net.pth", state), "no")


def test_what_holds_for_the_weights_goes_with_them(tmp_path, quick):
    """Licence and task of published weights stay with the checkpoint that is made of them."""
    file = put(tmp_path / "codeformer_inpainting.pth", {"params_ema": official(INPAINT)})
    first = import_weights(file, ImportOptions(licence="S-Lab License 1.0"))
    checkpoint = first.folder / "model.safetensors"
    again = import_weights(checkpoint, ImportOptions(name="again"))
    assert (again.licence, again.task) == (first.licence, first.task) == ("S-Lab License 1.0", "inpainting")
    found = load_checkpoint(checkpoint)
    settled = exporting._settled(ExportOptions(), found, checkpoint, tmp_path / "back")
    assert (settled.licence, settled.task, settled.adain, settled.default_w) == (
        "S-Lab License 1.0", "inpainting", False, 1.0
    )  # fmt: skip
    assert settled.description != exporting.OWN
    mine = exporting._settled(ExportOptions(licence="MIT", default_w=0.3), found, checkpoint, tmp_path)
    assert (mine.licence, mine.default_w) == ("MIT", 0.3)
    silent = dataclasses.replace(found, info={"stage": "stage3", "source": found.info["source"]})
    with pytest.raises(ConfigError, match=r"say no licence: give it \(--licence\)"):
        exporting._settled(ExportOptions(), silent, checkpoint, tmp_path)

"""What an exported model folder holds, and what it does in the light half."""

import json
import os
import stat
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from facemend.convert import export as exporting
from facemend.convert.export import ExportOptions, export_model
from facemend.convert.parity import Parity
from facemend.errors import ConfigError, InputError, OutputError, WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint, save_checkpoint
from facemend.predictors.restorer import FaceRestorer
from facemend.runtime.onnx import OnnxRunner
from facemend.weights.models import find_model, read_model

SIDE = 64


@pytest.fixture(scope="module")
def restorer(half) -> FaceRestorer:
    return FaceRestorer.open(read_model(half.folder), threads=1)


@pytest.fixture(scope="module")
def plain(full) -> FaceRestorer:
    return FaceRestorer.open(read_model(full[0]), threads=1)


def crops(count: int) -> np.ndarray:
    """(count, 64, 64, 3) float32 [0, 1]: smooth random colours."""
    coarse = np.random.default_rng(5).random((count, 8, 8, 3), np.float32)
    return coarse.repeat(8, 1).repeat(8, 2)


def test_the_folder_is_a_model(half, full, checkpoint):
    for folder, name in ((half.folder, "mine"), (full[0], "full")):
        info = read_model(folder)
        info.verify()
        assert find_model(folder).name == name
        assert info.image_size == SIDE
        assert info.licence == "Apache-2.0"
        assert info.default_w == 0.5
        assert info.details["training"] == load_checkpoint(checkpoint).info
        assert info.details["config"]["autoencoder"]["codebook_size"] == 32
    assert read_model(half.folder).card.read_text() == "# A card\n"
    assert {path.name for path in half.folder.iterdir()} == {
        "model.json",
        "encode.onnx",
        "decode.onnx",
        "MODEL_CARD.md",
    }
    assert not list(half.folder.parent.glob(".export-*"))


def test_others_may_read_the_folder(half):
    """It is put together in a private temporary folder: its own mode must not be private."""
    probe = half.folder.parent / "probe"
    probe.mkdir()
    assert stat.S_IMODE(half.folder.stat().st_mode) == stat.S_IMODE(probe.stat().st_mode)


def test_the_exporter_is_not_heard(full):
    """It warns of operators that no network here uses: some twenty lines on a terminal."""
    assert json.loads((full[0].parents[1] / "said.json").read_text()) == []


def test_parity_is_told_and_kept(half, full):
    assert "parity with the network" in half.err
    assert half.out.strip() == str(half.folder)
    rounded = read_model(half.folder).details["parity"]
    exact = json.loads((full[0] / "model.json").read_text())["parity"]
    assert exact["largest"] == full[1].largest
    assert exact["codes"] == 1
    assert exact["largest"] < 1e-4
    assert exact["mean"] < 1e-4
    assert rounded["codes"] >= 0.97
    assert exact["largest"] < rounded["largest"] < 5e-2
    assert exact["w_effect"] > 1e-3


@pytest.mark.parametrize("count", [1, 3])
def test_any_batch_agrees_with_the_network(plain, net, count):
    """On other pictures than the export itself checks."""
    faces = crops(count)
    signed = torch.from_numpy(faces * 2 - 1).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        expected = (net(signed, torch.full((count,), 0.7), adain=False) + 1) / 2
    restored = plain.decode(plain.encode(faces), 0.7)
    assert restored.shape == (count, SIDE, SIDE, 3)
    np.testing.assert_allclose(restored, expected.clamp(0, 1).permute(0, 2, 3, 1).numpy(), atol=1e-4)


def test_w_is_live(restorer):
    encoded = restorer.encode(crops(2))
    zero, middle, one = (restorer.decode(encoded, w) for w in (0.0, 0.5, 1.0))
    assert np.abs(zero - middle).mean() > 1e-3
    assert np.abs(middle - one).mean() > 1e-3
    np.testing.assert_allclose(middle, restorer.decode(encoded, 0.5), atol=1e-6)


def test_every_face_has_its_own_w(restorer):
    faces, weights = crops(3), [0.0, 0.5, 1.0]
    together = restorer.decode(restorer.encode(faces), weights)
    for face, w, result in zip(faces, weights, together, strict=True):
        alone = restorer.decode(restorer.encode(face[None]), w)[0]
        np.testing.assert_allclose(result, alone, atol=1e-4)


def test_at_w_0_the_features_do_not_count(half):
    """The codes alone decide; at w = 1 the features do count."""
    info = read_model(half.folder)
    encode, decode = OnnxRunner(info.encode, threads=1), OnnxRunner(info.decode, threads=1)
    given = encode.run({"image": crops(1).transpose(0, 3, 1, 2) * 2 - 1})
    other = {name: value + 1 if name.startswith("features") else value for name, value in given.items()}
    results = [
        decode.run({**inputs, "w": np.array([w], np.float32)})["restored"]
        for w in (0, 1)
        for inputs in (given, other)
    ]
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)
    assert np.abs(results[2] - results[3]).max() > 1e-3


def test_adain_is_in_the_graph_or_not(half, full):
    with_style = OnnxRunner(half.folder / "decode.onnx", threads=1)
    without = OnnxRunner(full[0] / "decode.onnx", threads=1)
    assert set(with_style.input_names) == {"w", "codes", "style", "features_16", "features_32", "photo"}
    assert set(without.input_names) == {"w", "codes", "features_16", "features_32", "photo"}
    assert read_model(half.folder).details["adain"] is True
    assert read_model(full[0]).details["adain"] is False


def test_adain_changes_the_result(restorer, plain, net):
    """Graph with and without differ from each other, and each agrees with its own form of the network."""
    faces = crops(2)
    adain, none = (model.decode(model.encode(faces), 0.0) for model in (restorer, plain))
    assert np.abs(adain - none).mean() > 1e-3
    with torch.no_grad():
        signed = torch.from_numpy(faces * 2 - 1).permute(0, 3, 1, 2).contiguous()
        expected = ((net(signed, torch.zeros(2), adain=True) + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)
    assert np.abs(adain - expected.numpy()).mean() < 0.1 * np.abs(adain - none).mean()


def test_what_is_stored_as_float16(half, full):
    """Only the larger tensors; inputs and outputs stay float32."""
    model = onnx.load(half.folder / "encode.onnx")
    sizes = {
        kind: [int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type == kind]
        for kind in (onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT)
    }
    assert min(sizes[onnx.TensorProto.FLOAT16]) >= 1024
    assert max(sizes[onnx.TensorProto.FLOAT]) < 1024
    (image,) = model.graph.input
    assert image.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    full_types = {t.data_type for t in onnx.load(full[0] / "encode.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in full_types


@pytest.mark.parametrize("graph", ["encode.onnx", "decode.onnx"])
@pytest.mark.parametrize("which", ["half", "full"])
def test_nothing_of_the_machine_is_inside(request, which, graph):
    folder = request.getfixturevalue(which)
    folder = folder.folder if which == "half" else folder[0]
    content = (folder / graph).read_bytes()
    for trace in (b"/home", b"/root", b"/tmp", b"site-packages", b".py", b"stack_trace", b"Traceback"):
        assert trace not in content, trace


def test_nothing_is_replaced_unasked(half, checkpoint):
    before = {path: path.read_bytes() for path in half.folder.iterdir()}
    with pytest.raises(OutputError, match="exists already; use --overwrite"):
        export_model(checkpoint, half.folder, ExportOptions())
    assert before == {path: path.read_bytes() for path in half.folder.iterdir()}


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_only_a_model_folder_is_ever_replaced(checkpoint, tmp_path, kind):
    """--overwrite with a wrong path must not delete somebody's pictures."""
    out = tmp_path / "pictures"
    if kind == "folder":
        out.mkdir()
        kept = out / "holiday.jpg"
    else:
        kept = out
    kept.write_text("precious")
    with pytest.raises(OutputError, match="is not a model folder"):
        export_model(checkpoint, out, ExportOptions(overwrite=True))
    assert kept.read_text() == "precious"


@pytest.mark.parametrize("info", [{"stage": "stage1"}, {"stage": "stage2"}, {}])
def test_only_stage3_is_exported(checkpoint, tmp_path, info):
    loaded = load_checkpoint(checkpoint)
    path = tmp_path / "early.safetensors"
    save_checkpoint(path, loaded.state, loaded.config, info)
    named = info.get("stage", "no known stage")
    with pytest.raises(WeightsError, match=rf"early\.safetensors: is of {named}, export needs stage3"):
        export_model(path, tmp_path / "out", ExportOptions())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": "int8"}, "fp32 or fp16, not 'int8'"),
        ({"name": ""}, "name must not be empty"),
        ({"description": " "}, "description must not be empty"),
        ({"licence": ""}, "licence must not be empty"),
    ],
)
def test_options_are_checked_before_the_work(wrong, message):
    """model.json must hold a text for each, or the light half refuses the folder."""
    with pytest.raises(ConfigError, match=message):
        ExportOptions(**wrong)


def test_what_lies_in_a_model_folder_stays(checkpoint, exported_before, tmp_path):
    """A checkpoint that the model is made of, a repository, a link to the folder; only the old graphs go."""
    real = tmp_path / "real"
    real.mkdir()
    (real / "model.safetensors").write_bytes(checkpoint.read_bytes())
    (real / "old.onnx").write_bytes(b"old")
    (real / "model.json").write_text(json.dumps({"files": {"encode": {"file": "old.onnx"}}}))
    (real / ".git").mkdir()
    (real / ".git/HEAD").write_text("ref")
    (tmp_path / "link").symlink_to(real)
    export_model(real / "model.safetensors", tmp_path / "link", ExportOptions(overwrite=True))
    assert (real / "model.safetensors").read_bytes() == checkpoint.read_bytes()
    assert (real / ".git/HEAD").read_text() == "ref"
    assert not (real / "old.onnx").exists()
    read_model(tmp_path / "link").verify()


def test_places_that_cannot_be_written_are_one_line(checkpoint, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OutputError, match="file/model: cannot be written"):
        export_model(checkpoint, tmp_path / "file/model", ExportOptions())


def test_a_card_that_is_not_there_is_said_before_the_work(checkpoint, tmp_path):
    with pytest.raises(InputError, match=r"none\.md: the model card cannot be read"):
        export_model(checkpoint, tmp_path / "out", ExportOptions(), tmp_path / "none.md")
    assert not list(tmp_path.iterdir())


def test_graphs_that_do_not_agree_and_a_w_that_does_nothing_are_told_apart(tmp_path):
    good = Parity(codes=1.0, largest=0.0, mean=0.0, w_effect=0.0)
    options = {"name": "a", "adain": True, "description": "a", "licence": "MIT", "default_w": 0.5, "more": {}}
    for precision in ("fp16", "fp32"):
        settled = exporting._Settled(**options, precision=precision, task="restoration")
        with pytest.raises(WeightsError, match="w changes nothing in this network"):
            exporting._require(good, settled, tmp_path)
        with pytest.raises(WeightsError, match="do not agree") as told:
            exporting._require(replace(good, codes=0.1, w_effect=0.1), settled, tmp_path)
        assert ("try --precision fp32" in str(told.value)) == (precision == "fp16")
    exporting._require(good, replace(settled, task="colorization"), tmp_path)


def test_what_a_kill_left_behind_is_tidied(checkpoint, tmp_path):
    old, new, other = (tmp_path / name for name in (".export-old", ".export-new", ".export"))
    for folder in (old, new, other):
        (folder / "deep").mkdir(parents=True)
    for folder in (old, other):
        os.utime(folder, (1, 1))
    with pytest.raises(WeightsError):
        export_model(tmp_path / "none.safetensors", tmp_path / "out", ExportOptions())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".export", ".export-new"]

"""Files for other programs, fed and read as those programs do it (docs/integrations.md)."""

import dataclasses
import json
import shutil
import zlib
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.tools.mobile_helpers import usability_checker
from onnxruntime.tools.onnx_model_utils import ModelProtoWithShapeInfo, optimize_model
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.cli.export import Target
from facemend.convert.export import ExportOptions
from facemend.convert.recover import model_checkpoint
from facemend.convert.targets import facefusion, hub, reactor
from facemend.convert.targets.write import TARGETS, export_for
from facemend.errors import ConfigError, MissingExtraError, OutputError, WeightsError
from facemend.files import file_sha256
from facemend.imaging import BROAD, match_broad_colours, read_picture
from facemend.photo.options import DEFAULT_MODEL
from facemend.photo.restore import Restorer
from facemend.predictors.restorer import FaceRestorer
from facemend.weights.models import WEIGHTS_FILE, find_model, read_model

MODEL = DEFAULT_MODEL


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a target for the model that ships, made once."""
    root, done = tmp_path_factory.mktemp("targets"), {}

    def get(target, **more):
        key = json.dumps([target, more])
        if key not in done:
            done[key] = root / f"{target}{len(done)}"
            export_for(target, MODEL, done[key], ExportOptions(), **more)
        return done[key]

    return get


@pytest.fixture(scope="module")
def crop():
    """(512, 512, 3) uint8 BGR, as these programs hold a face."""
    pixels = read_picture(Path(__file__).parents[1] / "data/portrait.jpg").pixels[100:500, 100:500]
    return cv2.resize(pixels, (512, 512), interpolation=cv2.INTER_CUBIC)[..., ::-1].copy()


def as_they_do(path, crop, weight):
    """ReActor and FaceFusion alike: BGR to RGB in [-1, 1], the inputs they know by name, the first output."""
    face = ((crop[:, :, ::-1] / 255.0 - 0.5) / 0.5).transpose(2, 0, 1)[None].astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    known = {"input": face, "weight": np.array([weight]).astype(np.double)}
    found = session.run(None, {each.name: known[each.name] for each in session.get_inputs()})[0][0]
    return ((np.clip(found, -1, 1) + 1) / 2 * 255).round().transpose(1, 2, 0).astype(np.uint8)[:, :, ::-1]


def as_we_do(crop, w):
    info = find_model(MODEL)
    restorer, size = FaceRestorer.open(info), (info.image_size, info.image_size)
    face = cv2.resize(crop[..., ::-1] / np.float32(255), size, interpolation=cv2.INTER_AREA)[None]
    found = restorer.decode(restorer.encode(face), w)[0]
    large = cv2.resize(found, (512, 512), interpolation=cv2.INTER_CUBIC)
    large = match_broad_colours(large, crop[..., ::-1] / np.float32(255), BROAD * 512)
    return (large * 255).round().astype(np.uint8)[..., ::-1]


def close(one, other):
    """Equal but for rounding, which may flip a code in one place."""
    return np.abs(one.astype(int) - other).mean() < 0.1


@pytest.mark.parametrize("w", [0.0, 1.0])
def test_reactor_gets_w_as_exported_whatever_it_asks_for(made, crop, w):
    path = made("reactor", w=w) / reactor.FILE
    assert not any(word in path.name.lower() for word in ("codeformer", "1024", "2048"))
    found = as_they_do(path, crop, weight=1)
    assert found.shape == crop.shape
    assert close(found, as_we_do(crop, w))
    assert not close(found, as_we_do(crop, 1 - w))


def test_facefusion_has_a_live_weight_and_a_hash_that_fits(made, crop):
    folder = made("facefusion")
    path = folder / facefusion.FILE
    # Its check: the hash beside the file, of the same name, is the CRC-32 of the content.
    assert path.with_suffix(".hash").read_text().strip() == format(zlib.crc32(path.read_bytes()), "08x")
    zero, one = (as_they_do(path, crop, w) for w in (0.0, 1.0))
    assert close(zero, as_we_do(crop, 0.0))
    assert close(one, as_we_do(crop, 1.0))
    assert not close(zero, one)


@pytest.mark.parametrize("target", ["reactor", "facefusion"])
def test_one_graph_is_plain_fixed_and_a_model_of_ours_too(made, portrait, target):
    folder = made(target) if target == "facefusion" else made(target, w=1.0)
    info = read_model(folder)
    info.verify()
    graph = onnx.load(info.encode).graph
    # Neither the branches of w = 0 nor the test that chose them.
    assert {"If", "Greater", "ReduceMax"}.isdisjoint(node.op_type for node in graph.node)
    shapes = [
        [axis.dim_value for axis in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)
    ]
    assert shapes == [[1, 3, 512, 512], *([[1]] if target == "facefusion" else []), [1, 3, 512, 512]]
    found = Restorer(model=str(folder), upscale=1, w=1.0).restore(portrait)
    wanted = Restorer(upscale=1, w=1.0).restore(portrait)
    assert np.abs(found.to_array().astype(int) - wanted.to_array()).mean() < 1


LEFT_TO_THE_CPU = {
    # All but ArgMax, which the list has as "Argmax", are of the diagnosis.
    ("encode", "coreml"): {"ArgMax", "Log", "LogSoftmax", "Neg"},
    ("decode", "coreml"): set(),
    ("encode", "nnapi"): {
        *("ArgMax", "Erf", "InstanceNormalization", "LayerNormalization"),
        *("LogSoftmax", "ReduceMax", "ReduceSum"),
    },
    ("decode", "nnapi"): {"GatherND", "InstanceNormalization"},
}


@pytest.mark.parametrize("name", ["encode", "decode"])
def test_what_runs_on_phones(made, tmp_path, name):
    """By onnxruntime's own check, after what it does to a graph when it loads."""
    path = tmp_path / "optimized.onnx"
    optimize_model(made("mobile") / f"{name}.onnx", path)
    model = ModelProtoWithShapeInfo(path).model_with_shape_info
    assert usability_checker.check_shapes(model.graph) == ([], 0), "nothing of open size"
    program = "coreml_supported_mlprogram_ops.md"
    checks = {
        "nnapi": usability_checker.check_nnapi_partitions,
        "coreml": partial(usability_checker.check_coreml_partitions, config_filename=program),
    }
    for provider, check in checks.items():
        found = check(model, require_fixed_input_sizes=True)
        left = {operator.removeprefix("ai.onnx:") for operator in found.unsupported_ops}
        assert left == LEFT_TO_THE_CPU[name, provider]
    assert found.num_supported_nodes / found.num_nodes > 0.95, "Core ML takes nearly all"


def test_the_graphs_for_phones_give_the_same(made, rng):
    folder, info = made("mobile"), find_model(MODEL)
    face = rng.random((1, info.image_size, info.image_size, 3), np.float32)
    encode, decode = (
        onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        for name in ("encode", "decode")
    )
    image = (face * 2 - 1).transpose(0, 3, 1, 2)
    given = dict(zip([o.name for o in encode.get_outputs()], encode.run(None, {"image": image}), strict=True))
    wanted = {each.name: given.get(each.name, np.array([0.7], np.float32)) for each in decode.get_inputs()}
    found = np.clip(decode.run(["restored"], wanted)[0].transpose(0, 2, 3, 1) / 2 + 0.5, 0, 1)
    restorer = FaceRestorer.open(info)
    np.testing.assert_allclose(found, restorer.decode(restorer.encode(face), 0.7), atol=1e-4)
    assert len((folder / "README.md").read_text().splitlines()) <= 35


def with_checkpoint(folder, checkpoint):
    """The model with its checkpoint, which model.json names."""
    shutil.copyfile(checkpoint, folder / WEIGHTS_FILE)
    said = json.loads((folder / "model.json").read_text())
    row = {"file": WEIGHTS_FILE, "sha256": file_sha256(checkpoint)}
    (folder / "model.json").write_text(json.dumps({**said, "weights": row}))


def test_the_hub_folder(half, tmp_path):
    """Of a model whose checkpoint lies beside it: what the Hub reads, and a model folder."""
    from huggingface_hub import ModelCard

    source, out = tmp_path / "mine", tmp_path / "out"
    shutil.copytree(half.folder, source)
    with_checkpoint(source, half.folder.parents[1] / WEIGHTS_FILE)
    export_for("hub", str(source), out, ExportOptions())
    card = ModelCard.load(out / "README.md")
    assert card.data.to_dict() == {
        "license": "apache-2.0",
        "library_name": "facemend",
        "pipeline_tag": "image-to-image",
        "tags": ["face-restoration", "image-restoration", "codeformer", "onnx"],
    }
    assert "# A card" in card.text
    info = read_model(out)
    info.verify()
    assert json.loads((out / "config.json").read_text()) == info.details["config"]
    assert (out / WEIGHTS_FILE).read_bytes() == (source / WEIGHTS_FILE).read_bytes()
    assert model_checkpoint(info) == out / WEIGHTS_FILE
    preview = read_picture(out / hub.PREVIEW)
    assert (preview.height, preview.width) == (info.image_size, 4 * info.image_size)


def test_a_licence_that_the_hub_does_not_know(half):
    text = hub.card(dataclasses.replace(read_model(half.folder), licence="S-Lab-1.0"))
    assert 'license: "other"\n' in text
    assert 'license_name: "S-Lab-1.0"\n' in text


@pytest.mark.parametrize("target", ["litert", "coreml"])
def test_converters_say_what_to_install(tmp_path, target):
    package = {"litert": "litert_torch", "coreml": "coremltools"}[target]
    if find_spec(package):
        # Nothing is missing then, so that nothing is told; what the converter makes is tested instead.
        pytest.skip(f"{package} is installed: test_converted runs")
    with pytest.raises(MissingExtraError, match=target):
        export_for(target, MODEL, tmp_path / "out", ExportOptions())
    assert not list(tmp_path.iterdir())


@pytest.mark.long
@pytest.mark.parametrize("target", ["litert", "coreml"])
@pytest.mark.filterwarnings("ignore")
def test_converted(half, tmp_path, target):
    """Minutes, and needs the converter. LiteRT's file is run on its own interpreter and compared in there."""
    pytest.importorskip({"litert": "litert_torch", "coreml": "coremltools"}[target])
    source = tmp_path / "mine"
    shutil.copytree(half.folder, source)
    with_checkpoint(source, half.folder.parents[1] / WEIGHTS_FILE)
    export_for(target, str(source), tmp_path / "out", ExportOptions())
    said = json.loads((tmp_path / "out/model.json").read_text())
    if target == "litert":
        assert 0 < said["parity"]["mean"] < 1 / 255
    assert list((tmp_path / "out").glob("facemend.*"))


def test_a_checkpoint_is_exported_on_the_way(checkpoint, exported_before, tmp_path):
    """By the command; the model's 64 px are reached inside the graph too."""
    out = tmp_path / "deep/out"
    words = ["export", str(checkpoint), "--for", "reactor", "-w", "0.3", "--name", "mine", "-o", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    assert {path.name for path in out.iterdir()} == {"facemend.onnx", "model.json", "README.md"}
    assert (read_model(out).name, read_model(out).default_w) == ("mine", 0.3)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobody", "--for", "mobile"], "no model 'nobody'"),
        ([MODEL, "-w", "0.5"], "-w goes with --for only"),
        ([MODEL], "no such checkpoint; that is a .safetensors file of a training run"),
    ],
)
def test_what_the_command_refuses(tmp_path, words, message):
    result = CliRunner().invoke(app, ["export", *words, "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_choices_of_the_command_are_the_targets():
    assert get_args(Target) == tuple(TARGETS)


def test_what_cannot_be_exported(tmp_path):
    refuse = partial(export_for, options=ExportOptions())
    with pytest.raises(ConfigError, match="export is for one of reactor"):
        refuse("nowhere", MODEL, tmp_path / "out")
    with pytest.raises(ConfigError, match="w must be a number from 0 to 1"):
        refuse("reactor", MODEL, tmp_path / "out", w=2.0)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with pytest.raises(OutputError, match="use --overwrite"):
        refuse("mobile", MODEL, pictures)
    with pytest.raises(OutputError, match="is not a model folder"):
        export_for("mobile", MODEL, pictures, ExportOptions(overwrite=True))


def test_a_single_graph_of_somebody_else(made, tmp_path):
    """Such as those that were written here."""
    for target, kind in {"reactor": ConfigError, "mobile": ConfigError, "hub": WeightsError}.items():
        with pytest.raises(kind, match=rf"{MODEL}: (is one graph already|is one graph of somebody else)"):
            export_for(target, str(made("facefusion")), tmp_path / "out", ExportOptions())
    assert not list(tmp_path.iterdir())


def test_sides_that_do_not_fit(half, tmp_path):
    info = dataclasses.replace(read_model(half.folder), image_size=96)
    with pytest.raises(ConfigError, match="its 96 px do not go evenly into the 512 px"):
        reactor.write(info, tmp_path)


def test_the_phone_folder_is_not_taken_for_a_model(made):
    """Its graphs take one face at a time, which `facemend restore` does not promise."""
    with pytest.raises(WeightsError, match='"files" must name the "encode" graph'):
        read_model(made("mobile"))


def test_a_card_goes_with_the_hub_alone(checkpoint, tmp_path):
    (tmp_path / "card.md").write_text("# Mine")
    with pytest.raises(ConfigError, match="a model card goes with hub alone"):
        export_for("reactor", str(checkpoint), tmp_path / "out", ExportOptions(), card=tmp_path / "card.md")
    assert not (tmp_path / "out").exists()


def test_a_model_keeps_its_name_and_licence(tmp_path):
    with pytest.raises(ConfigError, match="go with a checkpoint"):
        export_for("mobile", MODEL, tmp_path / "out", ExportOptions(precision="fp16"))
    with pytest.raises(ConfigError, match="go with a checkpoint"):
        export_for("facefusion", MODEL, tmp_path / "out", ExportOptions(licence="MIT"))
    assert not list(tmp_path.iterdir())

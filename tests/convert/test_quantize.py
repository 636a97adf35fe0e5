"""int8: smaller graphs that do nearly the same, made without torch, and nothing left where it cannot be."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.convert import int8
from facemend.convert.int8 import quantize_model
from facemend.convert.skip import graphs, plain
from facemend.errors import ConfigError, FacemendError, InputError, OutputError, WeightsError
from facemend.imaging import read_rgb
from facemend.predictors.restorer import FaceRestorer
from facemend.weights.models import read_model

SIDE = 64


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Smooth pictures that stand for faces: eight, one of them in a folder of its own."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / "more").mkdir()
    rng = np.random.default_rng(3)
    for number in range(8):
        small = rng.integers(0, 256, (8, 8, 3), np.uint8)
        picture = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / ("more" if number == 7 else "") / f"{number}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def small(half, faces, tmp_path_factory):
    """An int8 model and its report. Codes of untrained weights flip at a touch: any share will do."""
    out = tmp_path_factory.mktemp("int8") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "LEAST_CODES", 0.0)
        report = quantize_model(read_model(half.folder), faces, out)
    return read_model(out), report


def test_plain_graphs_have_their_weights_where_they_are_used(half):
    model = plain(onnx.load(half.folder / "encode.onnx"))
    weights = {tensor.name for tensor in model.graph.initializer}
    assert not [n for n in model.graph.node if n.op_type in ("Cast", "Transpose") and n.input[0] in weights]
    assert len(list(graphs(plain(onnx.load(half.folder / "decode.onnx"))))) == 1


def test_most_bytes_are_8_bit_weights(small):
    info, report = small
    for path in info.graphs.values():
        tensors = [t for graph in graphs(onnx.load(path)) for t in graph.initializer]
        sizes = dict.fromkeys({t.data_type for t in tensors}, 0)
        for tensor in tensors:
            sizes[tensor.data_type] += numpy_helper.to_array(tensor).nbytes
        assert sizes[onnx.TensorProto.INT8] > 0.6 * sum(sizes.values()), path
    assert report.bytes_after == sum(path.stat().st_size for path in info.graphs.values())
    assert report.bytes_after < report.bytes_before


def test_the_faces_stay_nearly_the_same(half, small):
    """Given the same codes: those of untrained weights flip at a touch."""
    before, after = (FaceRestorer.open(m, threads=1) for m in (read_model(half.folder), small[0]))
    crops = np.random.default_rng(5).uniform(0, 1, (2, 8, 8, 3)).astype(np.float32)
    crops = np.stack([cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for crop in crops])
    encoded = before.encode(crops)
    for w in (0.0, 0.5, 1.0):
        first, second = before.decode(encoded, w), after.decode(encoded, w)
        assert 0 < np.abs(first - second).mean() < 0.02, w
    assert np.abs(after.decode(encoded, 0.0) - after.decode(encoded, 1.0)).mean() > 1e-3


def test_at_w_0_the_branches_are_skipped_as_before(half, small):
    counts = [
        sum(node.op_type == "If" for node in onnx.load(model.decode).graph.node)
        for model in (read_model(half.folder), small[0])
    ]
    assert counts[0] == counts[1] > 0


def test_the_description_says_what_it_is(half, small):
    info, report = small
    info.verify()
    old = json.loads((half.folder / "model.json").read_text())
    assert (info.name, info.details["precision"]) == ("mine-int8", "int8")
    assert info.details["made_from"] == {"name": "mine", "sha256": dict(read_model(half.folder).sha256)}
    assert info.details["int8"]["codes"] == report.codes
    assert info.details["config"] == old["config"]
    assert "parity" not in info.details
    assert info.card.read_text() == "# A card\n"


def test_a_model_that_guesses_other_codes_is_not_written(half, faces, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "LEAST_CODES", 1.01)
    with pytest.raises(WeightsError, match="codes stay the same"):
        quantize_model(read_model(half.folder), faces, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", ["int8 already", "one face", "exists", "no model folder"])
def test_what_cannot_be_quantised_is_refused(half, faces, small, tmp_path, case):
    info, out, folder, overwrite = read_model(half.folder), tmp_path / "out", faces, False
    kind: type[FacemendError]
    if case == "int8 already":
        info, kind, words = small[0], ConfigError, "int8 already"
    elif case == "one face":
        folder, kind, words = faces / "more", InputError, "at least 2"
    else:
        out.mkdir()
        (out / "mine.txt").write_text("keep")
        overwrite = case == "no model folder"
        kind, words = OutputError, "not a model folder" if overwrite else "exists already"
    with pytest.raises(kind, match=words):
        quantize_model(info, folder, out, overwrite=overwrite)
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["out", "mine.txt"])


def test_a_name_that_none_can_have_is_refused(half, faces, tmp_path):
    with pytest.raises(ConfigError, match="name must not be empty"):
        quantize_model(read_model(half.folder), faces, tmp_path / "out", name=" ")
    assert list(tmp_path.iterdir()) == []


def test_colours_are_those_of_the_profile(tmp_path):
    with Image.open(Path(__file__).parents[1] / "data/cases/adobergb.jpg") as opened:
        face = opened.crop((0, 0, SIDE, SIDE))
        face.save(tmp_path / "a.png", icc_profile=opened.info["icc_profile"])
    Image.fromarray(read_rgb(tmp_path / "a.png")).save(tmp_path / "b.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "degrade", lambda face, *how: (face, None))
        one, other = int8._calibration_faces(tmp_path, SIDE, 2, "mixed", 0)
    np.testing.assert_array_equal(one, other)


def test_it_needs_no_torch():
    code = "import sys, facemend.convert.int8; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_command_gives_the_same_bytes_from_the_same_faces(half, faces, small, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "LEAST_CODES", 0.0)
    for name in ("._0.png", "@eaDir/0.png"):
        (faces / name).parent.mkdir(exist_ok=True)
        (faces / name).write_bytes(b"what a system puts beside pictures")
    words = ["quantize", faces, "-o", tmp_path / "q", "--model", half.folder, "--name", "q"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert "equal codes" in result.stderr
    assert result.stdout.strip() == str(tmp_path / "q")
    assert read_model(tmp_path / "q").name == "q"
    for name in ("encode.onnx", "decode.onnx"):
        assert (tmp_path / "q" / name).read_bytes() == (small[0].folder / name).read_bytes()

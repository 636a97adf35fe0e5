"""Graphs for the page: fewer bytes, the same numbers."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from facemend.imaging import read_picture, resize
from facemend.photo.options import DEFAULT_MODEL
from facemend.predictors.restorer import FaceRestorer
from facemend.web.graphs import in_bytes, in_halves
from facemend.weights.models import ModelInfo, find_model


def run(model, **inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, inputs)


def test_weights_in_bytes_draw_the_same_face(portrait, tmp_path):
    info = find_model(DEFAULT_MODEL)
    for path in info.graphs.values():
        narrow = in_bytes(onnx.load(path))
        onnx.checker.check_model(narrow)
        onnx.save(narrow, tmp_path / path.name)
        assert (tmp_path / path.name).stat().st_size < 0.53 * path.stat().st_size
    changed = {"encode": tmp_path / "encode.onnx", "decode": tmp_path / "decode.onnx"}
    networks = [
        FaceRestorer.open(each, device="cpu", threads=1) for each in (info, ModelInfo(**vars(info) | changed))
    ]
    crop = resize(portrait, (info.image_size, info.image_size))[None]
    first, second = (network.decode(network.encode(crop), 0.5) for network in networks)
    assert 10 * np.log10(1 / np.square(first - second).mean()) > 45


def test_halves_of_a_branch_too():
    model = in_halves(onnx.load(find_model(DEFAULT_MODEL).decode))
    branches = [
        attribute.g for node in model.graph.node for attribute in node.attribute if attribute.HasField("g")
    ]
    kinds = {
        t.data_type
        for g in (model.graph, *branches)
        for t in g.initializer
        if len(t.dims) > 1 and np.prod(t.dims) > 4096
    }
    assert kinds == {onnx.TensorProto.FLOAT16}


@pytest.fixture(scope="module")
def portrait():
    return read_picture(Path(__file__).parents[1] / "data/portrait.jpg").as_float()

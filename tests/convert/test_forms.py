"""Networks with several codes a position, several scales and local attention, through every export."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from facemend.convert import int8
from facemend.convert.export import ExportOptions, Parity, export_model
from facemend.convert.int8 import quantize_model
from facemend.convert.recover import recover_checkpoint
from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into, save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import changed, preset
from facemend.predictors.restorer import FaceRestorer
from facemend.runtime.torch_runner import open_network
from facemend.weights.models import ModelInfo, read_model

SIDE = 64
# Share of equal codes: among thousands of untrained ones the first two may be as likely to the last bit.
TIES = 0.998
# The finest grid of 16 has four windows.
FORMS = {
    "parts": {"autoencoder": {"codes_per_position": 2}},
    "scales": {"autoencoder": {"scales": [4, 8, 16]}, "attention": "local+global"},
    "all": {"autoencoder": {"scales": [2, 8, 32], "codes_per_position": 2}, "attention": "split"},
}


@dataclass(frozen=True)
class Exported:
    checkpoint: Path
    info: ModelInfo
    parity: Parity


LONG = pytest.mark.long  # each form is an export or two


@pytest.fixture(scope="module", params=[pytest.param(n, marks=() if n == "all" else LONG) for n in FORMS])
def exported(request, tmp_path_factory) -> Exported:
    """Each form as if trained: codes apart from each other, and no norm left that does nothing."""
    folder = tmp_path_factory.mktemp(request.param)
    sizes = changed(preset("tiny"), FORMS[request.param])
    torch.manual_seed(0)
    net = CodeFormer(sizes)
    with torch.no_grad():
        net.codebook.vectors.normal_()
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    path = folder / "model.safetensors"
    save_checkpoint(path, net.state_dict(), sizes, {"stage": "stage3"})
    parity = export_model(path, folder / "model", ExportOptions(name=request.param, precision="fp32"))
    return Exported(path, read_model(folder / "model"), parity)


def faces(count):
    coarse = np.random.default_rng(5).uniform(0, 1, (count, 8, 8, 3)).astype(np.float32)
    return np.stack([cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for face in coarse])


def network(exported) -> CodeFormer:
    loaded = load_checkpoint(exported.checkpoint)
    net = CodeFormer(loaded.config)
    load_into(net, loaded.state, exported.checkpoint)
    return net.eval()


def test_the_graphs_do_what_the_network_does(exported):
    assert exported.parity.codes > TIES
    assert exported.parity.largest < 1e-4
    assert exported.parity.w_effect > 1e-2


def test_one_encode_serves_every_w_and_batch(exported):
    net, restorer = network(exported), FaceRestorer.open(exported.info, threads=1)
    crops = faces(3)
    known = restorer.encode(crops)
    assert known.outputs["codes"].shape == (3, sum(net.config.autoencoder.code_counts))
    images = torch.from_numpy(crops * 2 - 1).permute(0, 3, 1, 2).contiguous()
    results = []
    for w in (0.0, 0.4, [0.0, 0.5, 1.0]):
        with torch.inference_mode():
            own = net.encode(images)
            codes = torch.from_numpy(known.outputs["codes"])
            assert (own.codes == codes).float().mean() > TIES
            wanted = net.decode(codes, own.features, torch.tensor(w).expand(3), own.z).permute(0, 2, 3, 1)
        results.append(restorer.decode(known, w))
        np.testing.assert_allclose(results[-1], ((wanted + 1) / 2).clamp(0, 1), atol=1e-4)
    np.testing.assert_allclose(results[0][0], results[2][0], atol=1e-5)
    assert np.abs(results[0] - results[1]).max() > 1e-2


def test_at_w_0_finer_codes_are_skipped(exported):
    """What enters at finer levels stands in a branch, and its weights with it."""
    fine = len(network(exported).config.autoencoder.fine_scales)
    graph = onnx.load(exported.info.decode).graph
    inside = {
        tensor.name
        for node in graph.node
        for item in node.attribute
        if item.type == onnx.AttributeProto.GRAPH
        for tensor in item.g.initializer
    }
    assert len([name for name in inside if "decoder.fine" in name and "weight" in name]) == fine
    assert not [tensor.name for tensor in graph.initializer if "decoder.fine" in tensor.name]
    assert not [name for name in inside if "codebook" in name]


def test_the_torch_backend(exported):
    opened, side = open_network(exported.checkpoint, "cpu")
    by_torch = FaceRestorer(*opened.runners, side)
    graphs = FaceRestorer.open(exported.info, threads=1)
    one, other = graphs.encode(faces(2)), by_torch.encode(faces(2))
    assert (one.outputs["codes"] == other.outputs["codes"]).mean() > TIES
    np.testing.assert_allclose(graphs.decode(one, 0.7), by_torch.decode(one, 0.7), atol=1e-4)


def test_weights_come_back(exported):
    recovered, original = recover_checkpoint(exported.info.folder), load_checkpoint(exported.checkpoint)
    assert recovered.config == original.config
    assert recovered.state.keys() == original.state.keys()
    assert all(torch.equal(recovered.state[name], value) for name, value in original.state.items())


def test_int8(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "LEAST_CODES", 0.0)  # codes of untrained weights flip at a touch
    folder = tmp_path / "faces"
    folder.mkdir()
    for number, face in enumerate(faces(6)):
        cv2.imwrite(str(folder / f"{number}.png"), np.rint(face * 255).astype(np.uint8))
    report = quantize_model(exported.info, folder, tmp_path / "small")
    assert report.bytes_after < report.bytes_before
    before, after = (FaceRestorer.open(m, threads=1) for m in (exported.info, read_model(tmp_path / "small")))
    known = before.encode(faces(2))
    assert after.encode(faces(2)).outputs["codes"].shape == known.outputs["codes"].shape
    for w in (0.0, 1.0):
        difference = np.abs(before.decode(known, w) - after.decode(known, w)).mean()
        assert 0 < difference < 0.03, w

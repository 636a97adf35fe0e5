"""From a checkpoint to the two ONNX graphs that the light install runs.

encode: image [N,3,S,S] in [-1,1] -> codes [N,T], style [N,C,g,g], features_32 ..., photo [N,3,S,S] with
        bands, diagnosis [N,D] with a head for it
decode: those but the diagnosis, and w [N] -> restored [N,3,S,S]

w stays a live input, the batch is dynamic; at w = 0 the decode graph skips CFT (see `skip`), and what is
doubled by repetition is convolved before (see `upsample`). Weights may be
stored as float16 to halve the files; a Cast behind each brings them back, so that arithmetic stays float32
(the runtime folds the casts away when it loads).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from facemend.convert.quiet import quiet
from facemend.convert.skip import skip_at_zero
from facemend.convert.upsample import convolve_before_doubling
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.halves import DecodeGraph, EncodeGraph, decode_names, encode_names

OPSET = 18
# Smaller tensors (norm weights, biases) stay float32: they are little and sensitive.
HALF_FROM = 1024


def export_graphs(
    net: CodeFormer, folder: Path, *, adain: bool = True, half: bool = False
) -> tuple[Path, Path]:
    """Write encode.onnx and decode.onnx.

    Args:
        net: trained network, in evaluation mode, on the CPU.
        folder: where to write; made if needed.
        adain: whether decoding gives the codes the statistics of the LQ features.
        half: store the larger weights as float16.

    Returns:
        The two paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    side = net.config.autoencoder.image_size
    encode, decode = folder / "encode.onnx", folder / "decode.onnx"
    image = torch.randn(2, 3, side, side).clamp(-1, 1)
    with torch.no_grad():
        outputs = EncodeGraph(net)(image)
    _export(EncodeGraph(net), (image,), ["image"], encode_names(net), encode)
    said = dict(zip(encode_names(net), outputs, strict=True))
    needed = decode_names(net, adain)
    _export(
        DecodeGraph(net, adain),
        (torch.tensor([0.3, 0.7]), *(said[name] for name in needed[1:])),
        needed,
        ["restored"],
        decode,
    )
    if half:
        for path in (encode, decode):
            store_half(path)
    model = onnx.load(decode)
    skip_at_zero(model)
    onnx.checker.check_model(model)
    onnx.save(model, decode)
    return encode, decode


def _export(
    graph: nn.Module, arguments: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], path: Path
) -> None:
    batch = torch.export.Dim("batch", min=1, max=1024)
    shapes: tuple[object, ...] = tuple({0: batch} for _ in arguments)
    if isinstance(graph, DecodeGraph):
        shapes = (shapes[0], shapes[1], shapes[2:])  # `*rest` is one argument
    with quiet():  # the exporter speaks to its own developers: deprecations, operators that we do not use
        program = torch.onnx.export(
            graph.eval(),
            arguments,
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _strip(model)
    convolve_before_doubling(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _strip(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: source paths and stack traces of the machine that exported."""
    del model.metadata_props[:]
    model.doc_string = ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""


def store_half(path: Path) -> None:
    """Rewrite a graph so that its larger weights are stored as float16, a Cast behind each."""
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < HALF_FROM:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype("float16"), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)

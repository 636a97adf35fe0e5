"""Weight files of others, judged by their bytes before any library opens them."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from facemend.errors import WeightsError

Kind = Literal["torch", "safetensors", "onnx"]

MAX_WEIGHT_BYTES = 2 << 30
"""Largest weight file that is read at all; the published network has 360 MiB, as ONNX as well."""
MAX_FIELDS = 3_000_000
"""Most fields of an ONNX file that are looked at; a network has some ten thousand."""
MAX_DEPTH = 16
"""How deep graphs may lie in graphs."""
DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Where operators may come from: the standard's, and onnxruntime's own."""
_CONTEXT = "EPContext"
"""The one operator of onnxruntime's own that can name another file."""
_BRANCH = "If"
"""The one operator that may hold graphs: it runs one of them once. The others (Loop, Scan, SequenceMap,
BeamSearch) run theirs as often as a picture may decide, so that a run need not end."""

# Numbers of the fields that matter, in onnx.proto.
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 20, 25
_GRAPH = {1: "node", 5: "tensor", 15: "sparse"}
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE = {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"}
_SPARSE = {1: "tensor", 2: "tensor"}
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14


def weight_kind(path: Path) -> Kind:
    """What kind of weight file it is, by content.

    Raises:
        WeightsError: it is missing, too large, or none that facemend reads.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weight file ({error.strerror})") from None
    if size > MAX_WEIGHT_BYTES:
        raise WeightsError(
            f"{path}: {size >> 20} MiB is more than a weight file has (limit {MAX_WEIGHT_BYTES >> 20} MiB)"
        )
    if head.startswith(b"PK\x03\x04"):
        return "torch"
    if len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    if head.startswith(b"\x08"):
        return "onnx"
    if head.startswith(b"\x80"):
        raise WeightsError(
            f"{path}: a plain pickle, which can run code, so it is not opened; "
            "save it anew as safetensors, or with torch.save of torch 1.6 or later"
        )
    raise WeightsError(
        f"{path}: not a whole .pth (torch 1.6 or later), .safetensors or .onnx file; fetch it again"
    )


def check_onnx(path: Path, origin: Path | str = "") -> None:
    """Refuse an ONNX file that reaches for other files, for operators that onnxruntime lacks, or that loops.

    Only the structure is read: no weights, and nothing is run. What passes holds all its weights itself, so
    that its checksum is that of all that a run depends on.

    Args:
        path: the file.
        origin: what messages call it; by default its path.

    Raises:
        WeightsError: it is damaged or not acceptable.
    """
    origin = origin or path
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            if len(mapped) > MAX_WEIGHT_BYTES:
                size, most = len(mapped) >> 20, MAX_WEIGHT_BYTES >> 20
                raise WeightsError(f"{origin}: {size} MiB is more than a graph has (limit {most} MiB)")
            _Walk(mapped, origin).model(0, len(mapped))
    except OSError as error:
        raise WeightsError(f"{origin}: cannot be read ({error.strerror})") from error
    except (ValueError, IndexError) as error:
        raise WeightsError(f"{origin}: damaged or no ONNX file; fetch it again") from error


def branches(data: bytes | bytearray) -> list[tuple[int, int]]:
    """Where the graphs in the graphs of an ONNX file begin and end, inner ones before those that hold them.

    Args:
        data: the file; of our own making, so whatever is in it passes.

    Raises:
        ValueError: it is damaged.
    """
    walk = _Walk(data, "", trusted=True)
    walk.model(0, len(data))
    return walk.branches


class _Walk:
    """Goes once over the messages of a file in the wire format of protocol buffers."""

    def __init__(
        self, data: mmap.mmap | bytes | bytearray, origin: Path | str, *, trusted: bool = False
    ) -> None:
        self._data = data
        self._origin = origin
        self._trusted = trusted
        self._fields = 0
        self._depth = 0
        self.branches: list[tuple[int, int]] = []

    def model(self, start: int, end: int) -> None:
        graphs = 0
        for number, at, stop in self._messages(start, end):
            if number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
                self._refuse("has functions or training graphs of its own; export it as one plain graph")
            if number == _MODEL_GRAPH:
                graphs += 1
                self._graph(at, stop)
        if graphs != 1:
            raise ValueError("no graph")

    def _graph(self, start: int, end: int) -> None:
        with self._deeper():
            for number, at, stop in self._messages(start, end):
                self._go(_GRAPH.get(number), at, stop)
        if self._depth:
            self.branches.append((start, end))

    def _go(self, kind: str | None, start: int, end: int) -> None:
        if kind == "graph":
            self._graph(start, end)
        elif kind == "node":
            self._node(start, end)
        elif kind == "tensor":
            self._tensor(start, end)
        elif kind == "sparse":
            for number, at, stop in self._messages(start, end):
                self._go(_SPARSE.get(number), at, stop)

    def _node(self, start: int, end: int) -> None:
        operator = domain = ""
        graphs = False
        for number, at, stop in self._messages(start, end):
            if number == _NODE_OPERATOR:
                operator = self._data[at:stop][:80].decode(errors="replace")
            elif number == _NODE_DOMAIN:
                domain = self._data[at:stop][:80].decode(errors="replace")
            elif number == _NODE_ATTRIBUTE:
                for inner, from_, to in self._messages(at, stop):
                    graphs |= _ATTRIBUTE.get(inner) == "graph"
                    self._go(_ATTRIBUTE.get(inner), from_, to)
        if domain not in DOMAINS or operator == _CONTEXT:
            self._refuse(
                f"needs the operator {domain}.{operator!s}, which is not a standard one; export it without"
            )
        if graphs and operator != _BRANCH:
            self._refuse(f"has a loop ({operator}), which may run without end; export it with loops unrolled")

    def _tensor(self, start: int, end: int) -> None:
        for number, at, stop in self._messages(start, end, values=True):
            if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and self._data[at:stop] != b"\0"):
                self._refuse("keeps weights in other files; save it as one file")

    def _messages(self, start: int, end: int, *, values: bool = False) -> Iterator[tuple[int, int, int]]:
        """Number, start and end of each field with a length; with `values`, of plain numbers too."""
        at = start
        while at < end:
            self._fields += 1
            if self._fields > MAX_FIELDS:
                self._refuse(f"has more than {MAX_FIELDS} fields, more than a network needs; export it anew")
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            if wire == 2:
                length, at = self._varint(at, end)
                if length > end - at:
                    raise ValueError("longer than what holds it")
                yield number, at, at + length
                at += length
                continue
            if wire == 0:
                after = self._varint(at, end)[1]
            elif wire in (1, 5):
                after = at + (8 if wire == 1 else 4)
            else:
                raise ValueError("unknown wire type")
            if after > end:
                raise ValueError("longer than what holds it")
            if values:
                yield number, at, after
            at = after

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while shift < 70:
            if at >= end:
                raise ValueError("cut off")
            byte = self._data[at]
            value |= (byte & 127) << shift
            at += 1
            if byte < 128:
                return value, at
            shift += 7
        raise ValueError("number too long")

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse("has graphs in graphs in graphs; export it as one plain graph")
        yield
        self._depth -= 1

    def _refuse(self, why: str) -> None:
        if not self._trusted:
            raise WeightsError(f"{self._origin}: {why}")

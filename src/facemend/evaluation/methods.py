"""What is compared: the input, restoration models at several w, peers, and folders of restored pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from facemend.errors import ConfigError, InputError
from facemend.evaluation.cases import Case, Entry, Pixels, by_stem, few, read_face, stem
from facemend.evaluation.options import EvaluationOptions, Weight
from facemend.evaluation.peers import open_peer
from facemend.files import file_sha256
from facemend.imaging import Picture, from_float, to_8_bits, to_float
from facemend.photo.networks import Networks
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import Restorer
from facemend.weights.models import find_model


@dataclass(frozen=True)
class Method:
    """A row of the report.

    Attributes:
        name: unique label.
        kind: "input", "model" or "peer".
        model: name of the model, or None.
        w: fidelity weight; None: not a model, or auto, which takes one for each face.
        weights: file name -> sha256 of what it computes with, or of the pictures that were given.
        note: one line for the report.
    """

    name: str
    kind: str
    model: str | None = None
    w: float | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def row(self) -> dict[str, Any]:
        """As the results say it."""
        return vars(self) | {"weights": dict(self.weights)}


@dataclass(frozen=True, eq=False)
class Group:
    """Methods that are computed together.

    Attributes:
        methods: the rows.
        run: a case to one (S, S, 3) uint8 RGB picture for each method.
    """

    methods: tuple[Method, ...]
    run: Callable[[Entry, Case], list[Pixels]]


def open_groups(options: EvaluationOptions, entries: Sequence[Entry]) -> list[Group]:
    """Everything that a run compares; the first is the input itself.

    Raises:
        ConfigError: two rows would have the same name, or a peer is unknown.
        InputError: a restored picture is missing.
        ModelNotFoundError: there is no such model.
        WeightsError: weights are missing or damaged.
    """
    note = "the damaged picture" if options.reference else "the picture as it was given"
    groups = [Group((Method("input", "input", note=note),), lambda _, case: [case.lq])]
    groups += [_peer(spec) for spec in options.peers]
    groups += [_given(label, folder, entries) for label, folder in options.restored.items()]
    groups += [_model(name, options.ws) for name in options.models]
    names = [method.name for group in groups for method in group.methods]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"two rows would be called {twice!r}: give one of them another name")
    return groups


def _model(name: str, ws: Sequence[Weight]) -> Group:
    info = find_model(name)
    fixed = info.w == "fixed"
    ws = ws[:1] if fixed else ws  # the others would be the same row again
    how = RestoreOptions(model=name, aligned=True, w=ws[0])
    networks = Networks.load(how, model=info)
    weights = {
        path.name: info.sha256[graph] for graph, path in (("encode", info.encode), ("decode", info.decode))
    }
    note = f"{info.description}; {info.image_size} px"

    def run(entry: Entry, case: Case) -> list[Pixels]:
        restorer = Restorer(how, networks=networks, size=len(case.lq))  # as large as what it is compared with
        result = restorer.restore(Picture.from_array(case.lq))
        results = (result, *(restorer.redo(result, w) for w in ws[1:]))
        return [to_8_bits(each.picture.pixels) for each in results]

    def row(w: Weight) -> Method:
        if fixed:
            return Method(info.name, "model", info.name, None, weights, f"{note}; w is fixed in it")
        if w == "auto":
            blind = networks.unknown(replace(how, w="auto"))  # it would only look measured
            return Method(f"{info.name} w=auto", "model", info.name, None, weights, "; ".join((note, *blind)))
        return Method(f"{info.name} w={w:g}", "model", info.name, w, weights, note)

    return Group(tuple(map(row, ws)), run)


def _peer(spec: str) -> Group:
    peer = open_peer(spec)

    def run(entry: Entry, case: Case) -> list[Pixels]:
        (face,) = peer(to_float(case.lq)[None])
        return [from_float(face).astype(np.uint8, copy=False)]

    return Group((Method(peer.name, "peer", weights=dict(peer.weights), note=peer.note),), run)


def _given(label: str, folder: Path, entries: Sequence[Entry]) -> Group:
    files = by_stem(folder)
    missing = [entry.name for entry in entries if stem(entry.name) not in files]
    if missing:
        raise InputError(f"{folder}: no restored picture for {few(missing)}")
    used = {entry.name: files[stem(entry.name)] for entry in entries}

    def run(entry: Entry, case: Case) -> list[Pixels]:
        return [read_face(used[entry.name], len(case.lq))]

    weights = {path.relative_to(folder).as_posix(): file_sha256(path) for path in used.values()}
    return Group((Method(label, "peer", weights=weights, note="pictures that were given"),), run)

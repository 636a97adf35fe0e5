"""What an evaluation run is asked to do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from facemend.degradations import preset
from facemend.errors import ConfigError
from facemend.photo.options import RestoreOptions

Weight = float | Literal["auto"]
MIN_SIZE, MAX_SIZE = 64, 2048
"""Side of faces, pixels: below it the networks behind the metrics see nothing."""
LABEL = re.compile(r"[\w .+=-]{1,60}")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How to evaluate; checked when made.

    Attributes:
        faces: folder of clean aligned faces; of real damaged faces if `reference` is off.
        out: folder for results.json, report.html and what a later run needs to go on.
        title: what the report is called.
        reference: whether `faces` are originals to compare with.
        lq: folder of degraded versions of `faces`, same names; instead of `preset`.
        restored: label -> folder of pictures that something else restored, same names.
        preset: degradation recipe.
        seed: the k-th picture by name is degraded with seed + k.
        models: names or folders of restoration models.
        ws: fidelity weights, each in [0, 1], or auto.
        peers: as `evaluation.peers.open_peer` takes them.
        size: side in pixels that all faces are brought to; None: the smallest side among
            them; without originals, each face stays as it is.
        table: CSV with a column `file` and any of `source`, `kind`, `wears`, `yaw`; None: FOLDER.csv if
            there is one.
        every: take every n-th picture only.
        incomplete: leave out the faces that cannot be used or have no partner in `lq`, instead of refusing
            the folder.
        full: whether the slow metrics are measured too (LPIPS-VGG: about a third more time).
        device: where torch computes the metrics: cpu, cuda, cuda:1 ...
        speed: whether times are measured too.
        notes: sentences for the protocol box of the report.
        protocol: name of the protocol, "" for none.
        command: the command line, for the report.

    Raises:
        ConfigError: a value is out of range.
    """

    faces: Path
    out: Path
    title: str = ""
    reference: bool = True
    lq: Path | None = None
    restored: dict[str, Path] = field(default_factory=dict)
    preset: str = "heavy"
    seed: int = 0
    models: tuple[str, ...] = ()
    ws: tuple[Weight, ...] = (0.5,)
    peers: tuple[str, ...] = ()
    size: int | None = None
    table: Path | None = None
    every: int = 1
    incomplete: bool = False
    full: bool = False
    device: str = "cpu"
    speed: bool = True
    notes: tuple[str, ...] = ()
    protocol: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        preset(self.preset)
        for model in self.models:
            for w in self.ws:
                RestoreOptions(model=model, w=w)
        bad = next((label for label in self.restored if not LABEL.fullmatch(label)), None)
        for ok, message in (
            (self.every >= 1, f"--every must be 1 or more, got {self.every}"),
            (self.seed >= 0, f"--seed must be 0 or more, got {self.seed}"),
            (
                self.size is None or MIN_SIZE <= self.size <= MAX_SIZE,
                f"--size must be {MIN_SIZE} to {MAX_SIZE}, got {self.size}",
            ),
            (self.reference or self.lq is None, "--lq needs originals: give them as FACES"),
            (bool(self.ws) or not self.models, "--w: a model needs at least one weight"),
            (len(set(self.ws)) == len(self.ws), "--w names the same weight twice"),
            (len(set(self.models)) == len(self.models), "--model names the same model twice"),
            (len(set(self.peers)) == len(self.peers), "--peer names the same peer twice"),
            (bad is None, f"--restored {bad}: a label has letters, digits and . + = - only"),
        ):
            if not ok:
                raise ConfigError(message)

    @property
    def degrades(self) -> bool:
        """Whether this run makes the damaged pictures itself."""
        return self.reference and self.lq is None

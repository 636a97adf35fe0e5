"""Checkpoints: one safetensors file that carries its own network sizes and training record.

The header of the file holds `config` (sizes, JSON) and `info` (stage, steps, figures, JSON), so a file is
never separated from what it needs to be loaded. Nothing in it can run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from facemend.errors import ConfigError, WeightsError
from facemend.files import file_sha256, whole_file
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import CodeFormerConfig
from facemend.networks.codeformer.diagnosis import without_head
from facemend.networks.codeformer.limits import check_sizes


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        config: sizes of the network.
        state: tensors by name.
        info: stage, step, figures: whatever the run wrote, plain JSON.
        sha256: of the file.
    """

    config: CodeFormerConfig
    state: dict[str, Tensor]
    info: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def said(self, key: str) -> str | None:
        """A word of the record, such as the licence; None: there is none."""
        word = self.info.get(key)
        return word if isinstance(word, str) and word.strip() and len(word) <= 200 else None

    @property
    def kept(self) -> dict[str, Any]:
        """What holds for weights that are trained or grown from these, too: whose they are, and what for."""
        return {key: self.info[key] for key in ("source", "licence", "task") if key in self.info}


def save_checkpoint(
    path: Path,
    state: Mapping[str, Tensor],
    config: CodeFormerConfig,
    info: Mapping[str, Any],
    *,
    shared: bool = False,
) -> None:
    """Write a checkpoint atomically; the folder is made if needed. `shared`: several may write it at once.

    Raises:
        OutputError: it cannot be written, for instance because the disk is full; an older file stays.
    """
    header = {"config": json.dumps(config.to_dict()), "info": json.dumps(dict(info))}
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    with whole_file(path, SafetensorError, shared=shared) as part:
        save_file(tensors, part, metadata=header)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        WeightsError: there is no such file, it is damaged, not ours, or holds NaN or infinite values.
    """
    if not path.is_file():
        hint = "" if path.suffix == ".safetensors" else "; that is a .safetensors file of a training run"
        raise WeightsError(f"{path}: no such checkpoint{hint}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from None
    try:
        config = CodeFormerConfig.from_dict(json.loads(header["config"]))
        info = json.loads(header.get("info", "{}"))
        if not isinstance(info, dict):
            raise TypeError("its record is no table")
    except Exception as error:  # a foreign header can be wrong in any way
        raise WeightsError(
            f"{path}: not a facemend checkpoint, its header lacks usable sizes ({str(error)[:200]})"
        ) from None
    check_sizes(config, path)
    bad = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise WeightsError(f"{path}: {bad[0]} holds NaN or infinite values; use an earlier checkpoint")
    return Checkpoint(config, state, info, file_sha256(path))


def network_of(found: Checkpoint, source: Path | str) -> CodeFormer:
    """The network of a checkpoint, its weights in it; see `check_fit`."""
    check_fit(found, source)
    net = CodeFormer(found.config)
    load_into(net, found.state, source)
    return net


def network_shapes(config: CodeFormerConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of our tensors; the meta device allocates nothing."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in CodeFormer(config).state_dict().items()}


def check_fit(found: Checkpoint, source: Path | str) -> None:
    """See that weights have the shapes of the sizes beside them, before there is room for a network.

    Raises:
        WeightsError: they have not.
    """
    try:
        shapes = network_shapes(found.config)
    except (ConfigError, ValueError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{source}: no network has the sizes in its header ({str(error)[:100]})") from None
    _require_fit(shapes, without_head(found.state, shapes), source)


def autoencoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The stage I part of a network's weights: encoder, codebook and decoder."""
    return {k: v for k, v in state.items() if k.startswith(("encoder.", "codebook.", "decoder."))}


def load_into(
    module: nn.Module, state: Mapping[str, Tensor], source: Path | str, fresh: Sequence[str] = ()
) -> None:
    """Load tensors strictly: every name and shape must match; but a diagnosis head may be left behind.

    Args:
        module: where to.
        state: tensors by name.
        source: file name for messages.
        fresh: beginnings of names that stay as they are in the module, whatever the state holds.

    Raises:
        WeightsError: names the first few tensors that are missing, unexpected or of another shape.
    """
    own = module.state_dict()
    state = without_head(state, own)
    if fresh:
        start = tuple(fresh)
        state = {name: value for name, value in state.items() if not name.startswith(start)}
        state |= {name: value for name, value in own.items() if name.startswith(start)}
    _require_fit({name: tuple(value.shape) for name, value in own.items()}, state, source)
    with torch.no_grad():
        module.load_state_dict(dict(state))


def _require_fit(own: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor], source: Path | str) -> None:
    problems = [f"missing {name}" for name in own if name not in state]
    problems += [f"unexpected {name}" for name in state if name not in own]
    problems += [
        f"{name} is {tuple(state[name].shape)}, the network has {own[name]}"
        for name in own
        if name in state and own[name] != tuple(state[name].shape)
    ]
    if problems:
        raise WeightsError(
            f"{source}: does not fit the network: {'; '.join(problems[:3])} ({len(problems)} in all)"
        )

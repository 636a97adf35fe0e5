"""facemend's networks for spandrel: after `install()` it loads their .safetensors files.

spandrel hands an architecture the tensors alone, without the header of the file. The sizes are those of the
preset whose shapes the tensors have; `load` reads the header, and so takes networks of any sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from spandrel import (
    MAIN_REGISTRY,
    Architecture,
    ArchRegistry,
    ArchSupport,
    ImageModelDescriptor,
    SizeRequirements,
)
from torch import Tensor

from facemend.errors import WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into, network_shapes
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import PRESETS, CodeFormerConfig
from facemend.networks.codeformer.diagnosis import without_head

DEFAULT_W = 0.5
"""Fidelity weight where none is given: spandrel calls a network with the picture alone."""
_KEYS = ("codebook.vectors", "transformer.positions", "encoder.stem.weight", "decoder.out.weight")


class FacemendArch(Architecture[CodeFormer]):
    """The architecture; `descriptor.model(image, w)` is the network: pictures in [-1, 1], w a (B,) tensor."""

    def __init__(self) -> None:
        super().__init__(
            id="facemend", name="facemend", detect=lambda state: all(key in state for key in _KEYS)
        )

    def load(self, state_dict: Mapping[str, Tensor]) -> ImageModelDescriptor[CodeFormer]:
        """A network from its tensors.

        Raises:
            WeightsError: no preset has these shapes.
        """
        return self.build(dict(state_dict), sizes(state_dict), "the state dict")

    def build(
        self, state: dict[str, Tensor], config: CodeFormerConfig, source: Path | str
    ) -> ImageModelDescriptor[CodeFormer]:
        """A network of these sizes.

        Args:
            state: tensors by name.
            config: sizes.
            source: file name for messages.
        """
        net = CodeFormer(config)
        load_into(net, state, source)
        side = config.autoencoder.image_size
        return ImageModelDescriptor(
            net.eval(),
            state,
            architecture=self,
            purpose="FaceSR",
            tags=[f"{side}px"],
            supports_half=False,
            supports_bfloat16=True,
            scale=1,
            input_channels=3,
            output_channels=3,
            size_requirements=SizeRequirements(minimum=side, multiple_of=side, square=True),
            call_fn=restore,
        )


def restore(net: CodeFormer, image: Tensor, w: float = DEFAULT_W) -> Tensor:
    """Aligned faces (B, 3, S, S) RGB in [0, 1] to the same, restored with fidelity weight w in [0, 1]."""
    weights = torch.full((len(image),), w, dtype=image.dtype, device=image.device)
    restored: Tensor = net(image * 2 - 1, weights)
    return ((restored + 1) / 2).clamp(0, 1)


def sizes(state: Mapping[str, Tensor]) -> CodeFormerConfig:
    """The preset whose network has exactly these tensors.

    Raises:
        WeightsError: none has.
    """
    for config in PRESETS.values():
        own = network_shapes(config)
        if {name: tuple(value.shape) for name, value in without_head(state, own).items()} == own:
            return config
    raise WeightsError(
        "these tensors fit no preset of facemend; use facemend_spandrel.load(path), which reads sizes"
    )


def load(path: str | Path) -> ImageModelDescriptor[CodeFormer]:
    """A network of any sizes from its file, whose header tells them.

    Raises:
        WeightsError: it is no checkpoint of facemend.
    """
    found = load_checkpoint(Path(path))
    return FacemendArch().build(found.state, found.config, Path(path))


def install(registry: ArchRegistry = MAIN_REGISTRY) -> None:
    """Make the architecture known to spandrel; a second time does nothing."""
    registry.add(ArchSupport.from_architecture(FacemendArch()), ignore_duplicates=True)

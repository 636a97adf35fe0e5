"""Networks of the published form at sizes that tests can afford."""

import dataclasses

import torch

from facemend.convert.published_layout import official_keys
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import AutoencoderConfig, CodeFormerConfig

SIDE = 32
# With the published heads and groups; exports in seconds.
SMALL = CodeFormerConfig(
    autoencoder=AutoencoderConfig(
        image_size=SIDE,
        widths=(32, 32, 32),
        encoder_blocks=(1, 1, 1),
        decoder_blocks=(1, 1, 1),
        attention_sizes=(8,),
        code_dim=16,
        codebook_size=24,
    ),
    width=32,
    layers=1,
    feedforward=16,
    fuse_sizes=(16,),
)
# As the colourisation network is fused; with half the codes besides, as the inpainting one.
COLOUR = dataclasses.replace(SMALL, fuse_sizes=(8,))
INPAINT = dataclasses.replace(COLOUR, autoencoder=dataclasses.replace(COLOUR.autoencoder, codebook_size=512))
# No two sizes are the same that could be taken for each other.
UNEVEN = CodeFormerConfig(
    autoencoder=AutoencoderConfig(
        image_size=64,
        widths=(32, 64, 32),
        encoder_blocks=(1, 3, 2),
        decoder_blocks=(2, 1, 3),
        attention_sizes=(16,),
        code_dim=8,
        codebook_size=24,
    ),
    width=16,
    layers=3,
    feedforward=40,
    fuse_sizes=(16, 32),
)


def network(config: CodeFormerConfig) -> CodeFormer:
    """Random weights, the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CodeFormer(config).eval()


def to_official(state: dict[str, torch.Tensor], config: CodeFormerConfig) -> dict[str, torch.Tensor]:
    """Our tensors under their published names."""
    return {official: state[ours] for official, ours in official_keys(config).items()}


def official(config: CodeFormerConfig) -> dict[str, torch.Tensor]:
    """Those of `network` under their published names."""
    return to_official(network(config).state_dict(), config)

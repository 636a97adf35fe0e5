"""What a stage I network can hold of a face: pictures through encoder, codebook and decoder, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from facemend.errors import InputError, WeightsError
from facemend.folder.plan import PhotoJob
from facemend.imaging import Outputs, Picture, in_srgb, read_picture, resize
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into
from facemend.networks.codeformer.codebook import CodeUsage, code_usage


def load_autoencoder(checkpoint: Path) -> VQAutoencoder:
    """The network of a stage I checkpoint, ready to use.

    Raises:
        WeightsError: the file is missing, damaged, or of another stage.
    """
    loaded = load_checkpoint(checkpoint)
    if loaded.info.get("stage") != "stage1":
        raise WeightsError(
            f"{checkpoint}: is of {loaded.info.get('stage', 'no known stage')}; give a stage I checkpoint"
        )
    net = VQAutoencoder(loaded.config.autoencoder)
    load_into(net, loaded.state, checkpoint)
    return net.eval()


@torch.no_grad()
def reconstruct(
    net: VQAutoencoder, jobs: Iterable[PhotoJob], outputs: Outputs, advance: Callable[[], None] = lambda: None
) -> CodeUsage:
    """Write the reconstruction of each aligned face: the best that any code prediction can reach.

    Args:
        net: of `load_autoencoder`.
        jobs: what to read and to write; faces of other sizes are brought to the network's.
        outputs: decides what may be written.
        advance: called after each picture.

    Returns:
        Use of the codebook over all pictures.

    Raises:
        InputError: a picture cannot be read or is not square.
        OutputError: one exists already or cannot be written.
    """
    side = net.config.image_size
    counts = torch.zeros(net.config.tables, net.config.codebook_size, dtype=torch.int64)
    for job in jobs:
        outputs.claim(job.output)
        image = in_srgb(read_picture(job.source)).as_float()
        if image.shape[0] != image.shape[1]:
            raise InputError(f"{job.source}: {image.shape[1]}x{image.shape[0]} is not square, not aligned")
        crop = torch.from_numpy(resize(image, (side, side), "bicubic")).permute(2, 0, 1)[None]
        made = net(crop * 2 - 1)
        counts += net.codebook.histogram([scale.codes for scale in made.quantized.scales]).flatten(0, 1)
        pixels = ((made.image[0].permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy()
        outputs.save(job.output, Picture.from_array(pixels))
        advance()
    return code_usage(counts)

"""Sizes that a network of this kind may have, where they come from an untrusted file."""

from __future__ import annotations

from pathlib import Path

from facemend.errors import WeightsError
from facemend.networks.codeformer.config import CodeFormerConfig


def check_sizes(config: CodeFormerConfig, source: Path | str) -> None:
    """Refuse sizes of an untrusted file that would cost more than any network of this kind does.

    Raises:
        WeightsError: names the first size that is out of range.
    """
    ae = config.autoencoder
    limits: dict[str, tuple[object, int, int]] = {
        "image_size": (ae.image_size, 32, 2048),
        "patch": (ae.patch, 1, 16),
        "code_dim": (ae.code_dim, 1, 4096),
        "codebook_size": (ae.codebook_size, 1, 65_536),
        "norm_groups": (ae.norm_groups, 1, 1024),
        "width": (config.width, 1, 8192),
        "heads": (config.heads, 1, 128),
        "layers": (config.layers, 1, 64),
        "feedforward": (config.feedforward, 1, 32_768),
        "levels": (len(ae.widths), 1, 12),
        "codes_per_position": (ae.codes_per_position, 1, 64),
        "scales": (len(ae.scales), 0, 12),
        "tokens": (sum(side**2 for side in ae.grids), 1, 65_536),
    }
    limits |= {f"scales[{i}]": (side, 1, 2048) for i, side in enumerate(ae.scales)}
    limits |= {f"widths[{i}]": (width, 1, 4096) for i, width in enumerate(ae.widths)}
    limits |= {f"encoder_blocks[{i}]": (blocks, 0, 32) for i, blocks in enumerate(ae.encoder_blocks)}
    limits |= {f"decoder_blocks[{i}]": (blocks, 1, 32) for i, blocks in enumerate(ae.decoder_blocks)}
    for name, (value, least, most) in limits.items():
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise WeightsError(f"{source}: {name} is {value!r:.40}, a usable network has {least} to {most}")
    share = config.fuse_hidden
    if not isinstance(share, int | float) or not 0 < share <= 4:
        raise WeightsError(f"{source}: fuse_hidden is {share!r:.40}, a usable network has 0 to 4")

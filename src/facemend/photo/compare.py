"""Pictures for looking at: before beside after, and sheets of several versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facemend.errors import ConfigError
from facemend.imaging import AnyPixels, Picture, resize, to_8_bits

GAP = 8
MAX_SIDE = 4096
"""Longest side of a cell, pixels: sheets are for the eye, and formats have limits."""


def before_after(before: Picture, after: Picture) -> Picture:
    """Two versions of a photo side by side; the first is enlarged to the size of the second."""
    scale = min(1.0, MAX_SIDE / max(after.width, after.height))
    after = after.resized(scale)
    pixels = resize(before.pixels, (after.width, after.height), "lanczos")
    sheet = contact_sheet([pixels, after.pixels], ["before", "after"])
    return replace(sheet, icc=after.in_rgb().icc)


def contact_sheet(
    images: Sequence[AnyPixels], labels: Sequence[str], *, columns: int | None = None
) -> Picture:
    """Labelled pictures of one size in rows.

    Args:
        images: at least one, each (H, W, 3) float32 RGB [0, 1], uint8 or uint16, all of one size.
        labels: one line each.
        columns: pictures in a row; by default all.

    Returns:
        An 8-bit picture, white between the cells. Cells above `MAX_SIDE` are shrunk.

    Raises:
        ConfigError: no images, different sizes, or not one label each.
    """
    if not images or len(images) != len(labels) or len({image.shape for image in images}) > 1:
        raise ConfigError("a contact sheet needs pictures of one size, and one label for each")
    columns = min(columns or len(images), len(images))
    height, width = images[0].shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    text = max(14, round(height / 24))
    band = round(1.6 * text)
    rows = -(-len(images) // columns)
    size = columns * (width + GAP) + GAP, rows * (height + band) + GAP
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(text)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        row, column = divmod(number, columns)
        left, top = GAP + column * (width + GAP), row * (height + band)
        draw.text((left + width / 2, top + band / 2), label, fill="black", font=font, anchor="mm")
        cell = to_8_bits(resize(image, (width, height), "area"))
        sheet.paste(Image.fromarray(cell), (left, top + band))
    return Picture(np.array(sheet))

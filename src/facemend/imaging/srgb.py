"""Colours of a profile as sRGB, which is what networks are trained on."""

from __future__ import annotations

import io
import logging
from dataclasses import replace

import numpy as np
from PIL import Image, ImageCms

from facemend.imaging.color import to_8_bits
from facemend.imaging.picture import Picture

_log = logging.getLogger(__name__)


def in_srgb(picture: Picture) -> Picture:
    """A picture whose profile is applied and gone; one without a profile, or with that of sRGB, as it is.

    Returns:
        Colours of 8 bits where there was something to convert. Colours beyond sRGB are cut to it; a profile
        that cannot be used is left out.
    """
    if picture.icc is None:
        return picture
    pixels = to_8_bits(picture.pixels)
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.icc))
        if ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return replace(picture, icc=None)
        gray = profile.profile.xcolor_space.strip() == "GRAY"
        image = Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if gray else pixels)
        converted = ImageCms.profileToProfile(
            image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        _log.warning("a colour profile cannot be used, going on without it (%s)", error)
        converted = None
    if converted is None:
        return replace(picture, icc=None)
    return replace(picture, icc=None, pixels=np.asarray(converted), alpha=None)

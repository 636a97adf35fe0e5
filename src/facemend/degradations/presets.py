"""Recipes by name: the published ones, and ours for training."""

from __future__ import annotations

from dataclasses import replace

from facemend.degradations.old_photo import OldPhoto
from facemend.degradations.recipe import Recipe
from facemend.errors import ConfigError

_HEAVY = Recipe(blur_sigma=(1, 15), down=(4, 30), noise=(0, 20), jpeg=(30, 80))
_MEDIUM = Recipe(blur_sigma=(0.1, 10), down=(1, 12), noise=(0, 15), jpeg=(60, 100))
_GFPGAN = Recipe(blur_sigma=(0.1, 10), down=(0.8, 8), noise=(0, 20), jpeg=(60, 100))
_COLOR = {
    "shift_probability": 0.3,
    "jitter_probability": 0.3,
    "gray_probability": 0.01,
    "brightness": (0.5, 1.5),
    "contrast": (0.5, 1.5),
    "saturation": (0.0, 1.5),
    "hue": (-0.1, 0.1),
}

PRESETS: dict[str, Recipe] = {
    "heavy": _HEAVY,
    "medium": _MEDIUM,
    "small": _MEDIUM,
    "light": Recipe(blur_sigma=(0.1, 2.5), down=(1, 3), noise=(0, 5), jpeg=(75, 100)),
    "gfpgan": replace(_GFPGAN, **_COLOR),  # type: ignore[arg-type]
    "restoreformer": replace(
        _GFPGAN,
        blur_radius=(19, 20),
        translate_probability=0.2,
        jitter_probability=1.0,
        brightness=(0.7, 1.1),
    ),
    "daefr": Recipe(
        blur_sigma=(0.1, 15), down=(0.8, 30), noise=(0, 20), jpeg=(30, 100), blur_radius=(19, 20)
    ),
    "difface": Recipe(blur_sigma=(0.1, 15), down=(0.8, 32), noise=(0, 20), jpeg=(30, 100)),
    "colorize": replace(_HEAVY, **_COLOR),  # type: ignore[arg-type]
    "mixed": Recipe(
        blur_sigma=(0.1, 15),
        down=(1, 30),
        noise=(0, 20),
        jpeg=(30, 100),
        severity=(0, 2),
        motion_probability=0.05,
        shift_probability=0.05,
        gray_probability=0.05,
        jitter_probability=0.05,
        brightness=(0.7, 1.3),
        contrast=(0.7, 1.3),
        saturation=(0.3, 1.3),
        hue=(-0.03, 0.03),
    ),
    "scan": Recipe(
        blur_sigma=(0.1, 2.5),
        down=(1, 8),
        noise=(0, 6),
        jpeg=(40, 95),
        blur_radius=(8, 8),
        isotropic_probability=0.8,
        severity=(0.2, 1.6),
        shift_probability=0.05,
        shift=6.0,
        jitter_probability=0.1,
        brightness=(0.85, 1.2),
        contrast=(0.8, 1.3),
        saturation=(0.6, 1.1),
        old=OldPhoto(
            gray_probability=0.9,
            tone_probability=0.25,
            soft_probability=0.25,
            grain_probability=0.6,
            halftone_probability=0.4,
            paper_probability=0.2,
            levels_probability=0.6,
            scratch_probability=0.15,
            dust_probability=0.25,
            fold_probability=0.04,
            sharpen_probability=0.45,
            again_probability=0.35,
        ),
    ),
}
"""Recipes by name.

    heavy          the published "large" set of CodeFormer (stage II and colour)
    medium         the published "small" set of CodeFormer (stage III); our name, since it is not small
    small          the published name of `medium`: the same recipe
    light          ours: a fair photo, a little soft, as most are that people have
    gfpgan, restoreformer, daefr, difface    the sets of those publications. Their 19-20 kernel is read as a
                   radius (39 to 41 taps), the exposure .7-1.1 of restoreformer as a brightness factor
    colorize       `heavy` with the published colour changes of the colourisation model
    mixed          ours, for training: from untouched to heavy in one range (half of the draws use the whole
                   range, the others are pulled together towards no degradation), and now and then motion
                   blur, a colour cast, photometric changes, or gray
    scan           ours, for training: real old photographs, most of them gray: toned, soft, grainy, half-tone
                   printed, faded or harsh, scratched, dusty, folded, then scanned small, over-sharpened and
                   compressed more than once; see `OldPhoto`
"""


def preset(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(
            f"unknown degradation preset {name!r}: choose one of {', '.join(PRESETS)}"
        ) from None

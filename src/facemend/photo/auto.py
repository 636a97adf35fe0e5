"""w by itself: from the diagnosis of a face to its w and strength, and to words."""

from __future__ import annotations

from dataclasses import dataclass

from facemend.types import Diagnosis

GAIN, FULL_GAIN = 0.03, 0.07
"""By how much LPIPS a face must be expected to come closer to the truth to be restored at all, and wholly;
between them it is blended with the photo's own."""
SHARP = 0.7
"""Share of the model's size from which a face counts as sharp, in words."""
UNKNOWN = "w auto: this model says nothing of damage, so w is {:g}, its default"
"""Note where there is no diagnosis."""


@dataclass(frozen=True)
class Choice:
    """What is done with a face.

    Attributes:
        w: fidelity weight, [0, 1].
        strength: how much of the restored face, [0, 1].
        left: why it is left as it is; "" if it is not.
    """

    w: float
    strength: float = 1.0
    left: str = ""


def choose(diagnosis: Diagnosis, likeness: float, size: int) -> Choice:
    """W and strength for a face.

    w is the one that is expected to come closest to the truth in LPIPS among those that keep the likeness;
    if none does, the one that keeps it best. A face that would gain little is left as it is.

    Args:
        diagnosis: of the face.
        likeness: identity distance to the truth that is to be expected at most.
        size: side of the model's faces, pixels.
    """
    best = min(diagnosis.identity)
    kept = [i for i, far in enumerate(diagnosis.identity) if far <= max(likeness, best)]
    index = min(kept, key=lambda i: diagnosis.lpips[i])
    gain = diagnosis.lpips_photo - diagnosis.lpips[index]
    strength = round(min(1.0, max(0.0, (gain - GAIN) / (FULL_GAIN - GAIN))), 2)
    return Choice(Diagnosis.WS[index], strength, "" if strength else _why_left(diagnosis, size))


def _why_left(diagnosis: Diagnosis, size: int) -> str:
    if diagnosis.resolution >= SHARP * size:
        return f"as sharp as the model's {size} px"
    return "the model would not bring it closer to what it was"


def in_words(diagnosis: Diagnosis, size: int) -> str:
    """A diagnosis for people, such as "about 40 px of real detail, strong JPEG".

    Args:
        diagnosis: of a face.
        size: side of the model's faces, pixels.
    """
    pixels = diagnosis.resolution
    said = ["sharp" if pixels >= SHARP * size else f"about {_rounded(pixels)} px of real detail"]
    if diagnosis.noise >= 1.5:
        said.append("strong noise" if diagnosis.noise >= 5 else "some noise")
    if diagnosis.jpeg <= 75:
        said.append("strong JPEG" if diagnosis.jpeg <= 55 else "some JPEG")
    return ", ".join(said)


def _rounded(pixels: float) -> int:
    step = 1 if pixels < 20 else 5 if pixels < 100 else 10
    return max(1, step * round(pixels / step))

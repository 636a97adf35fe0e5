"""Against flicker: what the network makes of a face, averaged over the frames where the face does not change.

Everything happens in the space of the aligned crop. What is remembered is first moved as the picture moved,
so a face that only travels through the frame stands still. Then, pixel by pixel,

    change = local mean of |crop now - crop remembered|
    share  = NEW + (1 - NEW) * smoothstep(LOW .. HIGH, change / what noise alone changes)
    result = remembered + share * (now - remembered)

so where a mouth or an eye moves the new frame is taken as it is, and elsewhere some four frames are averaged.

A frame that the network was not asked about has no restored face of its own. There optical flow from crop to
crop moves what is remembered where the crop changed, and

    result = moved + smoothstep(LOW .. HIGH, change that is left) * (crop now - moved crop)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.mask import Mask, border_mask, combine
from facemend.faces.warp import compose, invert, warp
from facemend.imaging import from_float, gaussian_blur, luma
from facemend.types import FloatImage, Matrix23

NEW = 0.25
"""Share of the new frame where nothing but noise changes: white flicker shrinks to a fifth
(a / sqrt(2 - a)) and what changes slowly lags by three frames."""
LOW, HIGH = 2.0, 4.0
LOCAL = 0.008  # sigma of the local mean, share of the crop's side
CALM, MOVES = 0.006, 0.03  # sigmas: of luma for optical flow, and of what moves along with a change; the same
_ROUND = 4.0  # the flow is whole where a quarter of the surroundings changed
LEAST_NOISE, MOST_NOISE = 0.5 / 255, 8 / 255
_LEARN = 0.1  # share of a new frame in what is known of the noise
_JUMP = 2.0  # a frame in which all changes more than this (a flash) is no noise


@dataclass(frozen=True, eq=False)
class Memory:
    """What is remembered of one face.

    Attributes:
        matrix: 2x3, pixels of the frame it was last seen in -> crop pixels.
        crop: (S, S, 3) float32 RGB [0, 1], the aligned crop as it was, averaged.
        restored: the same, restored.
        mask: (S, S) in [0, 1], where it is to replace the frame.
        noise: what noise alone changes in the local mean, [0, 1]; 0: not known yet.
    """

    matrix: Matrix23
    crop: FloatImage
    restored: FloatImage
    mask: Mask
    noise: float = 0.0


@dataclass(frozen=True, eq=False)
class Look:
    """A face in one frame, by itself.

    Attributes:
        matrix: as in `Memory`.
        crop: as in `Memory`, not averaged.
        restored: what the network makes of it; None: it was not asked.
        mask: as in `Memory`; None: none was made.
    """

    matrix: Matrix23
    crop: FloatImage
    restored: FloatImage | None = None
    mask: Mask | None = None


def steadied(memory: Memory, now: Look, step: Matrix23) -> Memory:
    """Average a face with what is remembered of it, as far as it did not change.

    What was not made in this frame is what is remembered, moved as the picture moved; in the restored face
    what changed (a mouth, an eye) is moved by optical flow, and what the flow does not explain is added.

    Args:
        memory: from the frame before.
        now: the face in this frame, by itself.
        step: 2x3, how the picture under the face moved, frame before -> this frame.

    Returns:
        What is remembered now: `restored` and `mask` are what to show.
    """
    onto = compose(now.matrix, compose(step, invert(memory.matrix)))
    crop, restored, mask = (_moved(each, onto) for each in (memory.crop, memory.restored, memory.mask))
    changed, noise = _changed(now.crop, crop, memory.noise)
    share = NEW + (1 - NEW) * changed
    if now.restored is None:
        restored = _carried(restored, crop, now.crop, changed, memory.noise)
    else:
        restored = _mixed(restored, now.restored, share)
    # A mask that was moved may have come to the crop's edge.
    mask = combine(mask, border_mask(len(mask))) if now.mask is None else now.mask
    return Memory(now.matrix, _mixed(crop, now.crop, share), restored, mask, noise)


def _moved(image: NDArray[np.float32], onto: Matrix23) -> NDArray[np.float32]:
    size = (image.shape[1], image.shape[0])
    return np.clip(warp(image, onto, size, border="replicate"), 0, 1)


def _changed(now: FloatImage, before: FloatImage, noise: float) -> tuple[NDArray[np.float32], float]:
    """How far each pixel changed by more than noise, (S, S) in [0, 1]; and what is known of the noise now."""
    size = len(now)
    change = cv2.GaussianBlur(np.abs(now - before).mean(-1), (0, 0), LOCAL * size)
    middle = slice(size // 4, size - size // 4)
    typical = float(np.median(change[middle, middle]))
    learnt = noise + _LEARN * (min(typical, _JUMP * noise) - noise) if noise else typical
    noise = min(max(learnt, LEAST_NOISE), MOST_NOISE)
    t = np.clip((change / noise - LOW) / (HIGH - LOW), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32), noise


def _carried(
    restored: FloatImage, before: FloatImage, now: FloatImage, changed: NDArray[np.float32], noise: float
) -> FloatImage:
    """The restored face of the frame before as it must look now, by how the crop changed."""
    if not changed.any():
        return restored
    size = len(now)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST).calc(
        _calm(now), _calm(before), np.zeros((size, size, 2), np.float32)
    )
    # Where nothing changed, noise must not move anything.
    flow *= np.clip(_ROUND * gaussian_blur(changed, MOVES * size), 0, 1)[..., None]
    there = flow + np.stack(np.meshgrid(*2 * [np.arange(size, dtype=np.float32)]), -1)
    before, restored = (_sampled(each, there) for each in (before, restored))
    changed, _ = _changed(now, before, noise)
    return np.clip(restored + changed[..., None] * (now - before), 0, 1)


def _calm(crop: FloatImage) -> NDArray[np.uint8]:
    """What optical flow looks at: luma without its noise."""
    return np.asarray(from_float(gaussian_blur(luma(crop), CALM * len(crop))), np.uint8)


def _sampled(image: FloatImage, there: NDArray[np.float32]) -> FloatImage:
    nothing: Any = None  # the x and y of `there` are together
    moved = cv2.remap(image, there, nothing, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _mixed(
    before: NDArray[np.float32], now: NDArray[np.float32], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    weight = share[..., None] if now.ndim == 3 else share
    return np.asarray(before + weight * (now - before), np.float32)

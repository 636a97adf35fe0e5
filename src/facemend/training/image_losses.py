"""L1, LPIPS and identity at the picture, as metrics and as one gradient.

Working with the gradient at the picture lets the adversarial balance (adversarial_loss.py) reuse it instead
of differentiating the perceptual networks twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemend.faces.template import TEMPLATE
from facemend.imaging.color import LUMA
from facemend.networks.perceptual.identity import IdentityNet
from facemend.networks.perceptual.lpips import LPIPS
from facemend.training.settings import PerceptualConfig


class ImageLosses(nn.Module):
    """Weighted L1 + LPIPS terms + identity (squared distance of face embeddings, aligned faces only).

    With `eye_weight` v, L1 weighs 1 + v in the middle of the eyes of aligned faces: irises are a few
    thousandths of a picture, and the first thing that people look at.
    """

    def __init__(
        self,
        pixel_weight: float,
        perceptual: Sequence[PerceptualConfig],
        identity_weight: float = 0.0,
        eye_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.eye_weight = eye_weight
        self.identity_weight = identity_weight
        self.identity = IdentityNet() if identity_weight else None
        self.pixel_weight = pixel_weight
        self.perceptual = tuple(perceptual)
        self.nets = nn.ModuleList(
            LPIPS(term.net, double_normalised=term.double_normalised) for term in self.perceptual
        )
        # Two terms of one trunk (the whole and windows) are told apart by their number.
        trunks = [term.net for term in self.perceptual]
        self.names = [
            f"lpips_{net}" + (f"_{number + 1}" if net in trunks[:number] else "")
            for number, net in enumerate(trunks)
        ]
        self.nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on a CPU

    def forward(
        self,
        image: Tensor,
        target: Tensor,
        generator: torch.Generator,
        pixel_scale: Tensor | None = None,
        fine: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Compare (B, 3, S, S) in [-1, 1].

        Args:
            image: what the network made.
            target: what it should be.
            generator: draws the places that the perceptual terms look at (CPU).
            pixel_scale: (B,) factors of L1, one a face.
            fine: (B,) bool, which faces have a target as large as S; the others were enlarged, and are
                compared area-averaged by two: nobody knows what they look like any nearer.

        Returns:
            Detached losses by name, and the gradient of their weighted sum at `image`.
        """
        seed = int(torch.randint(2**31, (), generator=generator))
        leaf = image.detach().float().requires_grad_()
        scale = leaf.new_ones(len(leaf)) if pixel_scale is None else pixel_scale
        total = leaf.new_zeros(())
        metrics: dict[str, Tensor] = {}
        for faces, factor in _by_size(fine):
            # Of its own: which faces there are must not change what is drawn for others, nor afterwards.
            places = torch.Generator().manual_seed(seed * factor)
            seen, wanted = (_averaged(x if faces is None else x[faces], factor) for x in (leaf, target))
            part = len(seen) / len(leaf)
            loss, own = self._compare(seen, wanted, scale if faces is None else scale[faces], factor, places)
            total = total + part * loss
            metrics = {name: metrics.get(name, 0) + part * value for name, value in own.items()}
        if self.identity is not None:
            # Small differences of long vectors: bf16 would drown them.
            with torch.autocast(leaf.device.type, enabled=False):
                with torch.no_grad():
                    truth = self.identity.embed_aligned(target.float())
                identity = (self.identity.embed_aligned(leaf) - truth).square().sum(1).mean()
            total = total + self.identity_weight * identity
            metrics["identity"] = identity.detach().sqrt()
        (gradient,) = torch.autograd.grad(total, leaf)
        return metrics, gradient.to(image.dtype)

    def _compare(
        self, seen: Tensor, wanted: Tensor, pixel_scale: Tensor, averaged: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L1 and LPIPS of faces of one size, already area-averaged by a factor."""
        pixel = (seen - wanted).abs()
        metrics = {"l1": pixel.detach().mean()}
        if self.eye_weight:
            pixel = pixel * (1 + self.eye_weight * at_eyes(pixel))
        total = self.pixel_weight * (pixel.mean((1, 2, 3)) * pixel_scale).mean()
        for number, (term, net) in enumerate(zip(self.perceptual, self.nets, strict=True)):
            less = max(1, term.shrink // averaged)
            rows, columns = _place(term, [side // less for side in seen.shape[2:]], generator)
            perceptual = net(*(_averaged(x, less)[..., rows, columns] for x in (seen, wanted))).mean()
            total = total + term.weight * perceptual
            metrics[self.names[number]] = perceptual.detach()
        return total, metrics


def in_gray(faces: Tensor, coloured: Tensor) -> Tensor:
    """(B, 3, S, S) with the luma of those that are not `coloured`, (B,) bool, in all three channels."""
    luma = (faces.float() * torch.tensor(LUMA, device=faces.device)[:, None, None]).sum(1, keepdim=True)
    return torch.where(coloured[:, None, None, None], faces, luma.to(faces.dtype))


def _by_size(fine: Tensor | None) -> list[tuple[Tensor | None, int]]:
    """Groups of faces (None = all) and the factor by which each is averaged; groups of none are left out."""
    if fine is None or bool(fine.all()):
        return [(None, 1)]
    if not fine.any():
        return [(None, 2)]
    return [(fine, 1), (~fine, 2)]


def _averaged(images: Tensor, factor: int) -> Tensor:
    return images if factor == 1 else F.avg_pool2d(images, factor)


def at_eyes(faces: Tensor) -> Tensor:
    """(S, S) for aligned (B, C, S, S): 1 at the template's eyes, falling as Gaussians of deviation S / 24."""
    side = faces.shape[-1]
    places = (torch.arange(side, device=faces.device) + 0.5) / side
    total = faces.new_zeros(side, side)
    for x, y in TEMPLATE[:2].tolist():
        across, down = (torch.exp(-0.5 * ((places - at) * 24).square()) for at in (x, y))
        total = total + down[:, None] * across
    return total


# Middle of eyes, nose and mouth in a crop aligned to the FFHQ template (row, column), as shares of its side.
FEATURES = tuple(float(v) for v in TEMPLATE[:, ::-1].mean(0))
WANDER = 1 / 16  # how far a window on them strays, as a share of the side


def _place(term: PerceptualConfig, size: Sequence[int], generator: torch.Generator) -> tuple[slice, slice]:
    """Rows and columns that a perceptual term compares."""
    if term.window:
        return place_window(term.window, term.focus, size, generator)
    rows, columns = (int(torch.randint(term.jitter + 1, (), generator=generator)) for _ in size)
    return slice(rows, None), slice(columns, None)


def place_window(
    side: int, focus: float, size: Sequence[int], generator: torch.Generator
) -> tuple[slice, slice]:
    """Rows and columns of a square window.

    Args:
        side: pixels; no more than the picture has.
        focus: probability that it lies on eyes, nose and mouth (aligned faces only) instead of anywhere.
        size: height and width of the picture.
        generator: draws (CPU).
    """
    sides = [min(side, whole) for whole in size]
    rooms = [whole - taken for whole, taken in zip(size, sides, strict=True)]
    if focus and float(torch.rand((), generator=generator)) < focus:
        stray = (torch.rand(2, generator=generator) * 2 - 1) * WANDER + torch.tensor(FEATURES)
        starts = [
            min(max(0, round(float(at) * whole - taken / 2)), room)
            for at, whole, taken, room in zip(stray, size, sides, rooms, strict=True)
        ]
        return slice(starts[0], starts[0] + sides[0]), slice(starts[1], starts[1] + sides[1])
    # Places beyond the edge are drawn too and count as at the edge: the outermost pixels are then compared
    # half as often as the middle. Drawn from the room alone, they would be in one window of hundreds.
    beyond = side // 2
    rows, columns = (
        min(max(0, int(torch.randint(-beyond, room + beyond + 1, (), generator=generator))), room)
        for room in rooms
    )
    return slice(rows, rows + sides[0]), slice(columns, columns + sides[1])

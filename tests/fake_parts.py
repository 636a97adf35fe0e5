"""A pipeline whose detector, masker and network are made of functions."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from facemend.faces.mask import ellipse_mask
from facemend.faces.template import template_points
from facemend.imaging import Picture
from facemend.photo.networks import Networks
from facemend.predictors.restorer import FaceRestorer
from facemend.types import Box, Face
from fake_runner import FakeRunner

SIZE = 64


def make_face(x: float, y: float, side: int) -> Face:
    """A face whose aligned crop is the square of that side at (x, y)."""
    points = template_points(side) + np.array([x, y])
    return Face(Box(x, y, x + side, y + side), points.astype(np.float32), 0.99)


@dataclass
class FakeDetector:
    faces: list[Face]

    def detect(self, image, *, max_faces=None, turned=True):
        return self.faces[:max_faces]


class FakeMasker:
    def mask(self, crop):
        return ellipse_mask(len(crop))


@dataclass
class Network:
    """z = image; restored = z + (1 - w) * change(z); counts its runs and keeps what it saw.

    `says`: z -> one row of `Diagnosis` a face; None: it says nothing.
    """

    change: object = np.zeros_like
    says: object = None
    size: int = SIZE
    batches: list[int] = field(default_factory=list)
    seen: list[np.ndarray] = field(default_factory=list)

    def restored(self, z, w):
        return z + (1 - w) * self.change(z)

    def parts(self, faces: list[Face]) -> Networks:
        def encode(inputs):
            self.batches.append(len(inputs["image"]))
            self.seen.extend(inputs["image"])
            said = {"diagnosis": self.says(inputs["image"])} if self.says else {}
            return {"z": inputs["image"], **said}

        def decode(inputs):
            return {"restored": self.restored(inputs["z"], inputs["w"].reshape(-1, 1, 1, 1))}

        network = FaceRestorer(
            FakeRunner(encode, ["image"], ["z", *(["diagnosis"] if self.says else [])]),
            FakeRunner(decode, ["z", "w"], ["restored"]),
            self.size,
        )
        return Networks(network, FakeDetector(faces), FakeMasker())


def diagnosis_row(resolution=40, lpips=(0.3, 0.2, 0.25, 0.3, 0.35), photo=0.6, identity=(0.5,) * 5, jpeg=50):
    """As the graph gives it: an usual bad face, whose best w is 0.25."""
    return np.array([resolution, 2, 1, jpeg, *lpips, photo, *identity, 0.55, *np.full(5, 0.3)], np.float32)


def noise_picture(rng, height=150, width=200, dtype=np.uint8, **rest) -> Picture:
    """Soft blobs: so blurred that the detail of a restored face is always news."""
    base = cv2.GaussianBlur(rng.random((height, width, 3)), (0, 0), 20)
    base = (base - base.min()) / np.ptp(base) * 0.6 + 0.2
    return Picture((base * np.iinfo(dtype).max).astype(dtype), **rest)

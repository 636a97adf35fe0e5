"""Networks for films, made of functions: a face that is where the test says, a network that shakes."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from facemend.photo.networks import Networks
from facemend.predictors.restorer import FaceRestorer
from facemend.types import Face
from fake_parts import FakeMasker, make_face
from fake_runner import FakeRunner

SIZE = 64


@dataclass
class FilmDetector:
    """Sees `faces(number of the frame)`; a frame begins with each look that comes with a new picture."""

    faces: object
    looks: list[int] = field(default_factory=list)
    frame: int = -1
    last: object = None

    def _begin(self, image):
        if self.last is None or self.last is not image:
            self.frame, self.last = self.frame + 1, image

    def detect(self, image, *, max_faces=None, turned=True):
        self._begin(image)
        self.looks.append(self.frame)
        return self.faces(self.frame)[:max_faces]

    def follow(self, image, faces):
        self._begin(image)
        there = self.faces(self.frame)
        return [next((t for t in there if _near(t, f)), Face(f.box, f.landmarks, 0.0)) for f in faces]


def _near(a: Face, b: Face) -> bool:
    return float(np.abs(a.landmarks - b.landmarks).max()) < 0.2 * a.box.width


def still_face(x=40, y=30, side=60):
    """A face that never moves."""
    return lambda frame: [make_face(x, y, side)]


def film_parts(faces=None, *, change=lambda z: 0.3 - 0.3 * z, size=SIZE, says=None) -> Networks:
    """restored = z + (1 - w) * change(z); `says`: see `fake_parts.Network`."""

    def encode(inputs):
        return {"z": inputs["image"]} | ({"diagnosis": says(inputs["image"])} if says else {})

    network = FaceRestorer(
        FakeRunner(encode, ["image"], ["z", *(["diagnosis"] if says else [])]),
        FakeRunner(
            lambda inputs: {
                "restored": inputs["z"] + (1 - inputs["w"].reshape(-1, 1, 1, 1)) * change(inputs["z"])
            },
            ["z", "w"],
            ["restored"],
        ),
        size,
    )
    return Networks(network, FilmDetector(faces or still_face()), FakeMasker())


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())

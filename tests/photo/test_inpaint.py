"""Holes in faces are filled, and nothing but the hole is touched."""

import cv2
import numpy as np
import pytest

from facemend.errors import ConfigError, InputError
from facemend.imaging import Picture, rgb_to_ycbcr
from facemend.photo.inpaint import Inpainter
from facemend.predictors.detector import FaceDetector
from fake_parts import SIZE, Network, make_face, noise_picture

FACE = (40, 30, 80)


class Filler(Network):
    """Paints what is white in a colour between those of w = 0 and w = 1, and keeps the rest."""

    colours = np.array([[-0.6, -0.6, 0.0], [0.5, -0.2, -0.1]], np.float32)

    def restored(self, z, w):
        colour = (1 - w) * self.colours[0].reshape(1, 3, 1, 1) + w * self.colours[1].reshape(1, 3, 1, 1)
        return np.where((z == 1).all(1, keepdims=True), colour, z).astype(np.float32)


def inpainter(network, faces, **settings) -> Inpainter:
    return Inpainter(networks=network.parts(faces), model="fake", **settings)


def hole_at(x, y, radius, size=(150, 200)) -> np.ndarray:
    hole = np.zeros(size, np.uint8)
    cv2.circle(hole, (x, y), radius, 255, -1)
    return hole > 0


def mask_of(hole) -> Picture:
    return Picture.from_array(hole.astype(np.uint8) * 255)


def spoiled(picture, hole, rng) -> Picture:
    pixels = picture.pixels.copy()
    pixels[hole] = rng.integers(0, np.iinfo(pixels.dtype).max, (hole.sum(), 3))
    return Picture(pixels, picture.alpha)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_the_hole_changes_and_what_was_in_it_does_not_count(rng, dtype):
    picture = noise_picture(rng, dtype=dtype)
    hole = hole_at(80, 72, 12)
    networks = Filler(), Filler()
    results = [
        inpainter(network, [make_face(*FACE)]).inpaint(spoiled(picture, hole, rng), mask_of(hole))
        for network in networks
    ]
    first, second = (result.picture.pixels for result in results)
    assert np.array_equal(first, second)
    assert first.dtype == dtype
    assert np.array_equal(first[~hole], picture.pixels[~hole])
    assert np.array_equal(networks[0].seen[0], networks[1].seen[0])
    assert results[0].notes == ()
    assert results[0].w == 1
    assert np.abs(first[72, 80] / np.iinfo(dtype).max - (Filler.colours[1] / 2 + 0.5)).max() < 0.003
    (face,) = results[0].faces
    assert (face.crop[SIZE // 2, SIZE // 2] == 1).all()


def test_the_network_sees_the_hole_white_and_the_rest_as_it_is(rng):
    picture, hole = noise_picture(rng), hole_at(80, 72, 12)
    network, clean = Filler(), Filler()
    inpainter(network, [make_face(*FACE)]).inpaint(picture, mask_of(hole))
    inpainter(clean, [make_face(*FACE)]).inpaint(picture, mask_of(hole_at(42, 32, 1)))
    seen, whole = network.seen[0], clean.seen[0]
    white = (seen == 1).all(0)
    expected = cv2.resize(hole[30:110, 40:120].astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    assert white[expected > 0].all()
    assert white.sum() <= (cv2.dilate((expected > 0).astype(np.uint8), np.ones((5, 5))) > 0).sum()
    far = cv2.dilate(white.astype(np.uint8), np.ones((5, 5))) == 0
    far[:8, :8] = False
    assert np.abs(seen - whole)[:, far].max() < 1e-6


def test_w(rng):
    picture, mask = noise_picture(rng), mask_of(hole_at(80, 72, 12))
    results = [inpainter(Filler(), [make_face(*FACE)], w=w).inpaint(picture, mask) for w in (0.0, 0.5, 1.0)]
    reds = [int(result.picture.pixels[72, 80, 0]) for result in results]
    assert inpainter(Filler(), []).options.w == 1
    assert reds[0] != reds[1] != reds[2]


def test_the_filling_begins_as_its_surroundings_end(rng):
    """The step at the edge of the hole is small, though the network paints another colour."""
    picture, hole = noise_picture(rng), hole_at(80, 72, 14)
    result = inpainter(Filler(), [make_face(*FACE)]).inpaint(spoiled(picture, hole, rng), mask_of(hole))
    pixels = result.picture.as_float()
    outer = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3))) > 0
    inner = cv2.erode(hole.astype(np.uint8), np.ones((3, 3))) > 0
    rim, near = pixels[outer & ~hole].mean(0), pixels[hole & ~inner].mean(0)
    painted = Filler.colours[1] / 2 + 0.5
    assert np.abs(painted - rim).max() > 0.2
    assert np.abs(near - rim).max() < 0.5 * np.abs(painted - rim).max()
    assert np.abs(pixels[72, 80] - painted).max() < 1 / 255


def test_what_lies_outside_the_faces_is_left_and_told(rng):
    picture = noise_picture(rng)
    hole = hole_at(80, 72, 10) | hole_at(170, 130, 10)
    result = inpainter(Filler(), [make_face(*FACE)]).inpaint(picture, mask_of(hole))
    assert result.notes == ("50% of what the mask covers lies outside the faces and was left as it is",)
    away = hole_at(170, 130, 10)
    assert np.array_equal(result.picture.pixels[away], picture.pixels[away])
    network = Filler()
    nothing = inpainter(network, [make_face(*FACE)]).inpaint(picture, mask_of(away))
    assert nothing.notes == ("the mask touches no face: the photo was left as it is",)
    assert np.array_equal(nothing.picture.pixels, picture.pixels)
    assert (nothing.faces, network.batches) == ((), [])


def test_only_faces_with_a_hole_are_run(rng):
    faces = [make_face(0, 30, 70), make_face(110, 40, 70)]
    network = Filler()
    result = inpainter(network, faces).inpaint(noise_picture(rng), mask_of(hole_at(145, 75, 8)))
    assert network.batches == [1]
    assert [(number, face.face) for number, face in result.numbered()] == [(2, faces[1])]
    assert result.notes == ()


def test_a_hole_over_two_faces_is_filled_by_both(rng):
    faces = [make_face(0, 30, 90), make_face(100, 30, 90)]
    hole = np.zeros((150, 200), bool)
    hole[70:80, 30:160] = True
    network = Filler()
    result = inpainter(network, faces).inpaint(noise_picture(rng), mask_of(hole))
    assert network.batches == [2]
    assert len(result.faces) == 2
    changed = (result.picture.pixels != noise_picture(np.random.default_rng(0)).pixels).any(2)
    assert changed[75, 35:75].all()
    assert changed[75, 125:155].all()


def test_without_a_face_nothing_happens(rng):
    picture = noise_picture(rng)
    result = inpainter(Filler(), []).inpaint(picture, mask_of(hole_at(80, 72, 10)))
    assert np.array_equal(result.picture.pixels, picture.pixels)
    assert result.notes == ("no face found: the photo was left as it is",)


@pytest.mark.parametrize("upright", [True, False])
def test_gray_and_sepia_keep_their_tone(rng, upright):
    plane = noise_picture(rng).as_float()[..., :1]
    tone = np.zeros(3) if upright else np.array([0.08, 0.0, -0.1])
    picture = Picture.from_array(np.clip(plane + tone, 0, 1).astype(np.float32))
    picture = Picture(picture.pixels, gray=upright)
    hole = hole_at(80, 72, 12)
    result = inpainter(Filler(), [make_face(*FACE)]).inpaint(picture, mask_of(hole))
    assert result.picture.gray == upright
    if upright:
        assert np.ptp(result.picture.pixels.astype(int), axis=2).max() == 0
    before, after = (rgb_to_ycbcr(p.as_float())[60:84, 68:92, 1:] for p in (picture, result.picture))
    assert np.abs(after - before).max() < 0.02
    assert (result.picture.pixels[hole] != picture.pixels[hole]).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_and_metadata_are_kept(rng, dtype):
    alpha = np.tile(np.linspace(0, np.iinfo(dtype).max, 200).astype(dtype), (150, 1))
    picture = noise_picture(rng, dtype=dtype, alpha=alpha, icc=b"profile", exif=b"Exif\0\0x", format="tiff")
    result = inpainter(Filler(), [make_face(*FACE)]).inpaint(picture, mask_of(hole_at(80, 72, 9))).picture
    assert np.array_equal(result.alpha, alpha)
    assert (result.icc, result.exif, result.format) == (picture.icc, picture.exif, picture.format)


@pytest.mark.parametrize("size", [(64, 64), (40, 40), (200, 200), (130, 97)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_aligned_crops_are_filled_to_their_borders(rng, size, dtype):
    picture = noise_picture(rng, *size, dtype=dtype)
    hole = np.zeros(size, bool)
    hole[: size[0] // 3, : size[1] // 2] = True
    result = inpainter(Filler(), [], aligned=True).inpaint(picture, mask_of(hole))
    assert np.array_equal(result.picture.pixels[~hole], picture.pixels[~hole])
    assert (result.picture.pixels != picture.pixels).any(2)[hole].mean() > 0.9
    assert bool(result.notes) == (size[0] != size[1])
    assert len(result.faces) == 1


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((150, 200), np.uint8), "nothing in the mask is white"),
        (np.full((150, 200), 255, np.uint8), "the whole mask is white"),
        (np.full((10, 20), 255, np.uint8), "the mask is 20x10 and the photo 200x150"),
    ],
)
@pytest.mark.parametrize("aligned", [True, False])
def test_masks_that_do_not_fit(rng, mask, message, aligned):
    network = Filler()
    with pytest.raises(InputError, match=message):
        inpainter(network, [make_face(*FACE)], aligned=aligned).inpaint(
            noise_picture(rng), Picture.from_array(mask)
        )
    assert network.batches == []


def test_options_that_do_not_go_with_it():
    with pytest.raises(ConfigError, match="upscale must be 1 with inpaint"):
        inpainter(Filler(), [], upscale=2)
    with pytest.raises(ConfigError, match="w must be"):
        inpainter(Filler(), [], w=2)


def test_parts_are_told(rng):
    told = []
    work = inpainter(Filler(), [make_face(*FACE)])
    work.inpaint(noise_picture(rng), mask_of(hole_at(80, 72, 9)), on_part=told.append)
    assert told == ["prepare", "detect", "align", "encode", "decode", "paste"]


def test_a_partly_covered_face_is_found(portrait, task_model):
    """Black over both eyes hides it from the detector; the plain filling does not."""
    detector = FaceDetector(threads=1)
    (face,) = detector.detect(portrait.as_float())
    hole = np.zeros((portrait.height, portrait.width), np.uint8)
    eyes = [tuple(int(value) for value in point) for point in face.landmarks[:2]]
    cv2.line(hole, *eyes, 255, 60)
    pixels = portrait.pixels.copy()
    pixels[hole > 0] = 0
    covered = Picture(pixels)
    assert detector.detect(covered.as_float()) == []
    model = task_model("inpainting", tint=(-0.6, -1.0, -1.2))  # white becomes a skin tone
    result = Inpainter(model=str(model), threads=1).inpaint(covered, Picture.from_array(hole))
    (found,) = result.faces
    assert np.abs(found.face.landmarks - face.landmarks).mean() < 0.15 * np.ptp(face.landmarks[:, 0])
    assert np.array_equal(result.picture.pixels[hole == 0], pixels[hole == 0])
    assert result.picture.pixels[hole > 0].mean() > 60
    assert result.notes == ()

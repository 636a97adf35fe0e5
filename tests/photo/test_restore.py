"""The photo pipeline, with a network made of a function."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facemend.errors import ConfigError, InputError
from facemend.faces.align import align
from facemend.imaging import BROAD, Picture, match_broad_colours, read_picture, rgb_to_ycbcr
from facemend.photo.networks import Networks
from facemend.photo.restore import Restorer
from facemend.predictors.detector import FaceDetector
from facemend.types import Box, Face
from fake_parts import SIZE, Network, make_face, noise_picture

FACE = make_face(40, 30, 80)
CENTRE = np.s_[68:72, 78:82]


def brighter(z):
    """A spot, small beside what is broad."""
    bump = np.zeros_like(z)
    bump[:, :, SIZE // 2 - 3 : SIZE // 2 + 3, SIZE // 2 - 3 : SIZE // 2 + 3] = 0.4
    return bump


def redder(z):
    change = brighter(z)
    change[:, 1:] *= -1
    return change


def restored(picture, found=(FACE,), change=None, *, size=SIZE, **settings):
    """By a network that makes that change at w = 0."""
    networks = Network(change or brighter, size=size).parts(list(found))
    return Restorer(networks=networks, **{"w": 0, **settings}).restore(picture)


@pytest.mark.parametrize("upscale", [1, 2, 4])
@pytest.mark.parametrize("size", [(150, 200), (97, 131), (1, 1), (2, 300)])
def test_output_is_the_input_times_upscale(rng, upscale, size):
    picture = noise_picture(rng, *size)
    for found in ([make_face(20, 20, 70)] if min(size) > 50 else [], []):
        result = restored(picture, found, upscale=upscale)
        assert result.picture.pixels.shape == (size[0] * upscale, size[1] * upscale, 3)


def test_the_face_changes_and_nothing_else(rng):
    picture = noise_picture(rng)
    result = restored(picture)
    changed = (result.picture.pixels != picture.pixels).any(axis=2)
    ys, xs = np.nonzero(changed)
    assert changed[70, 80]
    assert 30 <= ys.min() <= ys.max() <= 110
    assert 40 <= xs.min() <= xs.max() <= 120
    gain = result.picture.pixels[CENTRE].astype(int) - picture.pixels[CENTRE].astype(int)
    assert 30 <= gain.mean() <= 51  # 0.4 of [-1, 1] is 51 of 255; what is broad of it stays the photo's


@pytest.mark.parametrize("colours", ["gray", "colour"])
def test_a_network_that_lightens_the_whole_face_leaves_its_light(rng, colours):
    picture = noise_picture(rng)
    if colours == "gray":
        picture = Picture(picture.pixels[..., :1].repeat(3, axis=2))
    result = restored(picture, change=lambda z: np.full_like(z, 0.3))
    assert np.abs(result.picture.pixels.astype(int) - picture.pixels).max() <= 1


def test_w_reaches_the_network(rng):
    picture = noise_picture(rng)
    means = [restored(picture, w=w).picture.pixels[CENTRE].mean() for w in (0, 0.5, 1)]
    assert means[0] > means[1] + 15 > means[2] + 30
    assert abs(means[2] - picture.pixels[CENTRE].mean()) < 2


def test_no_face_leaves_the_photo_as_it_is_and_says_so(rng):
    picture, network = noise_picture(rng), Network(brighter)
    result = Restorer(networks=network.parts([])).restore(picture)
    assert np.array_equal(result.picture.pixels, picture.pixels)
    assert (result.faces, network.batches) == ((), [])
    assert any("no face found" in note for note in result.notes)


def test_faces_are_batched_and_each_is_restored(rng):
    network = Network(brighter)
    faces = [make_face(0, 0, 60), make_face(70, 10, 60), make_face(130, 80, 60)]
    picture = noise_picture(rng)
    result = Restorer(networks=network.parts(faces), w=0).restore(picture)
    assert network.batches == [3]
    assert [restored.face for restored in result.faces] == faces
    for x, y in ((30, 30), (100, 40), (160, 110)):
        assert result.picture.pixels[y, x].mean() > picture.pixels[y, x].mean() + 25


def test_photos_together_are_as_one_by_one(rng):
    network = Network(brighter)
    restorer = Restorer(networks=network.parts([]), w=0.3, upscale=2)
    found = iter([[make_face(0, 0, 60), make_face(70, 10, 60)], [], [make_face(40, 30, 80)]] * 2)
    restorer._networks.detector.detect = lambda image: next(found)
    pictures = [noise_picture(rng), noise_picture(rng, height=60), noise_picture(rng, width=150)]
    together = restorer.restore_many(pictures)
    assert network.batches == [3]  # all faces of all photos at once
    for result, picture in zip(together, pictures, strict=True):
        alone = restorer.restore(picture)
        assert np.array_equal(result.picture.pixels, alone.picture.pixels)
        assert result.notes == alone.notes
        assert len(result.faces) == len(alone.faces)
    assert together[0].seconds["encode"] == together[2].seconds["encode"] > 0
    again = restorer.redo(together[2], 0.9)  # what is kept is that photo's alone
    assert len(again.faces) == 1
    assert restorer.restore_many([]) == []


@pytest.mark.parametrize(("choice", "kept"), [("largest", 1), ("center", 0)])
def test_selection_lists_the_others_as_skipped(rng, choice, kept):
    faces = [make_face(80, 55, 40), make_face(0, 0, 70)]
    result = restored(noise_picture(rng), faces, faces=choice)
    assert [restored.face for restored in result.faces] == [faces[kept]]
    (skipped,) = result.skipped
    assert skipped.face is faces[1 - kept]
    assert skipped.reason == "not chosen"
    ((number, face),) = result.numbered()  # by which the same face is found again
    same = restored(noise_picture(rng), faces, faces=(number - 1,))
    assert [each.face for each in same.faces] == [face.face]


def test_faces_by_index_keep_their_numbers(rng):
    faces = [make_face(x, 20, side) for x, side in ((5, 40), (70, 8), (80, 50), (140, 45))]
    network = Network(lambda z: 0.3 - z)
    restorer = Restorer(networks=network.parts(faces), faces=(2, 0, 2))
    result = restorer.restore(noise_picture(rng))  # the face of 8 pixels is none to choose from
    assert [(number, face.face) for number, face in result.numbered()] == [(1, faces[0]), (3, faces[3])]
    assert network.batches == [2]
    assert [skipped.face for skipped in result.skipped] == [faces[1], faces[2]]
    assert [number for number, _ in restorer.redo(result, 0.2, faces=[1]).numbered()] == [3]
    with pytest.raises(InputError, match="there is no face 4: 3 found"):
        Restorer(networks=network.parts(faces), faces=(3,)).restore(noise_picture(rng))


def test_small_faces_are_skipped_with_the_reason(rng):
    faces = [make_face(10, 10, 20), make_face(80, 30, 70)]
    result = restored(noise_picture(rng), faces, min_face=30)
    assert [restored.face for restored in result.faces] == [faces[1]]
    assert "20 px" in result.skipped[0].reason


def test_a_face_with_unusable_landmarks_does_not_stop_the_others(rng):
    bad = Face(Box(0, 0, 50, 50), np.full((5, 2), np.nan, np.float32), 0.9)
    good = make_face(80, 30, 70)
    result = restored(noise_picture(rng), [bad, good])
    assert [restored.face for restored in result.faces] == [good]
    assert [skipped.face for skipped in result.skipped] == [bad]


def test_redo_equals_a_fresh_run_and_does_not_encode_again(rng):
    picture = noise_picture(rng)
    network = Network(brighter)
    restorer = Restorer(networks=network.parts([FACE]), w=0.2, upscale=2)
    again = restorer.redo(restorer.restore(picture), 0.8)
    assert network.batches == [1]
    fresh = Restorer(restorer.options, networks=network.parts([FACE]), w=0.8).restore(picture)
    assert np.array_equal(again.picture.pixels, fresh.picture.pixels)
    assert (again.w, fresh.w) == (0.8, 0.8)
    with pytest.raises(ConfigError):
        restorer.redo(again, 1.1)


@pytest.mark.parametrize("upscale", [1, 2])
def test_gray_stays_gray(rng, upscale):
    gray = noise_picture(rng).pixels[..., :1]
    picture = Picture(np.repeat(gray, 3, axis=2))
    result = restored(picture, change=redder, upscale=upscale)
    pixels = result.picture.pixels.astype(int)
    assert np.ptp(pixels, axis=2).max() == 0
    assert not np.array_equal(pixels[:: 1 if upscale == 1 else 2, ::upscale], picture.pixels)


def test_sepia_keeps_its_tint(rng):
    gray = noise_picture(rng).as_float()[..., :1]
    sepia = np.clip(gray + np.array([0.08, 0.0, -0.1]), 0, 1).astype(np.float32)
    picture = Picture.from_array(sepia)
    result = restored(picture, change=redder)
    before, after = (rgb_to_ycbcr(p.as_float())[66:74, 76:84] for p in (picture, result.picture))
    assert np.abs(after[..., 0] - before[..., 0]).max() > 0.02  # luma was restored
    assert np.abs(after[..., 1:] - before[..., 1:]).max() < 0.01  # the tint is the photo's


def rosy(z):
    change = np.full_like(z, 0.3)
    change[:, 1:] *= -1
    return change


@pytest.mark.parametrize(("change", "low", "high"), [(redder, 0.1, 0.25), (rosy, -0.01, 0.01)])
def test_fine_colour_is_restored_and_broad_colour_stays_the_photos(rng, change, low, high):
    picture = noise_picture(rng)
    result = restored(picture, change=change)
    before, after = (rgb_to_ycbcr(p.as_float())[CENTRE][..., 2].mean() for p in (picture, result.picture))
    assert low < after - before < high


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("upscale", [1, 2])
def test_depth_alpha_and_metadata_are_kept(rng, dtype, upscale):
    top = np.iinfo(dtype).max
    alpha = np.tile(np.linspace(0, top, 200).astype(dtype), (150, 1))
    picture = noise_picture(rng, dtype=dtype, alpha=alpha, icc=b"profile", exif=b"Exif\0\0x", format="tiff")
    result = restored(picture, upscale=upscale).picture
    assert result.pixels.dtype == result.alpha.dtype == dtype
    assert result.alpha.shape == result.pixels.shape[:2]
    assert (result.icc, result.exif, result.format) == (picture.icc, picture.exif, picture.format)
    if upscale == 1:
        assert np.array_equal(result.alpha, alpha)
        assert np.array_equal(result.pixels[:25], picture.pixels[:25])
    else:
        assert np.abs(result.alpha[::2, ::2].astype(int) - alpha).max() < 0.01 * top


@pytest.mark.parametrize("size", [(64, 64), (40, 40), (200, 200), (130, 97), (1, 1)])
@pytest.mark.parametrize("upscale", [1, 2])
def test_aligned_crops_come_out_at_least_as_large_as_the_network_draws_them(rng, size, upscale):
    picture = noise_picture(rng, *size)
    restorer = Restorer(networks=Network(brighter).parts([]), aligned=True, w=0, upscale=upscale)
    result = restorer.restore(picture)
    larger = max(upscale, SIZE / max(size))
    assert result.picture.pixels.shape == (round(size[0] * larger), round(size[1] * larger), 3)
    asked = Restorer(networks=Network(brighter).parts([]), aligned=True, size=50).restore(picture)
    assert max(asked.picture.pixels.shape) == 50
    assert len(result.faces) == 1
    assert bool(result.notes) == (size[0] != size[1])
    assert restorer.restore_aligned(picture).picture.pixels.shape == result.picture.pixels.shape


def test_aligned_at_the_models_size_is_the_networks_output_in_broad_colours_of_the_photo(rng):
    picture = noise_picture(rng, SIZE, SIZE)
    result = restored(picture, aligned=True)
    drawn = picture.as_float() + brighter(np.zeros((1, 3, SIZE, SIZE), np.float32))[0].transpose(1, 2, 0) / 2
    expected = match_broad_colours(drawn, picture.as_float(), BROAD * SIZE)
    assert np.abs(result.picture.as_float() - np.clip(expected, 0, 1)).max() <= 0.5 / 255 + 1e-6


def blurred(z):
    """What turns faces into blurred ones."""
    return np.stack([cv2.GaussianBlur(c.transpose(1, 2, 0), (0, 0), 2).transpose(2, 0, 1) for c in z]) - z


@pytest.mark.parametrize("change", [np.zeros_like, blurred])
def test_a_sharp_aligned_crop_larger_than_the_model_keeps_its_detail(change):
    image = read_picture(Path(__file__).parents[1] / "data/portrait.jpg").as_float()
    (face,) = FaceDetector(threads=1).detect(image)
    picture = Picture.from_array(align(image, face, 400).crop)
    result = restored(picture, change=change, size=256, aligned=True)

    def fine(p):
        plane = p.as_float().mean(axis=2)
        return float((plane - cv2.GaussianBlur(plane, (0, 0), 2)).std())

    assert fine(result.picture) > 0.9 * fine(picture)


@pytest.mark.parametrize("factor", [1.5, 4])
def test_an_aligned_crop_larger_than_the_model_is_restored_to_its_edge(factor):
    picture = Picture(np.full((int(factor * 64),) * 2 + (3,), 128, np.uint8))
    stripes = np.where(np.arange(64) % 8 < 4, 0.5, -0.5).astype(np.float32)[:, None]
    pixels = restored(picture, change=lambda z: 0 * z + stripes, size=64, aligned=True).picture.pixels.astype(
        int
    )
    assert pixels[:, len(pixels) // 2].std() > 30
    assert np.abs(pixels - pixels[:, len(pixels) // 2, None]).max() <= 1


def test_too_large_an_output_is_refused_before_any_work(rng):
    picture = noise_picture(rng, 100, 100)
    network = Network()
    restorer = Restorer(networks=network.parts([make_face(0, 0, 90)]), upscale=4, max_pixels=100_000)
    with pytest.raises(InputError, match=r"100x100.*upscale 4.*use a smaller upscale"):
        restorer.restore(picture)
    assert network.batches == []


def test_a_restorer_for_aligned_crops_says_that_it_cannot_do_photos(rng):
    restorer = Restorer(networks=Networks(Network().parts([]).restorer), aligned=True)
    photos = Restorer(networks=restorer._networks)
    with pytest.raises(InputError, match="aligned"):
        photos.restore(noise_picture(rng))


def test_result_tells_what_was_done(rng):
    result = restored(noise_picture(rng), w=0.3)
    assert {"detect", "align", "encode", "decode", "mask", "paste"} <= set(result.seconds)
    assert all(value >= 0 for value in result.seconds.values())
    (face,) = result.faces
    assert face.crop.shape == face.restored.shape == (SIZE, SIZE, 3)
    assert face.matrix.shape == (2, 3)
    assert result.w == 0.3


def test_real_parts_find_and_change_the_face_of_a_photo(portrait, tiny_model):
    result = Restorer(model=str(tiny_model), w=0.5, threads=1).restore(portrait)
    (face,) = result.faces
    changed = (result.picture.pixels != portrait.pixels).any(axis=2)
    box = face.face.box
    inside = np.s_[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)]
    assert changed[inside].mean() > 0.5
    assert not changed[int(2.2 * box.y2) :].any()

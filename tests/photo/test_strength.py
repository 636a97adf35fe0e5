"""How much of the restored face is shown."""

import numpy as np
import pytest

from facemend.errors import ConfigError
from facemend.photo.restore import Restorer
from fake_parts import Network, make_face, noise_picture


def brighter(z):
    return np.full_like(z, 0.1) + 0.2 * np.sign(np.sin(np.arange(z.shape[-1]) / 3)).astype(np.float32)


def restored(picture, **settings):
    return Restorer(networks=Network(brighter).parts([make_face(40, 30, 80)]), w=0, **settings).restore(
        picture
    )


@pytest.mark.parametrize(
    ("size", "settings"),
    [(150, {}), (150, {"upscale": 2}), (150, {"aligned": True}), (40, {"aligned": True})],
)
@pytest.mark.parametrize("gray", [False, True])
def test_a_part_lies_between_the_photo_and_the_restored_one(rng, size, settings, gray):
    picture = noise_picture(rng, size, size, np.uint16, gray=gray)
    if gray:
        picture.pixels[...] = picture.pixels[..., :1].copy()
    none, part, default, full = (
        restored(picture, **settings, **strength).picture.pixels.astype(int)
        for strength in ({"strength": 0}, {"strength": 0.25}, {}, {"strength": 1})
    )
    photo = picture.resized(none.shape[1] / picture.width)
    assert np.array_equal(none, photo.pixels)
    assert np.array_equal(default, full)
    assert np.abs(full - none).max() > 2000
    assert np.abs(part - (none + 0.25 * (full - none))).max() <= 2


def test_nothing_of_it_is_the_very_photo(rng):
    picture = noise_picture(rng)
    result = restored(picture, strength=0)
    assert result.picture is picture  # so that a folder copies the file byte for byte
    assert len(result.faces) == 1


def test_redo_takes_another_and_does_not_encode_again(rng):
    picture, network = noise_picture(rng), Network(brighter)
    restorer = Restorer(networks=network.parts([make_face(40, 30, 80)]), w=0)
    again = restorer.redo(restorer.restore(picture), 0.3, strength=0.5)
    assert network.batches == [1]
    fresh = Restorer(networks=network.parts([make_face(40, 30, 80)]), w=0.3, strength=0.5).restore(picture)
    assert np.array_equal(again.picture.pixels, fresh.picture.pixels)
    with pytest.raises(ConfigError, match="strength must be"):
        restorer.redo(again, 0.3, strength=1.5)

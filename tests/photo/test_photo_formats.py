"""A photo file through the whole restoration: outside the face not a bit changes, where the format can."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from test_restore import brighter

from facemend.imaging import Outputs, read_picture
from facemend.imaging.formats import FORMATS
from facemend.photo.file import do_file
from facemend.photo.restore import Restorer
from fake_parts import Network, make_face
from picture_files import SRGB, Metadata, exif_block, make_file, open_file, xmp_packet

FACE = np.s_[30:111, 40:121]
LOSSLESS = [
    ("png", 8, True),
    ("png", 16, True),
    ("tiff", 8, True),
    ("tiff", 16, True),
    ("webp", 8, True),
    ("heif", 8, True),
    ("heif", 10, False),
    ("bmp", 8, False),
    ("avif", 8, True),
]


def photo(bits: int, alpha: bool, rng: np.random.Generator) -> np.ndarray:
    """Soft blobs, noise on them and all of alpha, (150, 200, C)."""
    base = cv2.GaussianBlur(rng.random((150, 200, 3)), (0, 0), 20)
    base = (base - base.min()) / np.ptp(base) * 0.6 + 0.2 + rng.normal(0, 0.01, base.shape)
    channels = [base, np.tile(np.linspace(0, 1, 200), (150, 1))[..., None]] if alpha else [base]
    values = np.clip(np.concatenate(channels, axis=2), 0, 1) * ((1 << bits) - 1)
    return np.rint(values).astype(np.uint8 if bits == 8 else np.uint16)


def lossless_file(format: str, stored: np.ndarray, bits: int) -> bytes:
    if format == "avif":  # Pillow and pillow-heif cannot
        order = [2, 1, 0, 3][: stored.shape[2]]
        return bytes(cv2.imencode(".avif", stored[..., order], [cv2.IMWRITE_AVIF_QUALITY, 100])[1])
    icc = None if format in ("bmp", "heif") else SRGB
    metadata = Metadata() if format == "bmp" else Metadata(icc, exif_block(1), xmp_packet(1))
    options = {"lossless": True, "exact": True} if format == "webp" else {}
    return make_file(format, stored, metadata, bits=bits, **options)


@pytest.mark.parametrize(("format", "bits", "alpha"), LOSSLESS)
def test_outside_the_face_not_a_bit_changes(
    format: str, bits: int, alpha: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    stored = photo(bits, alpha, rng)
    suffix = FORMATS[format].suffixes[0]
    (tmp_path / f"in{suffix}").write_bytes(lossless_file(format, stored, bits))
    restorer = Restorer(networks=Network(brighter).parts([make_face(40, 30, 80)]), w=0)
    _, result = do_file(restorer.restore, tmp_path / f"in{suffix}")
    outputs = Outputs([tmp_path / f"in{suffix}"], overwrite=False)
    outputs.claim(tmp_path / f"out{suffix}")
    outputs.save(tmp_path / f"out{suffix}", result.picture)

    opened = open_file((tmp_path / f"out{suffix}").read_bytes())
    assert opened.bits == bits
    changed = (opened.pixels != stored).any(axis=2)
    assert changed[60:80, 70:90].mean() > 0.5
    changed[FACE] = False
    assert not changed.any()
    if alpha:
        np.testing.assert_array_equal(opened.pixels[..., 3], stored[..., 3])


@pytest.mark.parametrize("quality", [60, 95])
def test_a_jpeg_loses_little_and_keeps_its_look(
    quality: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    (tmp_path / "in.jpg").write_bytes(make_file("jpeg", photo(8, False, rng), quality=quality))
    restorer = Restorer(networks=Network(brighter).parts([make_face(40, 30, 80)]), w=0)
    before, result = do_file(restorer.restore, tmp_path / "in.jpg")
    outputs = Outputs([], overwrite=False)
    outputs.save(tmp_path / "out.jpg", result.picture)
    after = read_picture(tmp_path / "out.jpg")
    difference = np.abs(after.pixels.astype(int) - before.pixels)
    difference[FACE] = 0
    assert difference.mean() < 1
    assert after.coding.subsampling == before.coding.subsampling == "4:2:0"
    assert (after.coding == before.coding) == (quality == 95)


def test_what_the_file_could_not_keep_is_told(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (60, 50), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "in.gif", save_all=True, append_images=frames[1:])
    restorer = Restorer(networks=Network().parts([]))
    _, result = do_file(restorer.restore, tmp_path / "in.gif")
    assert result.notes[0] == "has several frames or pages: only the first is used"
    assert "no face found" in result.notes[1]

"""What a large photo takes of memory, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facemend.imaging import Picture, resize, write_picture

CODE = """
from facemend.cli.app import main
try:
    main()
finally:
    print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def peak(*arguments):
    """Most memory that `facemend restore` had, bytes."""
    words = [sys.executable, "-c", CODE, "restore", "--threads", "1", *map(str, arguments)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return 1024 * int(done.stdout.split()[-1])


@pytest.fixture
def flat(portrait, tmp_path):
    """Makes a file of few bytes: a face on a plain ground."""

    def make(width, height):
        pixels = np.full((height, width, 3), (90, 120, 150), np.uint8)
        face = resize(portrait.pixels, (640, 800), "bicubic")
        pixels[100 : 100 + len(face), 100 : 100 + face.shape[1]] = face
        path = tmp_path / f"{width}.png"
        write_picture(path, Picture(pixels))
        return path

    return make


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells it so")
@pytest.mark.parametrize(("size", "upscale"), [((8000, 5000), 1), ((4000, 2500), 2)])
def test_a_large_photo_takes_few_bytes_a_pixel(flat, tiny_model, tmp_path, size, upscale):
    """The detector looks at 2048 pixels a side whatever the size, which is no matter of the photo's."""
    options = ("--upscale", upscale, "--model", tiny_model)
    bare = peak(flat(2048, 2048), "-o", tmp_path / "bare.png", "--upscale", 1, "--model", tiny_model)
    whole = peak(flat(*size), "-o", tmp_path / "out.png", *options)
    pixels = size[0] * size[1] * upscale**2
    assert (whole - bare) / pixels < 7.5

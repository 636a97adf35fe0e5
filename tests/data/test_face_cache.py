"""The cache of decoded pictures: bounded, shared by threads, and without a say in what is drawn."""

import itertools
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facemend.data.augment import Augmentation
from facemend.data.face_cache import FaceCache
from facemend.data.faces import FaceStream, Folder, batches, read_faces
from facemend.degradations import preset
from facemend.errors import InputError

PICTURE = 8 * 8 * 3


def numbered(file):
    return np.full((8, 8, 3), int(file.stem), np.uint8)


def files(count):
    return [Path(f"{number}.png") for number in range(count)]


def test_the_least_recently_used_goes_first():
    read = []
    cache = FaceCache(2 * PICTURE, lambda file: read.append(file.stem) or numbered(file))
    a, b, c = files(3)
    for file in (a, b, a, c, a, b, c):  # c drops b, b drops c, c drops a
        assert (cache[file] == int(file.stem)).all()
    assert read == ["0", "1", "2", "1", "2"]
    assert cache.held == 2 * PICTURE


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (PICTURE - 1, 0), (PICTURE, 1), (3.5 * PICTURE, 3)])
def test_never_more_than_the_limit(limit, kept):
    cache = FaceCache(limit, numbered)
    for file in files(6) * 2:
        assert (cache[file] == int(file.stem)).all()
        assert cache.held <= limit
    assert cache.held == kept * PICTURE


def test_pictures_are_shared_and_cannot_be_written_on():
    cache = FaceCache(PICTURE, numbered)
    (file,) = files(1)
    assert cache[file] is cache[file]
    with pytest.raises(ValueError, match="read-only"):
        cache[file][0, 0] = 1


def ask_while_it_is_read(cache, file, begun, go_on):
    """Outcomes of four threads that ask for a file while it is being read."""
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(cache.__getitem__, file) for _ in range(4)]
        assert begun.wait(10)
        while not all(future.running() for future in asked):
            time.sleep(0.001)
        time.sleep(0.05)
        assert not any(future.done() for future in asked)
        go_on.set()
        return [future.exception(10) or future.result() for future in asked]


def test_threads_do_not_decode_the_same_picture_at_once():
    begun, go_on, read = threading.Event(), threading.Event(), []

    def slow(file):
        read.append(file)
        begun.set()
        assert go_on.wait(10)
        return numbered(file)

    (file,) = files(1)
    outcomes = ask_while_it_is_read(FaceCache(PICTURE, slow), file, begun, go_on)
    assert read == [file]
    assert len({id(pixels) for pixels in outcomes}) == 1


def test_an_error_reaches_all_that_wait_and_is_not_kept():
    begun, go_on, tries = threading.Event(), threading.Event(), itertools.count()

    def fails_first(file):
        if next(tries) == 0:
            begun.set()
            assert go_on.wait(10)
            raise InputError(f"{file}: no such file")
        return numbered(file)

    (file,) = files(1)
    cache = FaceCache(PICTURE, fails_first)
    outcomes = ask_while_it_is_read(cache, file, begun, go_on)
    assert any(isinstance(outcome, InputError) for outcome in outcomes)
    # A thread that came late reads again; nobody waits for ever.
    assert all(isinstance(outcome, InputError) or not outcome.any() for outcome in outcomes)
    assert (cache[file] == 0).all()


def test_many_threads_and_a_small_cache():
    """Pictures of several sizes: the limit is of bytes."""
    held, limit = [], 3.5 * PICTURE

    def read(file):
        held.append(cache.held)
        return np.full((2 + int(file.stem),) * 2 + (3,), int(file.stem), np.uint8)

    cache = FaceCache(limit, read)
    asked = [files(14)[i] for i in np.random.default_rng(0).integers(0, 14, 1500)]
    with ThreadPoolExecutor(8) as pool:
        for file, pixels in zip(asked, pool.map(cache.__getitem__, asked), strict=True):
            assert (pixels == int(file.stem)).all()
    assert 0 < cache.held <= max(held) <= limit
    large = files(14)[-1]  # alone it is too large to be kept
    assert cache[large] is not cache[large]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """60 pictures of 256 px: 12 MB decoded."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(1)
    for number in range(60):
        rough = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        rough.resize((256, 256), Image.Resampling.BICUBIC).save(folder / f"{number:02}.webp")
    return folder


def test_samples_do_not_depend_on_cache_or_workers(folder):
    view = Augmentation(crop=(0.7, 1.1), rotate=8, shift=0.05, light=0.1, occlude=0.3)

    def samples(cache_mb, workers, start, steps):
        faces = read_faces([Folder(folder)], 256, cache_mb=cache_mb)
        stream = FaceStream(faces, 64, view, preset("mixed"), seed=2)
        for batch in batches(stream, 3, start, steps, workers):
            assert faces.cache.held <= cache_mb << 20
            yield batch

    def equal(some, others):
        return all(torch.equal(a[key], b[key]) for a, b in zip(some, others, strict=True) for key in a | b)

    whole = list(samples(2048, 1, 0, 12))
    for cache_mb, workers in ((0, 1), (0, 3), (1, 2), (1, 3), (2048, 3)):
        assert equal(samples(cache_mb, workers, 0, 12), whole)
    # A run that goes on at batch 5 sees what it would have seen, though its cache is empty.
    assert equal(samples(1, 2, 5 * 3, 7), whole[5:])


RESIDENT = """
import re, sys
from pathlib import Path
from facemend.data.augment import Augmentation
from facemend.data.faces import FaceStream, Folder, batches, read_faces
def peak():  # not getrusage: its peak begins with that of the process that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
faces = read_faces([Folder(Path(sys.argv[1]))], 1024, cache_mb=int(sys.argv[2]))
stream = FaceStream(faces, 64, Augmentation(), None, seed=0)
def draw(first, steps):
    for _ in batches(stream, 4, first, steps, workers=2):
        pass
draw(0, 1)
before = peak()
draw(4, 40)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_memory_stays_within_the_limit(tmp_path):
    """80 pictures of 1024 px are 240 MB: with a cache of 24 MB they do not stay, with one of 2048 they do."""
    for number in range(80):
        Image.new("RGB", (1024, 1024), (number, 0, 0)).save(tmp_path / f"{number:02}.jpg")
    grown = []
    for limit in ("24", "2048"):
        command = [sys.executable, "-c", RESIDENT, str(tmp_path), limit]
        grown.append(float(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout))
    assert grown[0] < 90 < 150 < grown[1]

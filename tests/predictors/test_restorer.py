from __future__ import annotations

import numpy as np
import pytest

from facemend.errors import BackendError, ConfigError, InputError
from facemend.predictors.restorer import CHUNK, DEVICE_CHUNK, FaceRestorer, join
from facemend.runtime.runner import Arrays
from fake_runner import FakeRunner

SIZE = 8


class Graphs:
    """A codebook of one colour: w = 0 gives mid gray, w = 1 the input."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def encode(self, inputs: Arrays) -> Arrays:
        image = inputs["image"]
        assert image.dtype == np.float32
        assert image.min() >= -1
        assert image.max() <= 1
        self.batches.append(len(image))
        return {"codes": np.zeros((len(image), 4), np.int64), "lq": image}

    def decode(self, inputs: Arrays) -> Arrays:
        assert inputs["w"].dtype == np.float32
        assert inputs["codes"].dtype == np.int64
        return {"restored": inputs["lq"] * inputs["w"][:, None, None, None]}

    def restorer(self, size: int = SIZE) -> FaceRestorer:
        encode = FakeRunner(self.encode, ["image"], ["codes", "lq"])
        decode = FakeRunner(self.decode, ["codes", "lq", "w"], ["restored"])
        return FaceRestorer(encode, decode, size)


def crops(count: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(0).random((count, size, size, 3), np.float32)


@pytest.mark.parametrize("count", [1, CHUNK, 2 * CHUNK + 1])
def test_encode_once_decode_often(count: int) -> None:
    graphs = Graphs()
    restorer, faces = graphs.restorer(), crops(count)
    encoded = restorer.encode(faces)
    assert len(encoded) == count
    assert max(graphs.batches) <= CHUNK
    np.testing.assert_allclose(restorer.decode(encoded, 1), faces, atol=1e-6)
    np.testing.assert_allclose(restorer.decode(encoded, 0.0), 0.5)
    assert sum(graphs.batches) == count


def test_encodings_are_split_and_joined() -> None:
    restorer, faces = Graphs().restorer(), crops(5)
    encoded = restorer.encode(faces)
    parts = encoded.split([2, 0, 3])
    assert [len(part) for part in parts] == [2, 0, 3]
    np.testing.assert_array_equal(restorer.decode(join(parts), 1), restorer.decode(encoded, 1))
    assert join(parts[:1]) is parts[0]


def test_batches_are_larger_where_they_pay() -> None:
    graphs = Graphs()
    encode = FakeRunner(graphs.encode, ["image"], ["codes", "lq"])
    decode = FakeRunner(graphs.decode, ["codes", "lq", "w"], ["restored"])
    FaceRestorer(encode, decode, SIZE, device="cuda").encode(crops(3 * DEVICE_CHUNK))
    assert max(graphs.batches) == DEVICE_CHUNK > CHUNK


@pytest.mark.parametrize(("size", "most"), [(256, 4), (320, 2), (512, 1), (1024, 1)])
def test_large_faces_are_run_in_smaller_groups(size: int, most: int) -> None:
    graphs = Graphs()
    restorer, faces = graphs.restorer(size), crops(5, size)
    encoded = restorer.encode(faces)
    assert max(graphs.batches) == most
    np.testing.assert_allclose(restorer.decode(encoded, 1), faces, atol=1e-6)


def test_one_w_a_face() -> None:
    restorer, faces = Graphs().restorer(), crops(6)
    restored = restorer.decode(restorer.encode(faces), np.array([0, 1, 0, 1, 0, 1.0]))
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored[1::2], faces[1::2], atol=1e-6)
    np.testing.assert_allclose(restored[::2], 0.5)


def test_output_is_clipped() -> None:
    restorer = Graphs().restorer()
    restored = restorer.decode(restorer.encode(np.ones((1, SIZE, SIZE, 3), np.float32)), 1.5)
    assert restored.max() == 1


@pytest.mark.parametrize("w", [np.nan, np.inf, -0.1, 1.6, "strong", [0.5, 0.5], None, [[0.5]] * 3])
def test_wrong_w(w: object) -> None:
    restorer = Graphs().restorer()
    encoded = restorer.encode(crops(3))
    with pytest.raises(ConfigError, match="w must be"):
        restorer.decode(encoded, w)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "shape", [(0, SIZE, SIZE, 3), (1, SIZE, SIZE + 1, 3), (SIZE, SIZE, 3), (1, 3, SIZE, SIZE)]
)
def test_wrong_crops(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="face crops"):
        Graphs().restorer().encode(np.zeros(shape, np.float32))


def test_graphs_must_fit() -> None:
    nothing = lambda arrays: arrays  # noqa: E731
    good = FakeRunner(nothing, ["image"], ["lq"])
    for encode, decode in [
        (good, FakeRunner(nothing, ["lq", "features", "w"], ["restored"])),
        (good, FakeRunner(nothing, ["lq"], ["restored"])),
        (good, FakeRunner(nothing, ["lq", "w"], ["picture"])),
        (FakeRunner(nothing, ["input"], ["lq"]), FakeRunner(nothing, ["lq", "w"], ["restored"])),
    ]:
        with pytest.raises(BackendError):
            FaceRestorer(encode, decode, SIZE)


def test_values_that_are_not_numbers_are_refused() -> None:
    encode = FakeRunner(lambda a: {"lq": a["image"]}, ["image"], ["lq"])
    decode = FakeRunner(lambda a: {"restored": a["lq"] * np.nan}, ["lq", "w"], ["restored"])
    restorer = FaceRestorer(encode, decode, SIZE)
    with pytest.raises(BackendError, match="not numbers"):
        restorer.decode(restorer.encode(crops(1)), 0.5)

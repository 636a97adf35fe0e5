"""The colourisation and inpainting networks: imported in earnest, run by the pipeline, equal to torch."""

import numpy as np
import pytest
import torch
from layouts import COLOUR, INPAINT, SIDE, network, official

from facemend.convert.import_torch import ImportOptions, import_weights
from facemend.faces.fill import meet_ring
from facemend.faces.holes import without_hole
from facemend.imaging import Picture, luma, to_float
from facemend.networks.codeformer.checkpoint import load_checkpoint
from facemend.photo.colorize import Colorizer
from facemend.photo.inpaint import Inpainter
from facemend.weights.models import find_model


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(cache, monkeypatch):
    monkeypatch.setenv("FACEMEND_CACHE", str(cache))


def imported(config, cache, name):
    file = cache / f"{name}.pth"
    if not file.exists():
        torch.save({"params_ema": official(config)}, file)
        import_weights(file, ImportOptions(licence="S-Lab"))
    return name


def by_torch(config, crop, w, adain):
    signed = torch.from_numpy(crop * 2 - 1).permute(2, 0, 1)[None].contiguous()
    with torch.no_grad():
        result = network(config)(signed, torch.full((1,), w), adain=adain)
    return ((result + 1) / 2).clamp(0, 1)[0].permute(1, 2, 0).numpy()


def test_the_folder_of_an_imported_model(cache):
    info = find_model(imported(COLOUR, cache, "codeformer_colorization"), "colorization")
    files = {"encode.onnx", "decode.onnx", "model.json", "model.safetensors"}
    assert {path.name for path in info.folder.iterdir()} == files
    assert (info.image_size, info.licence) == (SIDE, "S-Lab")
    assert info.details["source"]["file"] == "codeformer_colorization.pth"
    assert info.details["config"]["heads"] == 8
    kept = load_checkpoint(info.folder / "model.safetensors")
    assert kept.config == COLOUR
    assert kept.sha256 == info.details["weights"]["sha256"]


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_colour_is_the_networks_at_w_0_with_adain(cache, rng, backend):
    name = imported(COLOUR, cache, "codeformer_colorization")
    plane = rng.integers(60, 200, (SIDE, SIDE)).astype(np.uint16) * 257
    picture = Picture.from_array(plane)
    colorizer = Colorizer(model=name, aligned=True, threads=1, backend=backend, device="cpu")
    result = colorizer.colorize(picture)
    expected = by_torch(COLOUR, picture.as_float(), 0.0, adain=True)
    colours = expected - luma(expected)[..., None]
    (face,) = result.faces
    got = face.restored - luma(face.restored)[..., None]
    inside = (np.abs(colours).max(2) < 0.2) & (np.abs(picture.as_float()[..., 0] - 0.5) < 0.25)
    assert inside.any()
    np.testing.assert_allclose(got[inside], colours[inside], atol=2e-3)
    assert not np.allclose(colours, 0, atol=5e-3)


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("w", [None, 0.3])
def test_the_filling_is_the_networks_at_w_1_without_adain(cache, rng, backend, w):
    name = imported(INPAINT, cache, "codeformer_inpainting")
    picture = Picture(rng.integers(60, 200, (SIDE, SIDE, 3)).astype(np.uint16) * 257)
    hole = np.zeros((SIDE, SIDE), bool)
    hole[8:24, 8:24] = True
    settings = {} if w is None else {"w": w}
    inpainter = Inpainter(model=name, aligned=True, threads=1, backend=backend, device="cpu", **settings)
    result = inpainter.inpaint(picture, Picture.from_array(hole.astype(np.uint8) * 255))
    seen = np.where(hole[..., None], np.float32(1), picture.as_float())
    (face,) = result.faces
    assert np.array_equal(face.crop, seen)
    # Colours are met round the hole; that is tested where it is done.
    plain = to_float(without_hole(picture, hole))
    met = [
        np.clip(meet_ring(plain, by_torch(INPAINT, seen, 1.0 if w is None else w, adain), hole), 0, 1)[hole]
        for adain in (False, True)
    ]
    np.testing.assert_allclose(face.restored[hole], met[0], atol=2e-3)
    assert np.abs(face.restored[hole] - met[1]).max() > 1e-2
    assert np.array_equal(result.picture.pixels[~hole], picture.pixels[~hole])

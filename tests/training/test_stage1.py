"""Stage I on made-up pictures, end to end."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facemend.data.faces import Folder, read_faces, split
from facemend.errors import ConfigError, WeightsError
from facemend.networks.codeformer.config import preset

SIDE = 64


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def test_it_learns(stage1):
    """L1 from the first steps to the last, and again from the k-means start of the codebook to the last."""
    l1 = stage1.metrics("l1")
    end = mean(value for step, value in l1.items() if step > 50)
    assert end < 0.55 * l1[2]
    assert end < 0.9 * l1[12]


def test_the_folder_holds_everything(stage1):
    names = {path.name for path in stage1.folder.iterdir()}
    expected = {"model.safetensors", "discriminator.safetensors", "log.jsonl", "config.json", "state.pt"}
    assert expected | {"environment.json", "previews", "tensorboard"} <= names
    assert not [name for name in names if name.endswith(".part")]
    checkpoint = stage1.checkpoint
    assert checkpoint.config == preset("tiny")
    assert checkpoint.info["stage"] == "stage1"
    assert checkpoint.info["step"] == 60
    assert checkpoint.info["faces"] == 16 * 4 + 40 * 4 + 4 * 2


def test_log_tells_of_the_codebook(stage1):
    """Usage and perplexity are logged."""
    codes = preset("tiny").autoencoder.codebook_size
    perplexity = stage1.metrics("perplexity")
    assert list(perplexity) == list(range(2, 61, 2))
    assert all(1 <= value <= codes + 1e-6 for value in perplexity.values())
    assert list(stage1.metrics("held_out/perplexity")) == [30, 60]
    used = stage1.metrics("held_out/codes_used")[60]
    assert 0 < used <= 1
    assert stage1.metrics("held_out/psnr")[60] > 5
    assert stage1.metrics("held_out/lpips_alex")[60] > 0
    assert stage1.metrics("images_per_second")[60] > 0


def test_phases_and_bypass_change_at_their_steps(stage1):
    assert {step for step, value in stage1.metrics("bypass").items() if value == 1} == set(range(2, 11, 2))
    assert list(stage1.metrics("gan")) == [58, 60]
    for name in ("d_loss", "lambda", "real", "fake"):
        assert list(stage1.metrics(name)) == [58, 60]
    assert all(0 <= value <= 1 for value in stage1.metrics("lambda").values())


def test_kmeans_puts_the_codes_where_the_data_is(stage1):
    """Against a run of random codes: the distance of encoder outputs to their code falls at the start."""
    code = stage1.metrics("code")
    assert code[12] < 0.5 * code[10]


def test_tensorboard_has_the_metrics(stage1):
    (events,) = (stage1.folder / "tensorboard").iterdir()
    content = events.read_bytes()
    for name in (b"held_out/codes_used", b"perplexity", b"l1", b"lambda"):
        assert name in content


def test_preview_shows_the_held_out_faces_unchanged(stage1):
    """What goes in as truth comes out as truth, to the bit, through loader, range and grid."""
    previews = sorted((stage1.folder / "previews").iterdir())
    assert [path.name for path in previews] == ["step_000030.png", "step_000060.png"]
    grid = np.asarray(Image.open(previews[-1]))
    assert grid.shape == (2 * SIDE, 2 * SIDE, 3)
    data = stage1.config.data
    _, held_out = split(read_faces([Folder(data.folders[0].path)], SIDE), data.holdout)
    np.testing.assert_array_equal(
        grid[:, :SIDE], np.concatenate([held_out.picture(i) for i in range(len(held_out))])
    )
    assert (grid[:, SIDE:] != grid[:, :SIDE]).any()


def test_product_is_the_average_not_the_last_step(stage1):
    state = stage1.state
    product = stage1.checkpoint.state
    for name, value in product.items():
        assert torch.equal(value, state["ema"][name]), name
    assert not torch.equal(product["decoder.out.weight"], state["net"]["decoder.out.weight"])


PHASE = [{"steps": 3, "size": SIDE, "batch": 2}]


def test_ema_codebook_moves_without_the_optimiser(run_to_end, settings, tmp_path):
    codebook = {"update": "ema", "kmeans": False, "decay": 0.5}
    run = run_to_end(settings("stage1", tmp_path / "run", codebook=codebook, phases=PHASE))
    state = run.state
    assert not torch.equal(state["net"]["codebook.vectors"], run.start["codebook.vectors"])
    trained = len(state["optimizer"]["state"])
    assert trained == len(run.start) - 1
    ema = state["codebook_ema"]
    expected = ema["sums"] / ema["counts"].clamp(min=1e-3)[:, None]
    torch.testing.assert_close(state["net"]["codebook.vectors"], expected)


def test_a_part_can_start_fresh(run_to_end, settings, stage1, tmp_path):
    """A codebook of another shape, which k-means then starts; all else is taken from the file."""
    changes = {"sizes": {"autoencoder": {"codes_per_position": 2}}, "phases": PHASE, "init": stage1.path}
    run = run_to_end(settings("stage1", tmp_path / "run", fresh=["codebook."], **changes))
    given = stage1.checkpoint.state
    for name, value in run.start.items():
        assert (name == "codebook.vectors") != torch.equal(value, given.get(name, torch.empty(0))), name
    kept = torch.load(run.path.parent / "state.pt", weights_only=True)["net"]["codebook.vectors"]
    assert (kept - run.start["codebook.vectors"]).abs().mean() > 10 * 1e-2  # k-means moved it, not one step
    with pytest.raises(WeightsError, match="does not fit"):
        run_to_end(settings("stage1", tmp_path / "strict", **changes))


def test_a_whole_network_gives_its_autoencoder(run_to_end, settings, stage3, tmp_path):
    run = run_to_end(settings("stage1", tmp_path / "run", init=stage3.path, phases=PHASE))
    assert {name.split(".")[0] for name in run.start} == {"encoder", "codebook", "decoder"}
    for name, value in run.start.items():
        assert torch.equal(value, stage3.checkpoint.state[name]), name


def test_no_face_left_to_train_on(run_to_end, settings, faces: Path, tmp_path):
    data = {"folders": [{"path": faces}], "holdout": 6}
    with pytest.raises(ConfigError, match="leaves no training faces"):
        run_to_end(settings("stage1", tmp_path / "run", data=data, phases=PHASE))


RECORDED = """
2 0.62999 0.452608 32.0, 4 0.505209 0.830341 32.0, 6 0.4634 1.020686 32.0, 8 0.431419 0.980542 32.0,
10 0.412835 1.120504 32.0, 12 0.36546 0.145088 31.992723, 14 0.357581 0.121197 31.968992,
16 0.335434 0.111309 31.910394
"""


def test_one_scale_learns_as_it_did(stage1):
    """L1, code loss and perplexity as recorded before there were others, over bypass, k-means and revival."""
    for line in RECORDED.replace("\n", " ").split(","):
        step, *wanted = line.split()
        found = [stage1.metrics(name)[int(step)] for name in ("l1", "code", "perplexity")]
        assert found == pytest.approx([float(value) for value in wanted], rel=5e-3)

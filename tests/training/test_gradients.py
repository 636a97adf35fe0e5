"""Which loss trains which part, two real steps of each in stage III, then look."""

import pytest
import torch

from facemend.training.adversary import Adversaries
from facemend.training.image_losses import ImageLosses

PARTS = ("encoder", "transformer", "codebook", "decoder", "fusion", "bands")
LET_IN = {"fusion", "bands"}
NO_CODES = {"feature": 0.0, "token": 0.0}
FEATURE = {"codes": {"feature": 1.0, "token": 0.0}}
TOKEN = {"codes": {"feature": 0.0, "token": 1.0}}
L1 = {"codes": NO_CODES, "perceptual": {"net": "alex", "weight": 0.0}}
GAN = {**L1, "adversary": {"width": 8, "layers": 2, "weight": 1.0}}
THAWED = {**GAN, "freeze_decoder": False}
PICTURE_ONLY = {**THAWED, "freeze_prediction": True, "codes": {"feature": 1.0, "token": 1.0}}


def changed_parts(run) -> set[str]:
    net = run.state["net"]
    return {
        part
        for part in PARTS
        if any(not torch.equal(net[name], run.start[name]) for name in net if name.startswith(part + "."))
    }


TABLE = [
    pytest.param(FEATURE, True, {"encoder"}, id="feature"),
    pytest.param(TOKEN, True, {"encoder", "transformer"}, id="token"),
    pytest.param(L1, True, LET_IN, id="l1, detached"),
    pytest.param(L1, False, LET_IN | {"encoder"}, id="l1, open"),
    pytest.param(GAN, False, LET_IN | {"encoder"}, id="gan, open"),
    pytest.param(THAWED, True, LET_IN | {"decoder"}, id="l1 and gan, decoder trained"),
    pytest.param(PICTURE_ONLY, False, LET_IN | {"decoder"}, id="encoder and transformer frozen"),
]


@pytest.mark.parametrize(("losses", "detach", "trained"), TABLE)
def test_stage3(run_to_end, settings, stage1, stage2, tmp_path, losses, detach, trained):
    images = losses not in (FEATURE, TOKEN)
    phase = {
        "steps": 2,
        "batch": 2,
        "degradation": "medium",
        "image_losses": images,
        "adversary": losses in (GAN, THAWED, PICTURE_ONLY),
    }
    config = settings(
        "stage3",
        tmp_path / "run",
        stage1=stage1.path,
        stage2=stage2.path,
        phases=[phase],
        detach_features=detach,
        **losses,
    )
    assert changed_parts(run_to_end(config)) == trained


@pytest.mark.parametrize("stage", ["stage1", "stage3"])
def test_the_adversarial_gradient_is_added(
    run_to_end, settings, stage1, stage2, tmp_path, monkeypatch, stage
):
    """Where it is the opposite of the other losses' nothing is left for what only the picture trains."""
    monkeypatch.setattr(Adversaries, "gradient", lambda self, image, layer, rest, *_: (-rest, {}))
    common = {"adversary": {"width": 8, "layers": 2}, "perceptual": {"net": "alex"}}
    if stage == "stage1":
        phases = [{"steps": 2, "batch": 2, "size": 64, "adversary": True}]
    else:
        common |= {"stage1": stage1.path, "stage2": stage2.path, "freeze_decoder": False}
        phases = [{"steps": 2, "batch": 2, "degradation": "medium", "adversary": True}]
    run = run_to_end(settings(stage, tmp_path / "run", phases=phases, **common))
    assert not changed_parts(run) & (LET_IN | {"decoder"})


@pytest.mark.parametrize("guess", [True, False])
def test_colours_that_a_photo_lost_are_not_asked_for(
    run_to_end, settings, stage1, stage2, tmp_path, monkeypatch, guess
):
    seen = []
    compare = ImageLosses.forward

    def spied(self, image, target, *rest):
        seen.extend(zip(image.detach(), target, strict=True))
        return compare(self, image, target, *rest)

    monkeypatch.setattr(ImageLosses, "forward", spied)
    config = settings(
        "stage3",
        tmp_path / "run",
        stage1=stage1.path,
        stage2=stage2.path,
        phases=[{"steps": 4, "batch": 2, "degradation": "scan"}],
        guess_colours=guess,
        **L1,
    )
    run_to_end(config)
    gray = [[torch.equal(face[0], face[2]) for face in faces] for faces in seen]
    assert all(made == true for made, true in gray)
    assert any(true for _, true in gray) != guess

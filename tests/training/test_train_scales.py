"""Networks with several scales of codes, or several codes a position, through all three stages."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_run import assert_same_state, stop_at

from facemend.data.faces import Folder, read_faces, split, to_signed
from facemend.errors import ConfigError
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import changed, preset
from facemend.networks.codeformer.scales import pooled
from facemend.training import train
from facemend.training.frozen_stage1 import FrozenStage1, target_entropy
from facemend.training.prediction import CodeLosses
from facemend.training.reconstruct import load_autoencoder
from facemend.training.settings import CodeLossConfig

SIDE = 64
FORMS = {
    "scales": {"autoencoder": {"scales": [4, 8, 16]}, "attention": "local+global"},
    "parts": {"autoencoder": {"codes_per_position": 2}, "attention": "split"},
}
GRIDS = {"scales": (4, 8, 16), "parts": (8,)}


@pytest.fixture(scope="module", params=FORMS)
def form(request):
    return request.param


@pytest.fixture(scope="module")
def runs(form, settings, run_to_end, tmp_path_factory):
    """The three stages over every boundary, each from the one before."""
    folder = tmp_path_factory.mktemp(form)
    common = {"sizes": FORMS[form], "save_every": 2, "preview_every": 4}
    small = {"steps": 6, "size": 40, "batch": 2}
    phases = [small, {"steps": 4, "size": SIDE, "batch": 2, "adversary": True}]
    codebook = {"bypass": 4, "revive_every": 3, "update": "ema", "decay": 0.5}
    one = run_to_end(settings("stage1", folder / "1", codebook=codebook, phases=phases, **common))
    common["stage1"] = one.path
    phases = [{"steps": 6, "batch": 2, "degradation": "medium"}]
    two = run_to_end(settings("stage2", folder / "2", cache_codes=True, phases=phases, **common))
    common["stage2"] = two.path
    phase = {"steps": 2, "batch": 2, "degradation": "medium"}
    phases = [{**phase, "w": [0.0, 1.2]}, {**phase, "w": [0.5, 1.0], "adversary": True}]
    return [one, two, run_to_end(settings("stage3", folder / "3", phases=phases, **common))]


@pytest.fixture(scope="module")
def frozen(runs, form):
    sizes = changed(preset("tiny"), FORMS[form])
    return FrozenStage1(runs[0].path, sizes, torch.zeros(1, 3, SIDE, SIDE), 0.0, torch.device("cpu"))


def images(count):
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, 3, 8, 8, generator=generator) * 2 - 1
    return F.interpolate(small, scale_factor=8.0, mode="bilinear")


def test_metrics_of_each_scale(runs, form):
    """With their grid's side if there are several, and their mean under the old name."""
    grids = GRIDS[form]
    by_stage = (
        ["code", "perplexity", "held_out/codes_used", "held_out/perplexity"],
        ["token", "top1", "top5", "target_entropy", "held_out/token", "held_out/top1"],
        ["token", "top1", "top5", "held_out/token", "held_out/top1"],
    )
    for run, names in zip(runs, by_stage, strict=True):
        logged = {name for line in run.log for name in line}
        for name in names:
            metrics = run.metrics(name)
            assert metrics, name
            each = [run.metrics(f"{name}_s{side}") for side in grids]
            assert [bool(own) for own in each] == [len(grids) > 1] * len(grids), name
            for step, value in metrics.items() if len(grids) > 1 else ():
                assert value == pytest.approx(sum(own[step] for own in each) / len(each), abs=1e-5), name
        assert ("feature_s16" in logged) is (form == "scales" and run is not runs[0])
        assert "feature_s4" not in logged  # the coarse scales share one latent


def test_going_on_as_if_not_stopped(runs, form, tmp_path):
    """Behind the stops lie the k-means start of each scale, revival, and (stage II) the stored codes."""
    for run in runs[: 2 if form == "scales" else 1]:
        config = run.config.model_copy(update={"out": tmp_path / run.config.stage})
        stop_at(config, 5)
        train(config)
        assert_same_state(config, run.config)


# Who gets gradient from what.

NO_CODES = {"feature": 0.0, "token": 0.0}
FEATURE = {"codes": {"feature": 1.0, "token": 0.0}}
SOFT = {"codes": {"feature": 0.0, "token": 1.0, "soft": 1.0}}
L1 = {"codes": NO_CODES, "perceptual": {"net": "alex", "weight": 0.0}}
ONLY_L1 = {"perceptual": {"net": "alex", "weight": 0.0}}
LATENT, TRANSFORMER = {"encoder", "encoder.fine"}, {"transformer"}
LET_IN = {"fusion", "bands"}


def trained(run) -> set[str]:
    """Parts whose weights moved; `encoder.fine` and `decoder.fine` are what only finer scales have."""
    net = run.state["net"]
    moved = [name for name in net if not torch.equal(net[name], run.start[name])]
    found = {name.split(".")[0] for name in moved if ".fine." not in name}
    return found | {".".join(name.split(".")[:2]) for name in moved if ".fine." in name}


def without_fine(parts, form):
    return parts if form == "scales" else {part for part in parts if not part.endswith(".fine")}


def test_gradients_of_stage1(run_to_end, settings, form, tmp_path):
    phases = [{"steps": 2, "size": SIDE, "batch": 2}]
    codebook = {"kmeans": False}
    config = settings("stage1", tmp_path, sizes=FORMS[form], phases=phases, codebook=codebook, **ONLY_L1)
    run = run_to_end(config)
    assert trained(run) == without_fine(LATENT | {"decoder", "decoder.fine", "codebook"}, form)
    # Every scale and part has moved.
    moved = (run.state["net"]["codebook.vectors"] != run.start["codebook.vectors"]).any(1)
    assert moved.view(-1, 32).any(1).all()


@pytest.mark.parametrize("form", ["scales"], indirect=True)
@pytest.mark.parametrize(
    ("stage", "losses", "parts"),
    [
        pytest.param("stage2", FEATURE, LATENT, id="feature"),
        pytest.param("stage2", SOFT, LATENT | TRANSFORMER, id="soft token"),
        # Codes are indices: the way of the finer latents ends there, that of the taps does not.
        pytest.param("stage3", L1 | {"detach_features": False}, LET_IN | {"encoder"}, id="l1, open"),
        pytest.param(
            "stage3", L1 | {"freeze_decoder": False}, LET_IN | {"decoder", "decoder.fine"}, id="l1, thawed"
        ),
    ],
)
def test_gradients_of_finer_scales(run_to_end, settings, runs, form, tmp_path, stage, losses, parts):
    common = {"sizes": FORMS[form], "stage1": runs[0].path, **losses}
    common |= {"stage2": runs[1].path} if stage == "stage3" else {}
    phases = [{"steps": 2, "batch": 2, "degradation": "medium"}]
    assert trained(run_to_end(settings(stage, tmp_path, phases=phases, **common))) == parts


# Stage I as it is for the others, and the losses.


def test_targets_are_what_stage_1_makes_of_a_face(runs, frozen, form):
    net = load_autoencoder(runs[0].path)
    with torch.no_grad():
        made = net(images(2)).quantized
    codes, vectors = frozen.targets(images(2))
    assert torch.equal(codes, made.codes)
    assert [own.shape[1] for own in frozen.by_scale(codes)] == [own.codes.shape[1] for own in made.scales]
    torch.testing.assert_close(vectors.pop(8), made.features)
    assert vectors.keys() == made.fine.keys()
    for side, own in vectors.items():
        torch.testing.assert_close(own, made.fine[side])


def test_entropy_of_each_table(frozen, form):
    metrics = frozen.start_metrics(images(4))
    codes = frozen.targets(images(4))[0]
    tables = {
        "scales": [codes[:, :16], codes[:, 16:80], codes[:, 80:]],
        "parts": [codes[:, ::2], codes[:, 1::2]],
    }[form]
    wanted = [target_entropy(table, 32) for table in tables]
    assert metrics["target_entropy"] == pytest.approx(sum(wanted) / len(wanted))
    if form == "scales":
        assert [metrics[f"target_entropy_s{side}"] for side in (4, 8, 16)] == pytest.approx(wanted)


@pytest.mark.parametrize("soft", [0.0, 0.7])
def test_losses_by_brute_force(frozen, form, soft):
    torch.manual_seed(0)
    net = CodeFormer(changed(preset("tiny"), FORMS[form]))
    encoded = net.encode(images(2))
    codes, vectors = frozen.targets(images(2))
    losses = CodeLosses(CodeLossConfig(feature=0.3, token=2.0, soft=soft), frozen)
    loss, metrics = losses(encoded, codes, vectors)
    tables = frozen.net.codebook.vectors.double().split(32)
    parts = 2 if form == "parts" else 1
    said = encoded.logits.detach().double().log_softmax(2)
    tokens, start = [], 0
    for scale, side in enumerate(GRIDS[form]):
        total, count = 0.0, side**2 * parts
        for b in range(2):
            for place in range(start, start + count):
                true = int(codes[b, place])
                table = tables[scale * parts + (place - start) % parts]
                target = torch.zeros(32, dtype=torch.float64)
                target[true] = 1
                if soft:
                    pairs = (table[:, None] - table[None]).square().sum(2)
                    unit = pairs.clone().fill_diagonal_(torch.inf).amin(1).mean()
                    target = (-pairs[true] / (soft * unit)).softmax(0)
                total -= float((target * said[b, place]).sum())
        tokens.append(total / (2 * count))
        start += count
    pairs = [(encoded.z, vectors[8]), *((own, vectors[side]) for side, own in encoded.fine.items())]
    features = [(own - wanted).square().mean().item() for own, wanted in pairs]
    assert metrics["token"].item() == pytest.approx(np.mean(tokens), rel=1e-4)
    assert metrics["feature"].item() == pytest.approx(np.mean(features), rel=1e-5)
    assert loss.item() == pytest.approx(0.3 * np.mean(features) + 2 * np.mean(tokens), rel=1e-4)


def test_kmeans_starts_each_scale_from_what_is_left(run_to_end, settings, tmp_path):
    """Right behind the start every code of every scale lies among the latents that it is to stand for."""
    sizes = FORMS["scales"]
    config = settings(
        "stage1",
        tmp_path,
        sizes=sizes,
        codebook={"bypass": 1},
        optim={"lr": 1e-12},
        phases=[{"steps": 2, "size": SIDE, "batch": 4}],
    )
    run = run_to_end(config)
    net = VQAutoencoder(changed(preset("tiny"), sizes).autoencoder)
    net.load_state_dict(run.state["net"])
    faces = split(read_faces([Folder(config.data.folders[0].path)], SIDE), 2)[0]
    pictures = np.stack([faces.picture(number) for number in range(len(faces))])
    shown = to_signed(torch.from_numpy(pictures).permute(0, 3, 1, 2))
    with torch.no_grad():
        made = net(shown).quantized
        z, _ = net.encoder(shown)
    assert torch.equal(made.scales[0].latent, pooled(z, 4, 8))
    for scale, found in enumerate(made.scales):
        latents = found.latent.flatten(2).transpose(1, 2).flatten(0, 1)
        spread = latents.var(0).sum()
        near = torch.cdist(net.codebook.table(scale), latents).amin(1).square()
        assert near.max() < spread, scale
        left = (found.vectors - found.latent).square().sum(1).mean()
        assert left < 0.5 * spread, scale


def test_stages_must_be_of_the_same_attention(settings, runs, form, tmp_path):
    """No shape tells it, so the weights would load."""
    other = {**FORMS[form], "attention": "global"}
    config = settings(
        "stage3",
        tmp_path / "run",
        sizes=other,
        stage1=runs[0].path,
        stage2=runs[1].path,
        phases=[{"steps": 1, "batch": 2, "degradation": "medium"}],
    )
    with pytest.raises(ConfigError, match="other heads or attention"):
        train(config)

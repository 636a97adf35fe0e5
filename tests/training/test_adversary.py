"""Several discriminators: their gradient at the picture, their steps, what is saved."""

import itertools
import logging
import threading

import pytest
import torch
from torch.nn import functional as F

from facemend.errors import WeightsError
from facemend.networks.codeformer.checkpoint import save_checkpoint
from facemend.networks.codeformer.config import preset
from facemend.networks.discriminators.patch import PatchDiscriminator
from facemend.training.adversarial_loss import generator_loss, gradient_penalty
from facemend.training.adversary import Adversaries
from facemend.training.run import Run

SIDE = 64
PATCH = {"width": 8, "layers": 2}
PROJECTED = {"kind": "projected", "lr": 1e-3}
BOTH = [PATCH, PROJECTED | {"views_per_step": 1, "gate": False}]


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def make(settings, tmp_path):
    numbers = itertools.count()

    def make(*adversaries, **changes):
        phases = [{"steps": 1, "size": SIDE, "batch": 2}]
        out = tmp_path / str(next(numbers))
        config = settings("stage1", out, phases=phases, adversary=list(adversaries), **changes)
        return Adversaries(config.adversary, Run(config, phases=()))

    return make


class Scene:
    """Pictures with a graph to a last layer, and a gradient of other losses at them."""

    def __init__(self, count=3, seed=0):
        generator = draws(seed)
        self.layer = (torch.randn(3, 4, 3, 3, generator=generator) * 0.2).requires_grad_()
        self.features = torch.randn(count, 4, SIDE, SIDE, generator=generator)
        self.reconstruction = torch.randn(count, 3, SIDE, SIDE, generator=generator) * 1e-3
        self.real = torch.rand(count, 3, SIDE, SIDE, generator=generator) * 2 - 1

    def rows(self, chosen):
        self.features, self.reconstruction, self.real = (
            x[chosen] for x in (self.features, self.reconstruction, self.real)
        )
        return self

    @property
    def image(self):
        return F.conv2d(self.features, self.layer, padding=1).tanh()


def weights(adversaries):
    return {name: value.clone() for name, value in adversaries.state_dict().items()}


def test_gradient_is_the_weighted_sum_of_each_ones(make):
    scene = Scene()
    first, second = (
        PATCH | {"weight": 0.5, "limit": 1e4},
        PATCH | {"name": "small", "layers": 1, "limit": 1e4},
    )
    both = make(first, second)
    nets = [member.net.eval() for member in both.members]  # no power iteration
    total, metrics = both.gradient(scene.image, scene.layer, scene.reconstruction, draws())
    expected = torch.zeros_like(total)
    for net, weight, name in zip(nets, (0.5, 0.8), ("patch", "small"), strict=True):
        leaf = scene.image.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(generator_loss(net(leaf)), leaf)
        norms = [
            torch.autograd.grad(scene.image, scene.layer, g)[0].norm()
            for g in (scene.reconstruction, gradient)
        ]
        balance = norms[0] / (norms[1] + 1e-4)
        torch.testing.assert_close(metrics[f"lambda_{name}"], balance)
        expected += weight * balance * gradient
    torch.testing.assert_close(total, expected)
    assert set(metrics) == {f"{k}_{n}" for k in ("gan", "lambda") for n in ("patch", "small")}


def test_a_patch_one_on_the_whole_draws_nothing(make):
    scene, generator = Scene(), draws()
    before = generator.get_state()
    one = make(PATCH)
    one.gradient(scene.image, scene.layer, scene.reconstruction, generator)
    one.train(scene.real, scene.image, generator)
    assert torch.equal(generator.get_state(), before)


class Recorder(torch.nn.Module):
    """A discriminator that keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.seen = []

    def forward(self, image):
        self.seen.append(image.detach())
        return self.scale * image


def test_real_and_fake_are_seen_at_the_same_place_and_augmented_alike(make):
    adversaries = make(PROJECTED)
    recorder = adversaries.members[0].net = Recorder()
    picture = Scene().real
    adversaries.train(picture, picture.clone(), draws())
    assert len(recorder.seen) == 6
    for real, fake in zip(recorder.seen[:3], recorder.seen[3:], strict=True):
        assert real.shape == (3, 3, 32, 32)
        assert torch.equal(real, fake)
    assert not torch.equal(recorder.seen[1], recorder.seen[2])
    holes = [(seen == 0).all(1).float().mean() for seen in recorder.seen]
    assert min(holes) > 0


def test_draws_are_the_generators(make):
    scene = Scene()
    adversaries = make(PROJECTED | {"gate": False})
    adversaries.members[0].net.eval()
    results = [
        adversaries.gradient(scene.image, scene.layer, scene.reconstruction, draws(seed))[0]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert results[0].abs().sum() > 0


@pytest.mark.parametrize("wanted", [1, 2])
def test_views_per_step(make, wanted):
    adversary = make(PROJECTED | {"views_per_step": wanted}).members[0]
    counts = {}
    for seed in range(30):
        looks = adversary._looks(torch.zeros(2, 3, SIDE, SIDE), draws(seed), judged=Everyone)
        assert len(looks) == wanted
        for look, _ in looks:
            counts[look.shrink] = counts.get(look.shrink, 0) + 1
    assert counts[2] == pytest.approx(30 * wanted / 3, abs=8)  # the half view


class Everyone:
    rows = slice(None)


FINE = torch.tensor([True, False, True])


def test_only_fine_faces_are_judged(make):
    """As if the others were not in the batch, and each fine face weighs as it would without the mask."""
    adversary = PATCH | {"views": ["window"], "limit": 1e4}
    masked, alone = make(adversary), make(adversary)
    scene, part = Scene(), Scene().rows(FINE)
    gradient, metrics = masked.gradient(scene.image, scene.layer, scene.reconstruction, draws(), FINE)
    # The losses are means over the batch: two thirds of it are judged.
    expected, other = alone.gradient(part.image, part.layer, part.reconstruction * 3 / 2, draws())
    assert not gradient[1].any()
    torch.testing.assert_close(gradient[FINE], expected * 2 / 3, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(metrics["gan"], other["gan"])
    found = masked.train(scene.real, scene.image, draws(), FINE)
    torch.testing.assert_close(found, alone.train(part.real, part.image, draws()))
    torch.testing.assert_close(weights(masked), weights(alone))


def test_without_a_fine_face_nothing_happens(make):
    scene, adversaries = Scene(), make(*BOTH)
    before, none = weights(adversaries), torch.zeros(3, dtype=torch.bool)
    gradient, metrics = adversaries.gradient(scene.image, scene.layer, scene.reconstruction, draws(), none)
    assert not gradient.any()
    assert metrics == {}
    assert adversaries.train(scene.real, scene.image, draws(), none) == {}
    for name, value in weights(adversaries).items():
        assert torch.equal(value, before[name])
    assert adversaries.members[1].progress.steps == 0


class Pair:
    """Two processes as two threads: what is averaged waits for both."""

    def __init__(self):
        self.barrier = threading.Barrier(2, timeout=60)
        self.values = [None, None]

    def engine(self, rank):
        pair = self

        class Engine:
            processes = 2

            def mean(self, value):
                pair.values[rank] = value.detach().clone()
                pair.barrier.wait()
                mean = torch.stack(pair.values).mean(0)
                pair.barrier.wait()
                return mean

            def average_gradients(self, parameters):
                for parameter in parameters:
                    parameter.grad.copy_(self.mean(parameter.grad))

        engine = Engine()
        engine.rank = rank
        return engine


@pytest.mark.parametrize("fine", [[1, 1, 0, 0], [1, 0, 1, 1]], ids=str)
def test_two_processes_are_one_with_the_double_batch(make, fine):
    """Also where one of the two has no face to judge."""
    fine = torch.tensor(fine, dtype=torch.bool)
    adversaries = [PATCH | {"norm": "none", "penalty": 1.0}, PROJECTED | {"gate": False}]
    one, *ranks = (make(*adversaries) for _ in range(3))
    pair, results, before = Pair(), {}, weights(one)

    def step(who, scene, fine):
        gradient = who.gradient(scene.image, scene.layer, scene.reconstruction, draws(), fine)
        results[id(who)] = (*gradient, who.train(scene.real, scene.image, draws(1), fine))

    step(one, Scene(4), fine)
    threads = []
    for rank, who in enumerate(ranks):
        who.run.engine = pair.engine(rank)
        half = slice(2 * rank, 2 * rank + 2)
        threads.append(threading.Thread(target=step, args=(who, Scene(4).rows(half), fine[half])))
        threads[-1].start()
    for thread in threads:
        thread.join()
    whole, parts = results[id(one)], [results[id(who)] for who in ranks]
    # Each process's gradient is that of a mean over half the faces.
    together = torch.cat([part[0] for part in parts]) / 2
    torch.testing.assert_close(together, whole[0], rtol=1e-3, atol=1e-7)
    for kind in (1, 2):
        for name, value in whole[kind].items():
            mean = (parts[0][kind][name] + parts[1][kind][name]) / 2
            torch.testing.assert_close(mean, value, rtol=1e-3, atol=1e-5)
    # By how far they moved: Adam makes whole steps of the rounding noise of a gradient that is truly 0, and
    # each process has its own estimates of singular vectors.
    reached = {name: value for name, value in weights(one).items() if not name.endswith(("_u", "_v"))}
    moved = sum(float((reached[name] - before[name]).abs().sum()) for name in reached)
    for who in ranks:
        found = weights(who)
        apart = sum(float((found[name] - reached[name]).abs().sum()) for name in reached)
        assert apart < 0.01 * moved


def test_a_gate_opens_when_the_discriminator_has_learned(make):
    scene = Scene()
    adversaries = make(PATCH | {"gate": True, "lr": 1e-2})
    member = adversaries.members[0]
    seen = []
    for _ in range(60):
        running = member.progress.hinge
        gradient, metrics = adversaries.gradient(scene.image, scene.layer, scene.reconstruction, draws())
        is_open = bool(metrics["gate"])
        assert is_open == (running <= 1.9)
        assert bool(gradient.any()) == is_open
        assert ("lambda" in metrics) == is_open
        discriminator = adversaries.train(scene.real, scene.image, draws())["d_loss"]
        assert member.progress.hinge == pytest.approx(0.98 * running + 0.02 * float(discriminator))
        seen.append(is_open)
    assert not seen[0]
    assert seen[-1]


def test_learning_rate_warms_up_over_its_own_steps(make):
    scene = Scene()
    adversaries = make(PATCH | {"warmup": 4, "lr": 1e-3})
    rates = []
    for _ in range(6):
        adversaries.train(scene.real, scene.image, draws())
        rates.append(adversaries.members[0].optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3])


def test_a_gradient_that_is_no_number_is_seen_at_once(make):
    """The loss may be one, and what the weights become is saved."""
    scene, adversaries = Scene(), make(PATCH)
    next(adversaries.members[0].net.parameters()).register_hook(lambda gradient: gradient * float("nan"))
    metrics = adversaries.train(scene.real, scene.image, draws())
    assert [name for name, value in metrics.items() if not value.isfinite()] == ["d_gradient"]


def test_the_penalty_flattens_a_discriminator(make):
    scene, ends = Scene(), []
    for penalty in (1e-6, 1.0):
        adversaries = make(PATCH | {"norm": "none", "penalty": penalty, "lr": 1e-3}, precision="bf16")
        for _ in range(40):
            metrics = adversaries.train(scene.real, scene.image, draws())
        assert set(metrics) == {"d_loss", "d_gradient", "real", "fake", "penalty"}
        ends.append(float(metrics["penalty"]))
    assert ends[1] < 0.3 * ends[0]


def test_the_penalty_of_one_patch_is_the_squared_length_of_its_gradient():
    weight = torch.randn(1, 3, 8, 8, generator=draws())
    real = torch.randn(5, 3, 8, 8, generator=draws(1)).requires_grad_()
    penalty = gradient_penalty(F.conv2d(real, weight), real).detach()
    torch.testing.assert_close(penalty, weight.square().sum() / 2)
    # Patches side by side: the mean over them.
    wide = torch.randn(2, 3, 8, 32, generator=draws(2)).requires_grad_()
    torch.testing.assert_close(gradient_penalty(F.conv2d(wide, weight, stride=8), wide).detach(), penalty)


def test_discriminators_are_loaded_by_name(make, tmp_path, caplog):
    caplog.set_level(logging.INFO, "facemend")
    saved = make(PATCH, PROJECTED)
    path = tmp_path / "d.safetensors"
    save_checkpoint(path, saved.state_dict(), preset("tiny"), {"adversaries": saved.names})
    other = make(PATCH | {"name": "texture"}, PROJECTED, seed=5)
    fresh, held = weights(other), weights(saved)
    other.load(path)
    for name, value in weights(other).items():
        assert torch.equal(value, (held if name.startswith("projected.") else fresh)[name]), name
    assert not torch.equal(fresh["projected.mix0"], held["projected.mix0"])  # the projections came along
    assert "texture: not in" in caplog.text
    with pytest.raises(WeightsError, match=r"holds patch, projected, and the config names texture"):
        make(PATCH | {"name": "texture"}).load(path)
    with pytest.raises(WeightsError, match=r"d\.safetensors \(patch\): does not fit"):
        make(PATCH | {"width": 16}).load(path)


def test_a_file_of_one_unnamed_patch_discriminator_still_loads(make, tmp_path):
    net = PatchDiscriminator(8, 2, "spectral")
    save_checkpoint(tmp_path / "old.safetensors", net.state_dict(), preset("tiny"), {"stage": "stage1"})
    for adversaries in (make(PATCH), make(PROJECTED, PATCH | {"name": "texture"})):
        adversaries.load(tmp_path / "old.safetensors")
        for name, value in net.state_dict().items():
            assert torch.equal(adversaries.members[-1].net.state_dict()[name], value)
    with pytest.raises(WeightsError, match="holds a patch discriminator, and the config names projected"):
        make(PROJECTED).load(tmp_path / "old.safetensors")

"""K-means start, EMA codes, and the revival of codes that nothing chooses."""

import pytest
import torch

from facemend.networks.codeformer.codebook import Codebook
from facemend.training.codebook_ema import CodebookEMA
from facemend.training.engine import Engine
from facemend.training.settings import CodebookConfig


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def make(size=8, dim=3, **config):
    torch.manual_seed(0)
    codebook = Codebook(size, dim)
    return codebook, CodebookEMA(codebook, CodebookConfig(**config), Engine())


def as_grid(rows):
    """(N, C) -> (1, C, 1, N), as an encoder would give it."""
    return rows.T[None, :, None]


def error(rows, vectors):
    return torch.cdist(rows, vectors).amin(1).square().mean().item()


def test_kmeans_betters_its_random_start(generator):
    rows = torch.randn(400, 3, generator=generator)
    errors = []
    for rounds in (0, 1, 12):
        codebook, ema = make()
        ema.start_from(rows, torch.Generator().manual_seed(1), rounds)
        errors.append(error(rows, codebook.vectors.detach()))
    assert errors[0] > errors[1] > errors[2]


def test_kmeans_with_fewer_vectors_than_codes(generator):
    codebook, ema = make(size=8)
    rows = torch.randn(3, 3, generator=generator)
    ema.start_from(rows, generator)
    assert torch.cdist(codebook.vectors.detach(), rows).amin(1).max() < 1e-3


def test_one_step_of_the_running_mean_by_hand():
    codebook, ema = make(size=4, update="ema", decay=0.75)
    before = codebook.vectors.detach().clone()
    rows = torch.tensor([[1.0, 2, 3], [3, 4, 5], [7, 7, 7]])
    ema.observe(as_grid(rows), torch.tensor([[2, 2, 0]]))
    # (0.75 * 1 * old + 0.25 * sum) / (0.75 * 1 + 0.25 * count)
    torch.testing.assert_close(codebook.vectors[2], (0.75 * before[2] + 0.25 * rows[:2].sum(0)) / 1.25)
    torch.testing.assert_close(codebook.vectors[0], 0.75 * before[0] + 0.25 * rows[2])
    torch.testing.assert_close(codebook.vectors[1], before[1])


def test_only_ema_moves_codes_and_stops_gradients():
    codebook, ema = make(update="gradient")
    before = codebook.vectors.detach().clone()
    ema.observe(torch.randn(1, 3, 2, 2), torch.zeros(1, 4, dtype=torch.long))
    assert torch.equal(codebook.vectors, before)
    assert codebook.vectors.requires_grad
    assert not make(update="ema")[0].vectors.requires_grad


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_dead_codes_move_to_the_data(generator, update):
    codebook, ema = make(size=8, update=update, decay=0.5)
    rows = torch.randn(6, 3, generator=generator) + 20
    codes = torch.tensor([[0, 1, 2, 0, 1, 2]])
    for _ in range(20):
        ema.observe(as_grid(rows), codes)
    alive = codebook.vectors[:3].detach().clone()
    assert ema.revive(as_grid(rows), generator) == 5
    assert torch.equal(codebook.vectors[:3], alive)
    # Five different vectors of the six.
    distances = torch.cdist(codebook.vectors[3:].detach(), rows)
    assert distances.amin(1).max() < 1e-3
    assert distances.argmin(1).unique().numel() == 5
    # They have time to prove themselves.
    assert ema.revive(as_grid(rows), generator) == 0
    ema.observe(as_grid(rows), codes)
    assert ema.revive(as_grid(rows), generator) == 0


def test_revival_with_fewer_vectors_than_dead_codes(generator):
    _, ema = make(size=8, decay=0.5)
    rows = torch.randn(2, 3, generator=generator)
    for _ in range(20):
        ema.observe(as_grid(rows), torch.tensor([[0, 0]]))
    assert ema.revive(as_grid(rows), generator) == 2


def test_each_part_of_a_codebook_is_looked_after():
    """EMA, k-means and revival of a scale's parts are those of codebooks of their own."""
    torch.manual_seed(0)
    config = CodebookConfig(update="ema", decay=0.5)
    book = Codebook(4, 6, parts=2, scales=2)
    with torch.no_grad():
        book.vectors.normal_()
    before = book.vectors.detach().clone()
    ema = CodebookEMA(book, config, Engine(), scale=1)
    alone = []
    for part in range(2):
        own = Codebook(4, 3)
        with torch.no_grad():
            own.vectors.copy_(before[8 + 4 * part :][:4])
        alone.append((own, CodebookEMA(own, config, Engine())))
    for step in range(6):
        z = torch.randn(2, 6, 2, 2, generator=torch.Generator().manual_seed(step))
        ema.observe(z, book(z, 1).codes)
        for part, (own, other) in enumerate(alone):
            mine = z[:, 3 * part : 3 * part + 3]
            other.observe(mine, own(mine).codes)
    wanted = torch.cat([own.vectors for own, _ in alone])
    torch.testing.assert_close(book.vectors[8:], wanted)
    assert torch.equal(book.vectors[:8], before[:8])
    usages = [other.usage for _, other in alone]
    assert ema.usage.perplexity == pytest.approx(sum(usage.perplexity for usage in usages) / 2)

    rows = torch.randn(50, 6, generator=torch.Generator().manual_seed(9))
    ema.start_from(rows, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    for part, (own, other) in enumerate(alone):
        other.start_from(rows[:, 3 * part : 3 * part + 3], generator)
        torch.testing.assert_close(book.vectors[8 + 4 * part :][:4], own.vectors)

    ema.counts[:] = 1
    ema.counts[[1, 6]] = 0  # a code of each part
    kept = book.vectors.detach().clone()
    assert ema.revive(z, torch.Generator().manual_seed(2)) == 2
    moved = (book.vectors != kept).any(1).nonzero().flatten().tolist()
    assert moved == [8 + 1, 8 + 6]
    flat = z.permute(0, 2, 3, 1).reshape(-1, 6)
    assert (flat[:, :3] == book.vectors[9]).all(1).any()
    assert (flat[:, 3:] == book.vectors[14]).all(1).any()

"""The head that says how damaged a face is: what it sees, and that it changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facemend.errors import WeightsError
from facemend.networks.codeformer.checkpoint import load_into
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import preset
from facemend.networks.codeformer.diagnosis import OFFSETS, DiagnosisHead, statistics, statistics_count
from facemend.networks.codeformer.halves import EncodeGraph, decode_names, encode_names
from facemend.types import Diagnosis

TINY = preset("tiny")
HEADED = replace(TINY, diagnosis=16)


def spread(values):
    return [values.mean(-1), np.sqrt(values.var(-1))]


@pytest.mark.parametrize("cell", [2, 4])
def test_statistics_are_those_of_numpy(cell):
    torch.manual_seed(0)
    fine, coarse, z = torch.randn(2, 3, 4 * cell, 4 * cell), torch.randn(2, 5, 4, 4), torch.randn(2, 6, 4, 4)
    logits = 3 * torch.randn(2, 32, 7)
    seen = fine.numpy().reshape(2, 3, 4, cell, 4, cell)[:, :, :, :: cell // 2]  # two rows of a cell
    cells = seen.transpose(0, 1, 2, 4, 3, 5).reshape(2, 3, 16, 2 * cell)
    parts = [seen.mean((2, 3, 4, 5)), np.log(seen.var((2, 3, 4, 5))), *spread(np.log(cells.var(-1)))]
    for x in (coarse.numpy(), z.numpy()):
        parts += [x.mean((2, 3)), np.log(x.var((2, 3)))]
    p = torch.softmax(logits, 2).numpy()[:, ::2]
    parts += [x[:, None] for x in (*spread(-(p * np.log(p)).sum(2)), *spread(np.log(p.max(2))))]
    found = statistics({4 * cell: fine, 4: coarse}, z, logits)
    np.testing.assert_allclose(found.numpy(), np.concatenate(parts, 1), rtol=1e-4, atol=2e-4)


def test_the_head_changes_nothing_of_the_network():
    torch.manual_seed(0)
    headed = CodeFormer(HEADED).eval()
    plain = CodeFormer(TINY).eval()
    load_into(plain, headed.state_dict(), "a network with a head")  # which has no place here
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        said = dict(zip(encode_names(headed), EncodeGraph(headed)(image), strict=True))
        usual = dict(zip(encode_names(plain), EncodeGraph(plain)(image), strict=True))
    diagnosis = said.pop("diagnosis")
    assert said.keys() == usual.keys()
    assert all(torch.equal(said[name], usual[name]) for name in usual)
    assert diagnosis.shape == (2, Diagnosis.COUNT)
    assert decode_names(headed, True) == decode_names(plain, True)


def test_a_head_that_is_missing_is_said():
    with pytest.raises(WeightsError, match="missing diagnosis"):
        load_into(CodeFormer(HEADED), CodeFormer(TINY).state_dict(), "weights")


def test_damage_is_above_its_offset():
    head = DiagnosisHead(TINY.autoencoder, 16)
    said = head.diagnose(10 * torch.randn(50, statistics_count(TINY.autoencoder)))
    assert (said[:, :3] > -torch.tensor(OFFSETS) - 1e-6).all()

"""Files of DISTS and NIQE that are not what they claim to be; those of LPIPS stand in test_perceptual.py."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from facemend.errors import WeightsError
from facemend.networks.perceptual import weights as metric_weights
from facemend.networks.perceptual.weights import dists_state, niqe_state


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def torch_file(content: object) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def npz_file(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def npy_file(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def evil_npz() -> bytes:
    """An .npz of which one array is a pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        bundle.writestr("mu_pris_param.npy", npy_file(np.array([Evil()], dtype=object)))
    return out.getvalue()


PARAMETERS = {
    "mu_pris_param": np.zeros((1, 36)),
    "cov_pris_param": np.eye(36),
    "gaussian_window": np.ones((7, 7)) / 49,
}
CHANNELS = torch.ones(1, 1475, 1, 1)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the raw files that `fetch` gives, beside an empty cache."""
    trunk = metric_weights.fetch("lpips")
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))

    def fetch(name: str) -> dict[str, Path]:
        if name == "lpips":
            return trunk
        return {
            "weights.pt": tmp_path / "weights.pt",
            "niqe_pris_params.npz": tmp_path / "niqe_pris_params.npz",
        }

    monkeypatch.setattr(metric_weights, "fetch", fetch)
    return tmp_path


def refused(state, folder: Path, match: str) -> None:
    with pytest.raises(WeightsError, match=match):
        state()
    assert not (folder / "cache").exists()  # nothing half-made is kept


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"noise" * 100,
        torch_file({"alpha": CHANNELS, "beta": CHANNELS})[:-200],
        torch_file({"alpha": CHANNELS}),
        torch_file({"alpha": CHANNELS, "beta": 3}),
        torch_file([1, 2]),
        torch_file({"alpha": CHANNELS, "beta": Evil()}),
        pickle.dumps(Evil()),
    ],
    ids=["empty", "noise", "cut", "one missing", "no tensor", "list", "code", "bare code"],
)
def test_damaged_dists_weights_are_named(content, raw, capsys):
    (raw / "weights.pt").write_bytes(content)
    refused(dists_state, raw, r"weights\.pt: not DISTS weights")
    assert "code ran" not in capsys.readouterr().out


def test_good_dists_weights_are_flattened(raw):
    (raw / "weights.pt").write_bytes(torch_file({"alpha": CHANNELS, "beta": 2 * CHANNELS}))
    state = dists_state()
    assert state["alpha"].shape == state["beta"].shape == (1475,)
    assert state["beta"][0] == 2
    (raw / "weights.pt").unlink()
    assert dists_state().keys() == state.keys()  # from here on the converted file is enough


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"noise" * 100,
        npz_file(**PARAMETERS)[:-100],
        npz_file(**PARAMETERS).replace(b"\0" * 64, b"\1" * 64),
        npz_file(mu_pris_param=np.zeros(36)),
        npz_file(**{**PARAMETERS, "cov_pris_param": np.eye(35)}),
        npz_file(**{**PARAMETERS, "mu_pris_param": np.array(["x"] * 36)}),
        npy_file(np.zeros(36)),
        npy_file(np.array([Evil()], dtype=object)),
        evil_npz(),
    ],
    ids=["empty", "noise", "cut", "bits", "missing", "shape", "text", "npy", "code", "code inside"],
)
def test_damaged_niqe_parameters_are_named(content, raw, capsys):
    (raw / "niqe_pris_params.npz").write_bytes(content)
    refused(niqe_state, raw, r"niqe_pris_params\.npz: not NIQE parameters")
    assert "code ran" not in capsys.readouterr().out


def test_good_niqe_parameters_get_their_shapes(raw):
    (raw / "niqe_pris_params.npz").write_bytes(npz_file(**PARAMETERS))
    state = niqe_state()
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "mean": (36,),
        "covariance": (36, 36),
        "window": (7, 7),
    }
    assert all(value.dtype == torch.float64 for value in state.values())

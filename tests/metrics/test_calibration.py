"""Against the figures that the authors' own programs give on five published pairs of pictures.

The pictures are the calibration set of IQA-PyTorch, taken out of its source archive into the user's cache;
the official figures stand in its table of results. That package's licence is non-commercial: the product
needs nothing of it, and neither pictures nor code of it are in this repository.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facemend.metrics import dists, lpips, ms_ssim, niqe, psnr, ssim
from facemend.weights import packages
from facemend.weights.packages import Archive, Member

NAMES = ("I03", "I04", "I06", "I08", "I19")
SIZE = 589_878
REFERENCE = {
    "I03": "28441215ca5b6358e6267717250a02eeec4fa5ef73ae454870b8426320f980a8",
    "I04": "c8500941a30397bc9e613a297e1286bdb955f49926148f58e7963d6e82b03c9f",
    "I06": "445c2c0fcb47898e9cd8e6de640f2545621d27cbb248c69ef2c84d8204723061",
    "I08": "b5d6738ece811f45f43c5bce425ad5d18d5c78466989001fe1129fcdd08efdab",
    "I19": "b8a2ede827d8db21c45f9ca1fb1c043bcec571b5a7243b4ea1aab3fb4feb7e0b",
}
DISTORTED = {
    "I03": "bb817e7fef614dcc12b3a99af33ce3d201bc4d56c4827254c0bcc4fa6ea11151",
    "I04": "f3d685983aacd76b2c131579ea60cee345205a1169a4bd2ff5f3039ecf81729e",
    "I06": "726e043e99d8e07235c2535107d4bb6fc85bad0cb3cc7d6ba3ecf3364ac97539",
    "I08": "8ad39042d7e17d6c96ecfd8c4b9f0e98c803b303a92d368ef57bc9c3c40f5330",
    "I19": "e0c6000652d270d1c39b7094761d01e14695fc5aa7cb76b945be6391327ee886",
}
# Gray as MATLAB's rgb2gray makes it.
GRAY = (0.298936021293776, 0.587043074451121, 0.114020904255103)


def archive(folder: str, sums: dict[str, str]) -> Archive:
    """The source archive, with the pictures of one of its folders as what is wanted."""
    members = tuple(
        Member(f"pyiqa-0.1.16/ResultsCalibra/{folder}/{name}.bmp", SIZE, sha256)
        for name, sha256 in sums.items()
    )
    checksum = "80fb913302585a774875c224b4f95068ac17bebd88f735876e6f0c3bb0988d34"
    return Archive("pyiqa==0.1.16", checksum, members, "PolyForm-Noncommercial-1.0.0")


# The files have the same names in both folders: an entry of the cache for each.
TABLE = {
    "calibration-reference": (archive("ref_dir", REFERENCE),),
    "calibration-distorted": (archive("dist_dir", DISTORTED),),
}


def read(path: Path) -> torch.Tensor:
    """(3, H, W) RGB, [0, 1], float64."""
    with Image.open(path) as picture:
        return torch.from_numpy(np.asarray(picture.convert("RGB")) / 255).permute(2, 0, 1)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.Tensor, torch.Tensor]:
    """Distorted and reference pictures, (5, 3, 384, 512) each."""
    shelf = tmp_path_factory.mktemp("archive")
    kept: list[Path] = []

    def once(wanted: Archive, folder: Path) -> Path:
        """Both entries lie in one archive: download it for the first only."""
        if not kept:
            kept.append(packages.pip_download(wanted, shelf))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packages, "PACKAGES", TABLE)
        distorted, reference = (
            packages.fetch(f"calibration-{kind}", source=once) for kind in ("distorted", "reference")
        )
    stacks = [torch.stack([read(files[f"{name}.bmp"]) for name in NAMES]) for files in (distorted, reference)]
    return stacks[0], stacks[1]


@pytest.fixture(scope="module")
def gray_pairs(pairs: tuple[torch.Tensor, torch.Tensor]) -> list[torch.Tensor]:
    """The same in gray of 256 steps, three equal channels."""
    weights = torch.tensor(GRAY, dtype=torch.float64)
    return [
        (torch.einsum("nchw,c->nhw", x * 255, weights).round() / 255)[:, None].expand(-1, 3, -1, -1)
        for x in pairs
    ]


def test_lpips(pairs):
    np.testing.assert_allclose(lpips(*pairs), [0.7237, 0.2572, 0.05079, 0.05205, 0.4253], atol=1e-3)


def test_dists(pairs):
    first = (stack[:2] for stack in pairs)  # two of them: a VGG-16 takes its time
    np.testing.assert_allclose(dists(*first), [0.4742, 0.1424], atol=1e-3)


def test_niqe(pairs):
    # The official run looked at MATLAB's gray; facemend looks at the rounded BT.601 brightness.
    np.testing.assert_allclose(niqe(pairs[0]), [15.7536, 3.65492, 3.23548, 3.18403, 8.6352], rtol=0.05)


def test_psnr(pairs):
    np.testing.assert_allclose(psnr(*pairs), [21.11, 20.99, 27.01, 23.30, 21.62], atol=0.01)


def test_ssim(gray_pairs):
    np.testing.assert_allclose(ssim(*gray_pairs), [0.6993, 0.9978, 0.9989, 0.9669, 0.6519], atol=1e-4)


def test_ms_ssim(gray_pairs):
    # The official script is not the formula to the last digit: IQA-PyTorch's own has 0.6698 and 0.8418 for
    # the first and the last pair, as ours has. test_metrics.py holds the formula itself closer.
    np.testing.assert_allclose(ms_ssim(*gray_pairs), [0.6733, 0.9996, 0.9998, 0.9566, 0.8462], atol=5e-3)

"""Three small public-domain faces with their table, and what a test usually evaluates."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from facemend.evaluation.options import EvaluationOptions

PORTRAITS = Path(__file__).parents[1] / "networks/data"
SIDE = 192
"""The smallest that NIQE and MS-SSIM take."""
TABLE = """file,source,kind,yaw
biden.png,white_house,real,-0.55
obama.png,white_house,real,0.1
obama2.png,other,synthetic,0.39
"""


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `faces` of three aligned faces, 192 px PNG, and `faces.csv` beside it. Not to be changed."""
    folder = tmp_path_factory.mktemp("evaluation") / "faces"
    folder.mkdir()
    for name in ("biden", "obama", "obama2"):
        with Image.open(PORTRAITS / f"{name}.jpg") as image:
            image.resize((SIDE, SIDE), Image.Resampling.BOX).save(folder / f"{name}.png")
    folder.with_suffix(".csv").write_text(TABLE, encoding="utf-8")
    return folder


@pytest.fixture
def own_faces(faces: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may change, with its table."""
    shutil.copy(faces.with_suffix(".csv"), tmp_path / "own.csv")
    return Path(shutil.copytree(faces, tmp_path / "own"))


@pytest.fixture
def options(own_faces: Path, tmp_path: Path) -> Any:
    """`options(preset="medium")`: checked options for those faces; without models."""

    def make(**changes: Any) -> EvaluationOptions:
        return EvaluationOptions(**{"faces": own_faces, "out": tmp_path / "out", "speed": False} | changes)

    return make

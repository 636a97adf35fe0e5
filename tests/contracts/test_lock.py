"""requirements.lock holds all that the light half, its tests and a release need, and no address."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def named() -> list[Requirement]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, groups = pyproject["project"], pyproject["dependency-groups"]
    extras = (project["optional-dependencies"][extra] for extra in ("heif", "quantize", "serve", "video"))
    lists = [project["dependencies"], *extras, groups["test"], groups["release"]]
    return [Requirement(line) for lines in lists for line in lines if isinstance(line, str)]


@pytest.mark.parametrize("wanted", named(), ids=str)
def test_a_release_that_pyproject_allows_is_locked(wanted):
    versions = re.findall(r"^([\w.-]+)==([^ \\]+)", LOCK, re.MULTILINE)
    held = [version for name, version in versions if name == canonicalize_name(wanted.name)]
    assert held, "run scripts/lock"
    assert [version for version in held if version not in wanted.specifier] == [], "run scripts/lock"


def test_every_release_has_hashes_and_no_address():
    blocks = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE).strip())
    assert len(blocks) > 60
    assert [block for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)] == []
    assert not re.search(r"://|^-", LOCK, re.MULTILINE)

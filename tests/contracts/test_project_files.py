"""The files that hosts and citation tools read say what is true."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_version_is_the_same_everywhere():
    assert re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.M)[1] == VERSION
    newest = re.search(r"^## \[(\d.*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest[1] == VERSION
    told = set(re.findall(r"facemend-(\d[\d.]*\d)-py3", (ROOT / "README.md").read_text()))
    assert told == {VERSION}


@pytest.mark.parametrize("form", ["fault", "face"])
def test_reports_ask_for_the_installation(form):
    assert "facemend doctor --json" in (ROOT / f".github/ISSUE_TEMPLATE/{form}.yml").read_text()


def test_hooks_run_scripts_that_are_there():
    entries = re.findall(r"entry: (\S+)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert entries
    assert all((ROOT / entry).stat().st_mode & 0o100 for entry in entries)

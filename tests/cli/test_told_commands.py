"""Every `facemend ...` that README, docs, messages and docstrings tell people to type is understood."""

import re
import shlex
from pathlib import Path

import pytest
import typer.core
from typer.testing import CliRunner

from facemend.cli.app import COMMANDS, app

ROOT = Path(__file__).parents[2]
PATTERNS = ("*.md", "docs/**/*.md", "src/facemend/assets/models/*/*.md", "src/facemend/**/*.py")
HISTORY = {"CHANGELOG.md", "log.md"}
STANDS_FOR = {"{config.stage}": "stage1", " ...": ""}


def lines(file: Path) -> set[str]:
    """The command lines in blocks and between backticks, without comments and what stands before them."""
    text = file.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
    between = r"`([^`]+)`" if file.suffix == ".md" else r"`([^`\n]+)`"
    pieces = re.findall(between, re.sub(r"```.*?```", "", text, flags=re.S))
    told = [line.split(" #")[0] for block in blocks for line in block.splitlines()]
    told += [" ".join(piece.split()) for piece in pieces]
    found = (re.search(r"(?<![\w/.-])facemend (?=[a-z])(.*)", line) for line in told)
    return {match[1].strip() for match in found if match}


TOLD = {
    file.relative_to(ROOT).as_posix(): told
    for pattern in PATTERNS
    for file in sorted(ROOT.glob(pattern))
    if file.name not in HISTORY and (told := lines(file))
}


@pytest.mark.parametrize("file", TOLD)
def test_what_people_are_told_to_type_is_understood(file, monkeypatch, tmp_path):
    """Up to where the work would begin."""
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path))
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", lambda self, ctx: None)
    for line in sorted(TOLD[file]):
        given = line
        for name, value in STANDS_FOR.items():
            given = given.replace(name, value)
        words = shlex.split(re.sub(r"\{[^{}]*\}", "X", given))
        # Of a command that is only named, what it needs is left out.
        only_names = all(re.fullmatch("[a-z0-9-]+", word) for word in words)
        said = CliRunner().invoke(app, [*words, "--help"] if only_names else words)
        assert said.exit_code == 0, f"facemend {line}: {said.output}"


def test_every_command_is_told_of():
    assert {line.split()[0] for told in TOLD.values() for line in told} >= set(COMMANDS)

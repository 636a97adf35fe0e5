"""The pages of the documentation and the blocks of code in them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
HISTORY = {"CHANGELOG.md", "log.md"}
"""Pages that tell of what was: their commands and settings need not work any longer."""


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    code: str

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks(*languages):
    """All blocks of these languages, or of any."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^ *```(\S*)[^\n]*\n(.*?)^ *```", text, re.M | re.S):
            if page.name not in HISTORY and (not languages or match[1] in languages):
                line = text.count("\n", 0, match.start()) + 1
                found.append(Block(page.relative_to(ROOT).as_posix(), line, match[1], match[2]))
    return found


def prose(page):
    """A page without its blocks and what stands between backticks."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`]*`", "``", text)


def rows(text):
    """The cells of each row of the tables in a text, heads and rules too."""
    return [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("|")
    ]

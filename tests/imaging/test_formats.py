"""The table of formats in the documentation is the one in the code."""

from __future__ import annotations

import pytest

from facemend.imaging import SUFFIXES, WRITABLE
from facemend.imaging.formats import FORMATS, Format

EXACT = {"always": "exact", "as the source": "as the source", "never": "nearly"}


def row(format: Format) -> str:
    """The line of the documentation."""

    def said(yes: bool) -> str:
        return "yes" if yes else "no"

    cells = [
        format.name,
        " ".join(format.suffixes),
        "yes" if format.written else "as PNG",
        EXACT[format.lossless],
        said(format.alpha),
        {8: "8", 12: "8, 10, 12", 16: "8, 16"}[format.bits],
        *(
            said(held)
            for held in (
                format.gray,
                format.icc,
                format.exif,
                format.xmp,
                format.iptc,
                format.text,
                format.dpi,
            )
        ),
    ]
    return f"| {' | '.join(cells)} |"


def test_the_documentation_has_the_table(request: pytest.FixtureRequest) -> None:
    lines = (request.config.rootpath / "docs/pictures.md").read_text(encoding="utf-8").splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("| format |"))
    assert lines[header + 2 : header + 2 + len(FORMATS)] == [row(format) for format in FORMATS.values()]
    assert not lines[header + 2 + len(FORMATS)].startswith("|")


def test_every_suffix_belongs_to_one_format() -> None:
    suffixes = [suffix for format in FORMATS.values() for suffix in format.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert set(suffixes) == SUFFIXES
    assert WRITABLE.keys() <= SUFFIXES
    assert {FORMATS[name].written for name in WRITABLE.values()} == {True}

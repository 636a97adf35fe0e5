"""No link of the documentation leads nowhere, and the site shows every page."""

import re

import pytest
from pages import HISTORY, PAGES, ROOT, prose

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page, host):
    """Those of the headings, as the site makes them, or a code host, which joins no dashes."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    words = [
        re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in re.findall(r"^#+ (.*)", text, re.M)
    ]
    return {word.replace(" ", "-") if host else re.sub(r"[-\s]+", "-", word) for word in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = re.sub(r"\[`[^`]*`\]", "[]", page.read_text(encoding="utf-8"))
    for target in LINK.findall(prose(page)) + LINK.findall(text):
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert (ROOT / "docs") in file.parents or page.parent == ROOT, f"{target}: not on the site"
        assert not anchor or anchor in anchors(file, host=page.parent == ROOT), target


def test_the_site_shows_every_page_once():
    shown = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    there = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.parent != ROOT]
    assert sorted(shown) == sorted(there)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in HISTORY], ids=lambda page: page.name
)
def test_lists_and_tables_are_seen_by_the_site(page):
    """It wants a blank line before them where text stands above, code hosts do not."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    glued = re.findall(r"^(?![-|#\s]|\d+\. )[^\n]*\n(?:- |\||\d+\. )[^\n]*", text, re.M)
    assert glued == []
    # A blank line ends a table: what follows needs a head of its own.
    headless = re.findall(r"(?<=\n\n)\|[^\n]*\n(?!\|[ :|-]+\|)", text)
    assert headless == []

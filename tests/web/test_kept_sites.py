"""What the service worker keeps: of several sites on one host, and of a new version."""

import re
import shutil

import pytest
from web_helpers import Host

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1500)]
READY = "#options:not([hidden])"
KEPT = "caches.keys().then((names) => names.filter((name) => name.includes('page')).sort())"


@pytest.fixture
def two(site, tmp_path):
    """A host with two sites, under a path that sounds like that of the networks."""
    for name in ("one", "two"):
        shutil.copytree(site, tmp_path / "models" / name)
    host = Host(tmp_path)
    yield host, tmp_path / "models"
    host.close()


def test_a_new_version_comes_and_other_sites_stay(two, open_page):
    host, folder = two
    page = open_page(f"{host.address}models/one/")
    page.goto(f"{host.address}models/two/")
    page.wait_for_selector(READY)
    one, _ = before = page.evaluate(KEPT)
    assert [name.split(" ")[1] for name in before] == ["/models/one/", "/models/two/"]

    index, worker = folder / "two/index.html", folder / "two/sw.js"
    index.write_text(index.read_text().replace("<title>facemend", "<title>a newer facemend"))
    worker.write_text(re.sub("(facemend-page-)[0-9a-f]+", r"\1new", worker.read_text()))
    page.reload()
    while page.evaluate(KEPT) != [one, "facemend-page-new /models/two/"]:  # fetched behind the old one
        page.wait_for_timeout(100)
    page.reload()
    assert page.title() == "a newer facemend"


def test_what_else_is_below_a_site_is_left_alone(two, open_page):
    host, folder = two
    page = open_page(f"{host.address}models/one/")
    ask = """(version) => fetch(`notes.txt?v=${version}`).then(
        async (it) => [await it.text(), it.headers.get("Content-Security-Policy")])"""
    for version in ("1", "2"):
        (folder / "one/notes.txt").write_text(version)
        assert page.evaluate(ask, version) == [version, None]
    assert "/models/one/notes.txt?v=2" in host.server.asked

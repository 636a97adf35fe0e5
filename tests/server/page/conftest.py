"""Chromium, a server, and pages that must not complain."""

import pytest
from page_helpers import PATIENCE
from server_helpers import Server

VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (said) => violations.push(said.violatedDirective));
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("page")
    server = Server(folder, {}, "--store", str(folder / "store"))
    yield server
    server.close()


@pytest.fixture
def open_page(browser):
    """Opens pages, and sees to it at the end that none complained.

    A page's `problems` are its lines on the console and its errors; a test that provokes some clears them.
    """
    opened = []

    def start(server, *, language="en-US", width=1280, height=900, **how):
        context = browser.new_context(locale=language, viewport={"width": width, "height": height}, **how)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.add_init_script(VIOLATIONS)
        page.problems = []
        page.on("console", lambda line: page.problems.append(line.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(server.address)
        page.wait_for_selector("#options:not([hidden])")
        opened.append(page)
        return page

    yield start
    for page in opened:
        violations = page.evaluate("window.violations")
        page.context.close()
        assert page.problems == []
        assert violations == []


@pytest.fixture
def usual_model():
    """For tests of what the model that the page begins with says and draws."""


@pytest.fixture
def page(server, open_page, request):
    """With a network that runs in a millisecond, until it is loaded anew."""
    page = open_page(server)
    if "usual_model" not in request.fixturenames:
        page.select_option("#model", "tiny")
    return page

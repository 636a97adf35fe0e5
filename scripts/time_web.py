"""How long the page without a server takes: cold and warm, one thread and several; a table for docs/web.md.

Needs Chromium and playwright; run it on a quiet machine: `python scripts/time_web.py [--times 3]`. A photo of
one megapixel with one face, until its result is seen; CPU seconds are those of all of Chromium.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import shutil
import statistics
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from facemend.photo.options import DEFAULT_MODEL
from facemend.web.site import RUNTIME, write_site
from facemend.weights.models import find_model
from facemend.weights.packages import fetch

PORTRAIT = Path(__file__).parents[1] / "tests/data/portrait.jpg"
PATIENCE = 300_000  # ms


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *said: object) -> None:
        """Nothing."""


def photo() -> dict[str, object]:
    buffer = io.BytesIO()
    Image.open(PORTRAIT).resize((896, 1120)).save(buffer, "jpeg", quality=95)
    return {"name": "portrait.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def cpu() -> float:
    """CPU seconds of this process's children, Chromium among them."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            used = child.cpu_times()
        except psutil.Error:
            continue
        total += used.user + used.system
    return total


# Without asking again and again, which has the page drawn anew each time: that took a fifth of a visit.
WAIT = """([selector, count, patience]) => new Promise((resolve, reject) => {
  const watch = new MutationObserver(look);
  function look() {
    if (document.querySelectorAll(selector).length < count) return;
    watch.disconnect();
    resolve();
  }
  setTimeout(() => reject(new Error(`not there: ${selector}`)), patience);
  watch.observe(document, { subtree: true, childList: true, attributes: true });
  look();
})"""


def until(page: Page, selector: str, count: int = 1) -> None:
    """Until so many elements are there; an error of Playwright's if they do not come."""
    page.evaluate(WAIT, [selector, count, PATIENCE])


def seen(page: Page, n: int) -> None:
    """Until the n-th photo's result is shown."""
    until(page, ".thumb[data-state=done]", n)
    until(page, "#frame.comparing")


def visit(browser: Browser, address: str, threads: bool) -> dict[str, tuple[float, float]]:
    context = browser.new_context(service_workers="allow" if threads else "block")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    told = {}
    clock = time.monotonic(), cpu()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.monotonic(), cpu()
        told[name] = now[0] - clock[0], now[1] - clock[1]
        clock = now

    page.goto(address)
    # The page is loaded twice, which `until` would not outlive.
    page.wait_for_selector("#options:not([hidden])")
    page.set_input_files("#file", [photo()])
    seen(page, 1)
    lap("cold")
    page.wait_for_timeout(3000)
    lap("pause")
    page.set_input_files("#file", [photo()])
    seen(page, 2)
    lap("warm")
    page.evaluate("() => { w.value = 0.9; w.dispatchEvent(new Event('input')); }")
    until(page, "#renewing:not([hidden])")
    until(page, "#renewing[hidden]")
    lap("another w")
    assert page.evaluate("crossOriginIsolated") is threads
    context.close()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = Path(folder) / "site"
        write_site(site, find_model(DEFAULT_MODEL), fetch(RUNTIME))
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, median of {times}")
        print("| threads | cold | warm | another w |\n|---|---|---|---|")
        for threads in (False, True):
            rows = []
            for _ in range(times):
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
                rows.append(visit(browser, address, threads))
                browser.close()
            cells = [
                f"{statistics.median(row[name][0] for row in rows):.1f} s "
                f"({statistics.median(row[name][1] for row in rows):.1f} s CPU)"
                for name in ("cold", "warm", "another w")
            ]
            print(f"| {min(4, os.cpu_count() or 1) if threads else 1} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

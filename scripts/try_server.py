#!/usr/bin/env python3
"""Try a running `facemend serve`: its health, the page with its files, and the shipped portrait restored.

    python scripts/try_server.py http://127.0.0.1:8000

Needs nothing but Python. Ends with an error unless all of it works within two minutes.
"""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

PORTRAIT = Path(__file__).parents[1] / "src/facemend/assets/demo/portrait.jpg"
PATIENCE = 120.0  # seconds


def fetch(url: str, body: bytes | None = None, kind: str = "") -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": kind} if kind else {})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return bytes(answer.read())


def until(what: str, url: str, wanted: str) -> None:
    """Ask until the answer's status is the wanted one."""
    end, said = time.monotonic() + PATIENCE, "nothing"
    while time.monotonic() < end:
        try:
            answer = json.loads(fetch(url))
            if answer["status"] == wanted:
                return
            said = answer.get("error") or answer["status"]
        except OSError as error:  # it does not listen yet
            said = str(error)
        time.sleep(0.5)
    raise SystemExit(f"{what} is not {wanted} after {PATIENCE:.0f} s: {said}")


def restore(root: str) -> bytes:
    upload = b"\r\n".join(
        [
            b"--B",
            b'Content-Disposition: form-data; name="photo"; filename="portrait.jpg"',
            b"Content-Type: image/jpeg",
            b"",
            PORTRAIT.read_bytes(),
            b"--B--",
            b"",
        ]
    )
    job = json.loads(fetch(urljoin(root, "/api/jobs"), upload, "multipart/form-data; boundary=B"))
    place = urljoin(root, f"/api/jobs/{job['id']}")
    until("the photo", place, "done")
    return fetch(f"{place}/result")


def main() -> None:
    root = sys.argv[1]
    until("the server", urljoin(root, "/api/health"), "ok")
    page = fetch(root).decode()
    files = re.findall(r'(?:src|href)="([^":#]+\.\w+)"', page)
    if not files:
        raise SystemExit("the page names no files")
    for file in files:
        fetch(urljoin(root, file))
    result = restore(root)
    if not result.startswith(b"\xff\xd8") or result == PORTRAIT.read_bytes():
        raise SystemExit("the result is not a restored JPEG")
    print(f"{root}: well; the page, {len(files)} files of it, and a portrait restored ({len(result)} bytes)")


if __name__ == "__main__":
    main()

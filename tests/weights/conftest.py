"""An empty cache for every test, and one server that misbehaves in every way it can."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Server(ThreadingHTTPServer):
    """Serves `pages` by name, and remembers what was asked of it: name, Range and If-Range.

    Attributes:
        etag: version of the pages; empty: the server names none.
        ranges: whether it sends parts.
        honest: whether it checks If-Range.
        cut: hang up after that many bytes of the answer.
        extra: added to the announced length.
        form: "sized", "chunked" (and never ended), "endless" or "drip" (a byte at a time); also "dripping
            status", "dripping header", "dripping chunk" (its length) and "dripping redirect" (its body).
        location: redirect there.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.etag, self.ranges, self.honest, self.extra = '"one"', True, True, 0
        self.cut: int | None = None
        self.form = "sized"
        self.location = ""
        self.over = threading.Event()

    def url(self, name: str = "net.pth") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that hangs up early is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, name = self.server, self.path.strip("/").partition("?")[0]
        wanted, version = self.headers.get("Range"), self.headers.get("If-Range")
        server.asked.append((name, wanted, version))
        body = server.pages.get(name)
        if server.location and body is None and server.form == "dripping redirect":
            self.answer(302, {"Location": server.location})
            self.drip()
        elif server.location and body is None:
            self.answer(302, {"Location": server.location, "Content-Length": "0"})
        elif body is None:
            self.send_error(404)
        elif wanted and server.ranges and (not server.honest or version in (None, server.etag)):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
            else:
                self.send(206, body[start:], {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})
        else:
            self.send(200, body, {})

    def answer(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        form = self.server.form
        headers |= {"ETag": self.server.etag} if self.server.etag else {}
        if form in ("dripping status", "dripping header", "dripping chunk"):
            begun = {"status": b"", "header": b"HTTP/1.1 200 OK\r\n"}
            begun["chunk"] = begun["header"] + b"Transfer-Encoding: chunked\r\n\r\n1;"
            self.wfile.write(begun[form.split()[1]])
            self.drip()
        elif form == "chunked":
            self.answer(code, {**headers, "Transfer-Encoding": "chunked"})
            self.wfile.write(b"%x\r\n" % (len(body) + 10) + body)
        elif form == "endless":
            self.answer(code, headers)
            for _ in range(100):
                self.wfile.write(body)
        else:
            self.answer(code, {**headers, "Content-Length": str(len(body) + self.server.extra)})
            if form == "drip":
                for byte in body:
                    if self.server.over.wait(0.02):
                        return
                    self.wfile.write(bytes([byte]))
            self.wfile.write(body[: self.server.cut])

    def drip(self) -> None:
        while not self.server.over.wait(0.02):
            self.wfile.write(b"x")

    def log_message(self, *args: object) -> None:
        """Be silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))
    for name in ("FACEMEND_MIRROR", "FACEMEND_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"

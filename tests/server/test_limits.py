"""What no request may exceed, who may come, and what browsers are told."""

import asyncio
import time
from dataclasses import replace

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from server_helpers import post, restored

from facemend.server.app import create_app

TOKEN = "correct-horse"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def guarded(settings):
    with TestClient(create_app(replace(settings, token=TOKEN))) as client:
        yield client


# --- the token ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/jobs/x"),
        ("DELETE", "/api/jobs/x"),
        ("POST", "/api/jobs"),
        ("GET", "/api/jobs/x/result"),
        ("GET", "/api/jobs/x/preview"),
        ("GET", "/api/jobs/x/before"),
        ("GET", "/api/jobs/x/faces/0/before"),
        ("GET", "/api/openapi.json"),
        ("GET", "/api/nothing"),
        ("GET", "/metrics"),
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Cookie": "facemend_token=wrong"},
        {"Cookie": "facemend_token="},
        {"Cookie": '"; facemend_token'},
    ],
)
def test_without_the_token_nothing_is_said(guarded, method, path, headers):
    answer = guarded.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {"detail": "this server needs its token"}
    assert answer.headers["www-authenticate"] == "Bearer"


def test_what_is_open_with_a_token(guarded):
    assert guarded.get("/api/health").status_code == 200
    assert guarded.get("/api/info").json()["token"] is True


def test_the_token_opens(guarded, blank):
    guarded.headers.update(BEARER)
    job = restored(guarded, blank)
    assert guarded.get(f"/api/jobs/{job['id']}/result").status_code == 200
    assert guarded.get("/metrics").status_code == 200


def test_the_cookie_opens_too(guarded, blank):
    assert guarded.post("/api/login", json={"token": "wrong"}).status_code == 401
    assert "set-cookie" not in guarded.post("/api/login", json={"token": "ü"}).headers
    answer = guarded.post("/api/login", json={"token": TOKEN})
    assert (answer.status_code, answer.content) == (204, b"")
    cookie = answer.headers["set-cookie"].lower()
    assert f"facemend_token={TOKEN}" in cookie
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert post(guarded, blank).status_code == 202


def test_a_cookie_over_https_is_for_https_only(settings):
    app = create_app(replace(settings, token=TOKEN))
    with TestClient(app, base_url="https://example.org") as client:
        assert "secure" in client.post("/api/login", json={"token": TOKEN}).headers["set-cookie"].lower()


def test_a_server_without_a_token_lets_all_in(client):
    answer = client.post("/api/login", json={"token": ""})
    assert answer.status_code == 204
    assert "set-cookie" not in answer.headers


# --- browsers ---


@pytest.mark.parametrize("path", ["/api/info", "/api/nothing", "/api/openapi.json", "/metrics", "/nothing"])
def test_every_answer_is_strict(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


def test_answers_about_photos_are_kept_by_no_cache(client, blank):
    job = restored(client, blank)
    for path in ("", "/result", "/preview", "/before"):
        assert client.get(f"/api/jobs/{job['id']}{path}").headers["cache-control"] == "no-store"


def test_other_origins_get_nothing(client, blank):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = client.options("/api/jobs", headers=asked)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("site", ["cross-site", "same-origin", "none"])
def test_forms_of_other_sites_are_refused(client, blank, site):
    files = {"photo": ("a.png", blank)}
    answer = client.post("/api/jobs", files=files, headers={"Sec-Fetch-Site": site})
    assert answer.status_code == (403 if site == "cross-site" else 202)


# --- bytes ---


@pytest.fixture
def small(settings):
    with TestClient(create_app(replace(settings, max_mb=1))) as client:
        yield client


def test_large_uploads_are_refused_before_they_are_read(small, blank):
    answer = post(small, blank + bytes(1_100_000))
    assert answer.status_code == 413
    assert answer.json() == {"detail": "the file is over the limit of 1 MB: choose a smaller one"}
    assert post(small, blank + bytes(900_000)).status_code == 202


def test_a_length_beyond_reason_is_refused(small):
    for length in ("9" * 30, "9" * 6000):
        assert small.post("/api/login", content=b"", headers={"content-length": length}).status_code == 413


def test_a_body_that_hides_its_length_is_counted(small):
    head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    sent = 0

    def body():
        nonlocal sent
        yield head
        for _ in range(100):
            sent += 100_000
            yield bytes(100_000)

    answer = small.post(
        "/api/jobs", content=body(), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert answer.status_code == 413
    assert list((small.app.state.services.settings.folder() / "jobs").iterdir()) == []


@pytest.mark.parametrize("path", ["/api/login", "/api/info", "/nothing"])
def test_other_bodies_may_be_small_only(small, path):
    assert small.request("POST", path, content=bytes(100_000)).status_code == 413


def test_the_body_is_not_read_further_than_the_limit(settings):
    """As a server sees it: after the limit no more is asked for."""
    app = create_app(replace(settings, max_mb=1))
    asked = 0

    async def receive():
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": bytes(65_536), "more_body": True}

    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/jobs",
        "raw_path": b"/api/jobs",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=x")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "root_path": "",
    }
    head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    first = True

    async def multipart():
        nonlocal first
        message = await receive()
        if first:
            first = False
            message["body"] = head
        return message

    asyncio.run(app(scope, multipart, send))
    assert sent[0]["status"] == 413
    assert asked <= 20
    app.state.services.jobs.close()


# --- pixels ---


def test_too_many_pixels_are_413_with_the_way_out(settings, jpeg):
    with TestClient(create_app(replace(settings, max_pixels=200_000))) as client:
        assert post(client, jpeg).status_code == 202  # 128,000
        answer = post(client, jpeg, upscale=2)
        assert answer.status_code == 413
        assert "320x400 at upscale 2" in answer.json()["detail"]
        assert "use a smaller upscale" in answer.json()["detail"]
    with TestClient(create_app(replace(settings, max_pixels=100_000))) as client:
        answer = post(client, jpeg)
        assert answer.status_code == 413
        assert "shrink it first" in answer.json()["detail"]


# --- time ---


async def _slowly(app, content, headers):
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post("/api/jobs", content=content, headers=headers)


def test_an_upload_may_not_take_for_ever(settings):
    app = create_app(replace(settings, request_seconds=1))

    async def body():
        yield b"--x\r\n"
        await asyncio.sleep(30)

    answer = asyncio.run(_slowly(app, body(), {"content-type": "multipart/form-data; boundary=x"}))
    assert answer.status_code == 408
    assert answer.json() == {"detail": "the upload took longer than 1 s, which is the limit"}
    app.state.services.jobs.close()


def test_a_look_that_waits_too_long_is_503(settings, blank, monkeypatch):
    with TestClient(create_app(replace(settings, request_seconds=1))) as client:
        job = restored(client, blank)
        services = client.app.state.services
        monkeypatch.setattr(services.restorer, "preview", lambda *rest: time.sleep(3))
        answer = client.get(f"/api/jobs/{job['id']}/preview")
        assert answer.status_code == 503
        assert "longer than 1 s" in answer.json()["detail"]
        assert answer.headers["retry-after"]

"""What no request may exceed, who may come, and what browsers are told."""

import asyncio
import time
from dataclasses import replace

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from server_helpers import post, restored

from facemend.server.app import create_app
from facemend.server.restorer import JobRestorer

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def guarded(settings):
    with TestClient(create_app(replace(settings, token=TOKEN))) as client:
        yield client


# --- the token ---


WRONG = [
    {},
    {"Authorization": "Bearer wrong"},
    {"Authorization": "Bearer "},
    {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": TOKEN},
    {"Authorization": b"Bearer \xff\xfe"},
    {"Cookie": "facemend_token=wrong"},
    {"Cookie": "facemend_token="},
    {"Cookie": '"; facemend_token'},
]
GUARDED = ["", "/result", "/preview", "/before", "/faces/0/before"]


def test_without_the_token_nothing_is_said(guarded):
    asked = [("GET", f"/api/jobs/x{path}", WRONG[0]) for path in GUARDED]
    asked += [("GET", path, WRONG[0]) for path in ("/api/openapi.json", "/api/nothing", "/metrics")]
    asked += [("POST", "/api/jobs", WRONG[0])]
    asked += [("DELETE", "/api/jobs/x", headers) for headers in WRONG]
    for method, path, headers in asked:
        answer = guarded.request(method, path, headers=headers)
        assert answer.status_code == 401, (method, path, headers)
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


def test_a_body_that_hides_its_length_is_read_no_further_than_the_limit(settings):
    app = create_app(replace(settings, max_mb=1, film_mb=1))
    sent = 0

    async def body():
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        for _ in range(100):
            sent += 100_000
            yield bytes(100_000)

    answer = asyncio.run(_posted(app, body(), {"content-type": "multipart/form-data; boundary=x"}))
    assert answer.status_code == 413
    assert sent <= 1_300_000
    assert list((settings.folder() / "jobs").iterdir()) == []
    app.state.services.jobs.close()


def test_other_bodies_may_be_small_only(small):
    for path in ("/api/login", "/api/info", "/nothing"):
        assert small.request("POST", path, content=bytes(100_000)).status_code == 413


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


async def _posted(app, content, headers):
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post("/api/jobs", content=content, headers=headers)


def test_an_upload_may_not_take_for_ever(settings):
    app = create_app(replace(settings, request_seconds=1))

    async def body():
        yield b"--x\r\n"
        await asyncio.sleep(30)

    answer = asyncio.run(_posted(app, body(), {"content-type": "multipart/form-data; boundary=x"}))
    assert answer.status_code == 408
    assert answer.json() == {"detail": "the upload took longer than 1 s, which is the limit"}
    app.state.services.jobs.close()


def test_a_look_that_waits_too_long_is_503(settings, blank, monkeypatch):
    with TestClient(create_app(replace(settings, request_seconds=1))) as client:
        job = restored(client, blank)
        monkeypatch.setattr(JobRestorer, "preview", lambda restorer, **rest: time.sleep(1.5))
        answer = client.get(f"/api/jobs/{job['id']}/preview")
        assert answer.status_code == 503
        assert "longer than 1 s" in answer.json()["detail"]
        assert answer.headers["retry-after"]

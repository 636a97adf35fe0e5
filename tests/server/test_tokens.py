"""Guesses at the token are slowed down, and said in the log."""

from dataclasses import replace

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from server_helpers import post, wait

from facemend.server.app import create_app
from facemend.server.tokens import COOKIE, GUESSES, Guard

TOKEN = "correct-horse-battery"


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def status(guard: Guard, *shown: str, client="10.0.0.1") -> int:
    try:
        guard.check(shown, client)
    except HTTPException as error:
        return error.status_code
    return 200


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("facemend.server.tokens.time", clock)
    return clock


def test_who_guesses_must_wait_and_others_need_not(clock):
    guard = Guard(TOKEN)
    assert [status(guard, f"guess {number}") for number in range(GUESSES)] == [401] * GUESSES
    assert status(guard, "one more") == status(guard, TOKEN) == 429
    assert status(guard) == 401  # a page that asks without one is told that it needs one
    assert status(guard, TOKEN, client="10.0.0.2") == 200
    clock.now += 61
    assert status(guard, TOKEN) == 200


def test_few_wrong_ones_and_none_do_no_harm(clock):
    guard = Guard(TOKEN)
    for _ in range(10):
        assert [status(guard) for _ in range(GUESSES)] == [401] * GUESSES
        assert [status(guard, "old") for _ in range(GUESSES - 1)] == [401] * (GUESSES - 1)
        assert status(guard, "old", TOKEN) == 200
        clock.now += 61


def test_many_clients_are_not_remembered_for_ever(monkeypatch):
    monkeypatch.setattr("facemend.server.tokens._CLIENTS", 10)
    guard = Guard(TOKEN)
    for number in range(50):
        status(guard, "x", client=str(number))
    assert list(guard._wrong) == [str(number) for number in range(40, 50)]


@pytest.mark.parametrize("other", ['prefs={"a":1}', "prefs=a b", "prefs", "prefs[a]=1", f"{COOKIE}=old"])
def test_cookies_of_other_programs_do_not_hide_ours(settings, other):
    with TestClient(create_app(replace(settings, token=TOKEN))) as client:
        cookies = [f"{other}; {COOKIE}={TOKEN}", f"{COOKIE}={TOKEN}; {other}", other]
        answers = [client.get("/api/jobs/x", headers={"Cookie": cookie}) for cookie in cookies]
    assert [answer.status_code for answer in answers] == [404, 404, 401]


def test_a_token_of_signs_that_cookies_quote_lets_the_page_in(settings):
    with TestClient(create_app(replace(settings, token="abc/def=ghi+(12345)6789"))) as client:
        answer = client.post("/api/login", json={"token": "abc/def=ghi+(12345)6789"})
        cookie = answer.headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        assert client.get("/api/jobs/x", headers={"Cookie": cookie}).status_code == 404


def test_each_way_to_show_a_token_counts(settings, caplog):
    with TestClient(create_app(replace(settings, token=TOKEN))) as client:
        ways = [
            lambda: client.post("/api/login", json={"token": "guess"}),
            lambda: client.get("/metrics", headers={"Authorization": "Bearer guess"}),
            lambda: client.get("/api/jobs/secret-id", headers={"Cookie": "facemend_token=guess"}),
        ]
        for number in range(GUESSES):
            assert ways[number % 3]().status_code == 401
        answers = [way() for way in ways]
        assert [answer.status_code for answer in answers] == [429] * 3
        assert 1 <= int(answers[0].headers["retry-after"]) <= 61
        assert client.post("/api/login", json={"token": TOKEN}).status_code == 429
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("401: POST /api/login of unknown") == 7
    assert lines.count("401: GET /api/jobs of unknown") == 6
    assert lines.count(f"unknown has shown {GUESSES} wrong tokens in a minute: it has to wait") == 1
    assert not any(word in line for line in lines for word in ("guess", TOKEN, "secret-id"))


def test_refusals_and_failed_jobs_are_in_the_log(client, caplog, blank):
    client.post("/api/jobs", headers={"Origin": "https://evil.example"})
    client.get("/%1b[31mred%0a", headers={"Host": "evil.example"})
    answer = post(client, blank[:-30], name="private.png")  # its header is in order
    job = wait(client, answer.json()["id"])
    assert job["status"] == "failed"
    lines = [record.getMessage() for record in caplog.records]
    assert "403: POST /api/jobs of unknown" in lines
    assert (
        "421: GET /\x1b[31mred\n of unknown" in lines
    )  # what makes the line of it shows what does not print
    (failed,) = [line for line in lines if "failed: " in line]
    assert failed.startswith("job ")
    assert "private" not in failed
    assert job["id"] not in "".join(lines)


def test_each_answer_has_an_id_of_the_server(client):
    ids = {
        client.get("/api/health", headers={"X-Request-ID": "mine"}).headers["x-request-id"] for _ in range(3)
    }
    assert len(ids) == 3
    assert all(len(id) == 12 and int(id, 16) >= 0 for id in ids)

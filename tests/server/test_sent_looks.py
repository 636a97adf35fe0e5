"""Results with another look: they go through a file, of which nothing is left."""

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from server_helpers import restored

from facemend.server.app import create_app
from facemend.server.services import PassingFile, looked_at

KEPT = {"input", "kept.npz", "result.jpg"}


@pytest.fixture
def server(settings):
    with TestClient(create_app(settings)) as client:
        yield client


def test_the_worker_gives_a_file_that_goes_with_the_answer(server, settings, jpeg, monkeypatch):
    id = restored(server, jpeg)["id"]
    worker, given = server.app.state.services.worker, []
    ask = worker.ask

    def asked(look, client):
        future = ask(look, client)
        future.add_done_callback(lambda done: given.append(done.result()))
        return future

    monkeypatch.setattr(worker, "ask", asked)
    answer = server.get(f"/api/jobs/{id}/result?w=0.1")
    assert (answer.headers["content-type"], answer.content[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    assert given == [None]
    assert {path.name for path in (settings.folder() / "jobs" / id).iterdir()} == KEPT


def test_without_room_there_is_no_other_look(server, jpeg, monkeypatch):
    id = restored(server, jpeg)["id"]
    monkeypatch.setattr("facemend.server.store._LEAST_FREE", 1 << 62)
    assert server.get(f"/api/jobs/{id}/result?w=0.1").status_code == 507
    assert server.get(f"/api/jobs/{id}/result").status_code == 200


def test_what_is_made_after_its_client_went_goes(tmp_path):
    async def gone():
        return True

    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    request = SimpleNamespace(scope={"client": None}, is_disconnected=gone)
    worker = SimpleNamespace(ask=lambda look, client: future)
    with pytest.raises(HTTPException, match="gone"):
        asyncio.run(looked_at(request, worker, None, tmp_path / "look"))
    (tmp_path / "look").touch()
    future.set_result(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("headers", [[], [(b"range", b"bytes=9-")]])
def test_what_is_not_sent_to_its_end_goes(tmp_path, headers):
    (tmp_path / "look").write_bytes(b"123")

    async def receive():
        await asyncio.sleep(10)

    async def send(message):
        raise OSError("it broke off")

    scope = {"type": "http", "method": "GET", "headers": headers, "asgi": {"spec_version": "2.4"}}
    with pytest.raises(OSError, match="it broke off"):
        asyncio.run(PassingFile(tmp_path / "look")(scope, receive, send))
    assert list(tmp_path.iterdir()) == []

"""A disk that takes no more: what is to be written fails, wherever that is, and nothing else does."""

import os
import resource
from contextlib import contextmanager
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from server_helpers import age, post, restored, until

from facemend.errors import OutputError
from facemend.server.app import create_app
from facemend.server.restorer import JobRestorer


@contextmanager
def full(free: int = 0):
    """No file of this process may grow beyond `free` bytes: the system refuses, as a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def server(settings):
    with TestClient(create_app(replace(settings, lease_seconds=3600))) as client:
        yield client


def jobs_of(settings) -> list[str]:
    return os.listdir(settings.folder() / "jobs")


def test_uploads_are_507_and_leave_nothing(server, settings, blank):
    with full():
        answers = [post(server, blank), post(server, blank + bytes(2_000_000))]
        health = server.get("/api/health")
    assert [answer.status_code for answer in answers] == [507, 507]
    assert all("cannot store the upload" in answer.json()["detail"] for answer in answers)
    assert (health.status_code, health.json()["queued"], health.json()["running"]) == (200, 0, 0)
    assert jobs_of(settings) == []
    restored(server, blank)


def test_a_table_that_cannot_grow_is_507_too(server, settings, blank, monkeypatch):
    jobs = server.app.state.services.jobs
    add = jobs.add

    def tight(order):
        with full():
            return add(order)

    monkeypatch.setattr(jobs, "add", tight)
    answer = post(server, blank)
    assert answer.status_code == 507
    assert answer.json() == {"detail": "the server's disk is full: try again later"}
    assert jobs_of(settings) == []
    monkeypatch.undo()
    restored(server, blank)


def test_what_is_there_can_be_seen_and_deleted(server, settings, blank):
    services = server.app.state.services
    id, other = (restored(server, blank)["id"] for _ in range(2))
    with full():
        for path in ("", "/result", "/preview?w=0.1", "/before"):
            assert server.get(f"/api/jobs/{id}{path}").status_code == 200
        assert server.get(f"/api/jobs/{id}/result?w=0.1").status_code == 507
        assert server.get("/metrics").status_code == 200
        assert server.delete(f"/api/jobs/{id}").status_code == 204
        assert server.get(f"/api/jobs/{id}").status_code == 404
        assert server.delete(f"/api/jobs/{id}").status_code == 404
        assert jobs_of(settings) == [other]
    services.worker.clean()
    assert services.jobs.ids() == {other}


def test_what_has_expired_goes_although_the_table_cannot_be_written(server, settings, blank, monkeypatch):
    services = server.app.state.services
    id = restored(server, blank)["id"]
    age(monkeypatch)
    with full(), pytest.raises(OutputError, match="disk is full"):  # it is logged, and tried again
        services.worker.clean()
    assert jobs_of(settings) == []
    assert server.get(f"/api/jobs/{id}").status_code == 404
    services.worker.clean()
    assert services.jobs.ids() == set()


def test_a_result_that_does_not_fit_fails_its_job(server, settings, blank, monkeypatch):
    encoded = JobRestorer._encoded

    def then_full(restorer, picture):
        data = encoded(restorer, picture)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        return data

    failed = server.app.state.services.jobs.fail

    def room_again(*said):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return failed(*said)

    monkeypatch.setattr(JobRestorer, "_encoded", then_full)
    monkeypatch.setattr(server.app.state.services.jobs, "fail", room_again)
    id = post(server, blank).json()["id"]
    with until() as tick:
        while (job := server.get(f"/api/jobs/{id}").json())["status"] != "failed":
            tick()
    assert job["error"] == "the server cannot store the result: try again later"
    assert os.listdir(settings.folder() / "jobs" / id) == ["input"]


def test_what_is_stored_is_for_this_user_alone(server, settings, blank):
    restored(server, blank)
    modes = {path: path.stat().st_mode & 0o777 for path in settings.folder().rglob("*")}
    assert len(modes) >= 6
    assert {path.name for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == set()

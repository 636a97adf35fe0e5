"""Real servers in processes of their own: killed, stopped, started again, several behind one port."""

import io
import json
import re
import signal
import socket
import time
from contextlib import suppress

import httpx2 as httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from server_helpers import post, restored, until, wait
from typer.testing import CliRunner

import facemend
from facemend.cli.app import app
from facemend.errors import install_line
from facemend.imaging import read_picture
from facemend.photo.options import DEFAULT_MODEL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slow() -> bytes:
    """A photo that takes seconds: the detector looks at 5 megapixels of noise."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((2200, 2200), Image.Resampling.NEAREST).save(buffer, "jpeg", quality=60)
    return buffer.getvalue()


def get(server, path: str) -> httpx.Response:
    """By a new connection, which the system gives to one of several workers; it may be slow to answer."""
    return httpx.get(f"{server.address}{path}", timeout=60)


def state(server, id: str) -> str:
    return server.client.get(f"/api/jobs/{id}").json()["status"]


def until_running(server, id: str) -> None:
    with until(60) as tick:
        while state(server, id) != "running":
            tick()


def until_both_run(server, photo: bytes) -> list[str]:
    """Post jobs until two run at once, however long the second worker takes to come up; all their ids."""
    ids: list[str] = []
    with until(120) as tick:
        while (health := get(server, "/api/health").json())["running"] < 2:
            if health["queued"] < 4:
                ids.append(post(server.client, photo).json()["id"])
            tick()
    return ids


def test_a_photo_goes_all_the_way_with_the_default_model(serve, portrait, jpeg):
    server = serve()
    job = restored(server.client, jpeg, model=DEFAULT_MODEL, w=0.5)
    (face,) = job["faces"]
    assert face["restored"]
    result = server.client.get(f"/api/jobs/{job['id']}/result")
    wanted = read_picture(facemend.restore(jpeg, w=0.5, threads=1))
    got = read_picture(result.content)
    assert np.abs(got.pixels.astype(int) - wanted.pixels).max() <= 12  # two JPEGs of what is equal within 1
    changed = np.abs(got.pixels.astype(int) - portrait.resized(job["factor"]).pixels).max(axis=2) > 24
    assert changed.any()
    looks = [server.client.get(f"/api/jobs/{job['id']}/preview?w={w}").content for w in (0, 1)]
    assert looks[0] != looks[1]
    assert server.terminate() == 0


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_temporary_store_goes_with_its_server(serve, blank, tmp_path, sign):
    server = serve(TMPDIR=str(tmp_path))
    restored(server.client, blank)
    (folder,) = tmp_path.glob("facemend-serve-*")
    assert (folder / "jobs.sqlite3").is_file()
    assert folder.stat().st_mode & 0o077 == 0
    server.process.send_signal(sign)
    assert server.process.wait(60) == 0
    assert not folder.exists()
    assert "Traceback" not in server.text()


def test_the_log_is_json_where_asked(serve):
    server = serve("--log-format", "json")
    assert server.client.get("/%0aforged", headers={"Host": "evil.example"}).status_code == 421
    lines = [json.loads(line) for line in server.text().splitlines() if not line.startswith("facemend: ")]
    (said,) = [line for line in lines if line["logger"] == "facemend.server.limits"]
    assert said["message"] == "421: GET /\nforged of 127.0.0.1"
    assert len(said["request"]) == 12


def test_a_job_survives_kill_9(serve, tmp_path, slow, blank):
    store = str(tmp_path / "store")
    server = serve("--store", store, FACEMEND_LEASE_SECONDS="1")
    first = post(server.client, slow, upscale=2).json()["id"]
    second = post(server.client, blank).json()["id"]
    until_running(server, first)
    server.kill()

    again = serve("--store", store, FACEMEND_LEASE_SECONDS="1")
    assert wait(again.client, first, 120)["status"] == "done"
    assert wait(again.client, second)["status"] == "done"
    assert "facemend_jobs_retaken_total 1.0" in again.client.get("/metrics").text
    assert read_picture(again.client.get(f"/api/jobs/{first}/result").content).width == 4400
    leftovers = [path.name for path in (tmp_path / "store").rglob("*.part")]
    assert leftovers == []


def test_sigterm_finishes_the_job_that_runs(serve, tmp_path, slow):
    store = str(tmp_path / "store")
    server = serve("--store", store, FACEMEND_GRACE_SECONDS="60")
    id = post(server.client, slow).json()["id"]
    until_running(server, id)
    assert server.terminate() == 0
    again = serve("--store", store)
    assert state(again, id) == "done"


def test_sigterm_gives_back_what_takes_too_long(serve, tmp_path, slow):
    store = str(tmp_path / "store")
    server = serve("--store", store, FACEMEND_GRACE_SECONDS="0")
    id = post(server.client, slow).json()["id"]
    until_running(server, id)
    assert server.terminate() == 0
    assert "Traceback" not in server.text()
    # No lease has to run out: the job is taken up at once, and it counts as not begun.
    again = serve("--store", store, FACEMEND_LEASE_SECONDS="3600")
    assert wait(again.client, id, 120)["status"] == "done"
    assert "facemend_jobs_retaken_total 0.0" in again.client.get("/metrics").text


def test_a_worker_that_hangs_is_replaced_in_time(serve, slow, blank):
    server = serve(FACEMEND_JOB_SECONDS="5")
    hung, next = post(server.client, slow).json()["id"], post(server.client, blank).json()["id"]
    until_running(server, hung)
    server.child().suspend()
    begun = time.monotonic()
    assert wait(server.client, hung)["error"] == "photo.jpg: took longer than 5 s, which is the limit"
    assert time.monotonic() - begun < 5 + 5
    with until() as tick:
        while get(server, "/api/health").json()["status"] != "ok":
            tick()
    assert wait(server.client, next)["status"] == "done"


def test_health_tells_of_a_killed_child_and_its_job_is_taken_up_again(serve, slow):
    server = serve()
    id = post(server.client, slow).json()["id"]
    until_running(server, id)
    health = get(server, "/api/health").json()
    assert (health["status"], health["working"]) == ("ok", True)
    assert 0 <= health["silent"] < 60
    server.child().kill()
    with until() as tick:
        while get(server, "/api/health").json()["status"] != "replacing":
            tick()
    assert wait(server.client, id, 120)["status"] == "done"
    assert get(server, "/api/health").json()["status"] == "ok"
    assert "facemend_jobs_retaken_total 1.0" in server.client.get("/metrics").text
    assert "the worker died (signal 9)" in server.text()


def test_a_child_ends_with_its_server(serve, slow):
    server = serve()
    until_running(server, post(server.client, slow).json()["id"])
    child = server.child()
    server.process.kill()
    child.wait(2)


def test_workers_end_with_the_process_that_started_them(serve):
    server = serve("--workers", "2")
    server.client.get("/api/health")
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    server.process.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_two_workers_share_the_jobs(serve, slow, jpeg, tmp_path):
    server = serve("--workers", "2", TMPDIR=str(tmp_path))
    ids = until_both_run(server, slow)
    for id in ids:
        assert wait(server.client, id, 240)["status"] == "done"
    job = restored(server.client, jpeg)
    looks = [read_picture(get(server, f"/api/jobs/{job['id']}/preview?w=0.3").content) for _ in range(12)]
    for look in looks[1:]:  # the one that did the job has it in memory, the other from the disk
        assert np.abs(look.pixels.astype(int) - looks[0].pixels).mean() < 0.5
    assert f"facemend_jobs_done_total {len(ids) + 1}.0" in server.client.get("/metrics").text
    assert server.terminate() == 0
    assert list(tmp_path.glob("facemend-serve-*")) == []


def test_a_killed_worker_is_replaced_and_its_job_taken_up(serve, tmp_path, slow):
    store = str(tmp_path / "store")
    server = serve("--workers", "2", "--store", store, FACEMEND_LEASE_SECONDS="1")
    ids = until_both_run(server, slow)
    workers = [
        child
        for child in psutil.Process(server.process.pid).children()
        if any("spawn_main" in word for word in child.cmdline())
    ]
    assert len(workers) == 2
    workers[0].kill()
    deadline = time.monotonic() + 240
    left = set(ids)
    while left:
        assert time.monotonic() < deadline
        with suppress(httpx.HTTPError):  # a connection that the killed one had
            left = {id for id in left if get(server, f"/api/jobs/{id}").json()["status"] != "done"}
        time.sleep(0.1)
    text = get(server, "/metrics").text
    assert f"facemend_jobs_done_total {len(ids)}.0" in text
    assert "facemend_jobs_retaken_total 1.0" in text
    assert "facemend_jobs_failed_total 0.0" in text


def test_the_command_says_what_is_wrong(tmp_path, monkeypatch):
    def line(*options: str) -> str:
        done = CliRunner().invoke(app, ["serve", *options])
        assert done.exit_code == 1
        return done.stderr

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = line("--port", port)
        assert re.search(rf"127\.0\.0\.1 port {port} cannot be used \(.*\); choose another with --port", said)
    assert "host no-such-host.invalid cannot be used" in line("--host", "no-such-host.invalid")
    (tmp_path / "file").write_text("x")
    assert "cannot be used as a store" in line("--store", str(tmp_path / "file"))
    assert "queue must be from 1" in line("--queue", "0")
    monkeypatch.setenv("FACEMEND_KEEP", "soon")
    assert "FACEMEND_KEEP must be a number" in line()
    monkeypatch.setattr("facemend.errors.find_spec", lambda name: None if name == "uvicorn" else name)
    assert install_line("serve") in line()


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [("0.0.0.0", "", True), ("0.0.0.0", "a-b-c-d-e-f-g-h-i", False), ("127.0.0.1", "", False)],
)
def test_a_warning_where_everybody_may_come(monkeypatch, host, token, warned):
    served = []
    monkeypatch.setattr("facemend.server.run.serve", lambda settings, on_ready: served.append(settings))
    monkeypatch.setenv("FACEMEND_TOKEN", token)
    done = CliRunner().invoke(app, ["serve", "--host", host])
    assert ("everybody who reaches 0.0.0.0 can use this server" in done.stderr) == warned
    assert (served[0].host, served[0].token) == (host, token)

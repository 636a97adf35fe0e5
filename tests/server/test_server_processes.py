"""Real servers in processes of their own: killed, stopped, started again, several behind one port."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import httpx2 as httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from server_helpers import ROOT, post, restored, until, wait

import facemend
from facemend.imaging import read_picture

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
    job = restored(server.client, jpeg, model="compact-256", w=0.5)
    (face,) = job["faces"]
    assert face["restored"]
    result = server.client.get(f"/api/jobs/{job['id']}/result")
    wanted = read_picture(facemend.restore(jpeg, w=0.5, threads=1))
    got = read_picture(result.content)
    assert np.abs(got.pixels.astype(int) - wanted.pixels).max() <= 12  # two JPEGs of what is equal within 1
    changed = np.abs(got.pixels.astype(int) - portrait.pixels).max(axis=2) > 24
    assert changed.any()
    looks = [server.client.get(f"/api/jobs/{job['id']}/preview?w={w}").content for w in (0, 1)]
    assert looks[0] != looks[1]
    assert server.terminate() == 0


def test_a_temporary_store_goes_with_its_server(serve, blank, tmp_path):
    server = serve(TMPDIR=str(tmp_path))
    restored(server.client, blank)
    (folder,) = tmp_path.glob("facemend-serve-*")
    assert (folder / "jobs.sqlite3").is_file()
    assert folder.stat().st_mode & 0o077 == 0
    assert server.terminate() == 0
    assert not folder.exists()
    assert "Traceback" not in server.text()


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
    server.terminate()
    # No lease has to run out: the job is taken up at once, and it counts as not begun.
    again = serve("--store", store, FACEMEND_LEASE_SECONDS="3600")
    assert wait(again.client, id, 120)["status"] == "done"
    assert "facemend_jobs_retaken_total 0.0" in again.client.get("/metrics").text


def test_ctrl_c_ends_quietly(serve, blank):
    server = serve()
    restored(server.client, blank)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.text()


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


def test_a_full_queue_says_when_to_come_back(serve, slow, blank):
    server = serve("--queue", "2")
    first = post(server.client, slow).json()["id"]
    until_running(server, first)
    assert [post(server.client, blank).status_code for _ in range(3)] == [202, 202, 429]
    answer = post(server.client, blank)
    assert answer.status_code == 429
    seconds = int(answer.headers["retry-after"])
    assert 1 <= seconds <= 60
    with until(120) as tick:
        while (answer := post(server.client, blank)).status_code == 429:
            tick()
    assert answer.status_code == 202


def test_the_command_says_what_is_wrong(tmp_path):
    def run(*options: str, **environment: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "facemend", "serve", *options],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            cwd=ROOT,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, text = run("--port", port)
        assert code == 1
        assert re.search(rf"127\.0\.0\.1 port {port} cannot be used \(.*\); choose another with --port", text)
    assert "host no-such-host.invalid cannot be used" in run("--host", "no-such-host.invalid")[1]
    (tmp_path / "file").write_text("x")
    assert "cannot be used as a store" in run("--store", str(tmp_path / "file"))[1]
    assert "queue must be from 1" in run("--queue", "0")[1]
    assert "FACEMEND_KEEP must be a number" in run(FACEMEND_KEEP="soon")[1]


def test_a_warning_where_everybody_may_come(serve):
    open_ = serve("--host", "0.0.0.0")
    assert "everybody who reaches 0.0.0.0 can use this server" in open_.text()
    guarded = serve("--host", "0.0.0.0", FACEMEND_TOKEN="a-b-c")
    assert "everybody" not in guarded.text()
    assert guarded.client.post("/api/jobs").status_code == 401
    assert "everybody" not in serve().text()


def test_without_the_extra_the_pip_line_is_told(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'uvicorn' else find(name, *rest)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "facemend", "serve"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1
    assert 'pip install "facemend[serve]"' in done.stderr

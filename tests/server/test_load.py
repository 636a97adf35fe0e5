"""Fifty clients at once: nothing is lost, nothing piles up in memory or on disk."""

import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx2 as httpx
import psutil
import pytest
from server_helpers import ROOT, post, until

CLIENTS = 50


@dataclass
class Load:
    """What the clients saw."""

    address: str
    photos: list[bytes]
    end: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: Counter = field(default_factory=Counter)

    def say(self, what: str) -> None:
        with self.lock:
            self.seen[what] += 1

    def client(self, seed: int) -> None:
        rng = random.Random(seed)
        with httpx.Client(base_url=self.address, timeout=120) as client:
            while time.monotonic() < self.end:
                self.one(client, rng)

    def one(self, client: httpx.Client, rng: random.Random) -> None:
        """Upload, wait, look at other weights, save, delete; some leave without a word."""
        answer = post(client, rng.choice(self.photos), w=rng.random())
        if answer.status_code == 429:
            self.say("busy")
            time.sleep(min(1.0, int(answer.headers["retry-after"])) * rng.random())
            return
        assert answer.status_code == 202, answer.text
        self.say("accepted")
        path = f"/api/jobs/{answer.json()['id']}"
        while (job := client.get(path).json())["status"] in ("queued", "running"):
            time.sleep(0.1)
        self.say(job["status"])
        for _ in range(rng.randrange(3)):
            look = client.get(f"{path}/preview", params={"w": round(rng.random(), 2), "side": 400})
            self.say(f"preview {look.status_code}")
        saved = client.get(f"{path}/result")
        assert saved.status_code == 200
        assert saved.content[:4] in (b"\xff\xd8\xff\xe0", b"\x89PNG")
        assert client.delete(path).status_code == 204


def memory(server) -> float:
    """MB of all processes of a server."""
    parent = psutil.Process(server.process.pid)
    return sum(process.memory_info().rss for process in (parent, *parent.children(recursive=True))) / 1e6


def loaded(serve, store, photos: list[bytes], seconds: float, *options: str) -> list[float]:
    """Run the load; memory over time."""
    server = serve("--store", str(store), "--queue", "40", *options)
    load = Load(server.address, photos, time.monotonic() + seconds)
    sizes = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load.client, seed) for seed in range(CLIENTS)]
        while time.monotonic() < load.end:
            time.sleep(seconds / 30)
            sizes.append(memory(server))
        for client in clients:
            client.result(180)
    print(dict(load.seen), [round(size) for size in sizes])
    assert load.seen["accepted"] == load.seen["done"] > 0
    assert {what for what in load.seen if what.startswith("preview")} <= {"preview 200", "preview 503"}
    assert load.seen["preview 200"] > 0
    counters = httpx.get(f"{server.address}/metrics").text
    assert f"facemend_jobs_accepted_total {load.seen['accepted']:.1f}" in counters
    assert f"facemend_jobs_done_total {load.seen['done']:.1f}" in counters
    assert "facemend_jobs_failed_total 0.0" in counters
    assert "facemend_jobs_retaken_total 0.0" in counters
    with until() as tick:
        while list((store / "jobs").iterdir()):
            tick()
    assert server.terminate() == 0
    assert "Traceback" not in server.text()
    return sizes


def test_fifty_clients_for_a_moment(serve, tmp_path, jpeg, blank):
    loaded(serve, tmp_path / "store", [jpeg, blank, blank, blank], 6)


@pytest.mark.slow
@pytest.mark.parametrize(("more", "lost"), [([], 0), (["--token", "none-of-them-knows-it"], 1)])
def test_the_script_tells_whether_photos_are_lost(more, lost):
    numbers = ["--seconds", "2", "--clients", "3", "--silent", "300", "--uploads", "3", *more]
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/load_server.py", *numbers],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert done.returncode == lost, done.stdout + done.stderr
    sent, restored = map(int, re.findall(r"(\d+) (?:sent|done)", done.stdout))
    assert sent > 0
    assert restored == (0 if lost else sent)
    assert "health: 20 probes" in done.stdout
    refused = int(re.findall(r"silent refused (\d+)", done.stdout)[0])
    assert refused >= 300 - 4 * 64  # of four addresses


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
def test_fifty_clients_for_a_minute(serve, tmp_path, jpeg, blank, workers):
    sizes = loaded(serve, tmp_path / "store", [jpeg, jpeg, blank], 60, "--workers", workers)
    first, last = max(sizes[5:12]), max(sizes[-7:])
    assert last < 1.1 * first + 20

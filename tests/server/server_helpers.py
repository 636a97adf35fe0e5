"""What several test files of the server need."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace

import httpx2 as httpx
import psutil

from facemend.photo.options import RestoreOptions
from facemend.server.child import Child
from facemend.server.orders import Order

ROOT = Path(__file__).parents[2]

OUTCOME = {
    "input_width": 8,
    "input_height": 6,
    "width": 16,
    "height": 12,
    "factor": 2,
    "suffix": ".png",
    "faces": [{"index": 0, "box": [1.0, 2.0, 3.0, 4.0], "restored": True, "reason": None}],
    "notes": ["a note"],
    "seconds": {"encode": 0.5},
}


def order(id: str, **rest) -> Order:
    given = {
        "name": "a.png",
        "format": "png",
        "input_width": 8,
        "input_height": 6,
        "options": RestoreOptions(upscale=2, model="tiny"),
    }
    return Order(id=id, **{**given, **rest})


def post(client, photo: bytes, name="photo.jpg", **fields):
    """Upload a photo, by default for the tiny network."""
    fields = {"model": "tiny", **fields}
    return client.post("/api/jobs", files={"photo": (name, photo)}, data=fields)


def wait(client, job: str, seconds: float = 60.0) -> dict:
    """The job once it is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = client.get(f"/api/jobs/{job}")
        answer.raise_for_status()
        said = answer.json()
        if said["status"] in ("done", "failed"):
            return said
        time.sleep(0.02)
    raise AssertionError(f"not over after {seconds} s: {said}")


def restored(client, photo: bytes, **fields) -> dict:
    """Upload and wait."""
    answer = post(client, photo, **fields)
    assert answer.status_code == 202, answer.text
    said = wait(client, answer.json()["id"])
    assert said["status"] == "done", said
    return said


class ThreadProcess:
    """A child that is a thread: starts at once, takes tasks that cannot be pickled, and what tests patch."""

    def __init__(self, restorer) -> None:
        self.inbox = SimpleQueue()
        self._tasks = SimpleQueue()
        threading.Thread(target=self._run, args=(restorer,), name="child", daemon=True).start()

    def _run(self, restorer) -> None:
        with suppress(SystemExit):
            Child(self._tasks, self.inbox.put).run(restorer)

    def send(self, message) -> None:
        self._tasks.put(message)

    def kill(self) -> None:
        self._tasks.put(lambda restorer: sys.exit())  # as soon as it listens
        self.inbox.put(None)

    def end(self) -> str:
        return "signal 9"


class Server:
    """A server in processes of its own."""

    def __init__(self, folder: Path, environment: dict[str, str], *options: str) -> None:
        self.log = folder / f"serve-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "facemend", "serve", "--port", "0", *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "FACEMEND_THREADS": "1", **environment},
                cwd=ROOT,
                start_new_session=True,
            )
        self.address = self._address()
        self.client = httpx.Client(base_url=self.address, timeout=60)
        self._until_up()

    def _address(self) -> str:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for line in self.text().splitlines():
                if line.startswith("facemend: http"):
                    return line.split()[1]
            assert self.process.poll() is None, self.text()
            time.sleep(0.05)
        raise AssertionError(self.text())

    def _until_up(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                self.client.get("/api/health").raise_for_status()
                return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise AssertionError(self.text())

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def child(self, parent: int | None = None) -> psutil.Process:
        """The process in which the networks of a process (default: the only one) run."""
        of = psutil.Process(parent or self.process.pid).children()
        (found,) = [each for each in of if any("server.child" in word for word in each.cmdline())]
        return found

    def kill(self) -> None:
        """As if the machine lost power: all processes at once, nobody is asked."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def terminate(self) -> int:
        """As an operator does; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.kill()


def age(patch, seconds: float = 3600) -> None:
    """Let all that is in the job table be older, by default by what it is kept."""
    clock = SimpleNamespace(time=lambda: time.time() + seconds, monotonic=time.monotonic)
    patch.setattr("facemend.server.jobs.time", clock)


@contextmanager
def until(seconds: float = 30.0):
    """A loop's `while not done()` that cannot last for ever."""
    end = time.monotonic() + seconds

    def tick() -> None:
        assert time.monotonic() < end, f"did not happen within {seconds} s"
        time.sleep(0.02)

    yield tick

"""The thread that gives out the work, with a restorer that can be held and told to fail."""

import threading
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace

import pytest
from server_helpers import OUTCOME, ThreadProcess, age, order, until

from facemend.errors import BackendError, InputError
from facemend.server.app import open_jobs
from facemend.server.child import UnexpectedError
from facemend.server.jobs import ATTEMPTS
from facemend.server.looks import SHARE, WAITING
from facemend.server.problems import BusyError
from facemend.server.restorer import JobRestorer
from facemend.server.store import JobStore
from facemend.server.supervisor import Report, Supervisor
from facemend.server.worker import Worker

PARTS = ("read", "detect", "encode", "decode", "write")


class Script:
    """What the restorers of a place do, and what they did."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.seen: list[str] = []
        self.error: Exception | None = None


class FakeRestorer:
    """Each part of a job waits until the test lets it go on."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def warm(self) -> None:
        self.script.seen.append("warm")

    def restore(self, job):
        for part in PARTS:
            self.on_part(part)
            self.script.seen.append(f"{job.id} {part}")
            self.script.gate.acquire()
            if self.script.error is not None:
                raise self.script.error
        return OUTCOME

    def forget_gone(self) -> None:
        pass


class Place:
    """A worker over a store."""

    def __init__(self, settings) -> None:
        self.store = JobStore(settings.folder())
        self.jobs = open_jobs(settings, self.store)
        self.restorer = Script()
        self.children: list[ThreadProcess] = []
        self.worker = Worker(self.jobs, self.store, Supervisor(settings), settings)

    def spawn(self, settings) -> ThreadProcess:
        self.children.append(ThreadProcess(FakeRestorer(self.restorer)))
        return self.children[-1]

    def add(self, id: str) -> None:
        self.store.make(id)
        self.jobs.add(order(id))
        self.worker.wake()

    def begin(self, id: str) -> None:
        """Add a job and wait until it is worked on."""
        self.add(id)
        self.until_at(id, "read")

    def is_at(self, id: str, part: str) -> bool:
        return f"{id} {part}" in self.restorer.seen

    def status(self, id: str) -> str:
        return self.jobs.get(id).status

    def until_at(self, id: str, part: str) -> None:
        with until() as tick:
            while not self.is_at(id, part):
                tick()

    def until_is(self, id: str, status: str) -> None:
        with until() as tick:
            while self.status(id) != status:
                tick()

    def counters_with(self, name: str) -> dict[str, float]:
        """The counters, once that one is among them: a job is done a moment before it is counted."""
        with until() as tick:
            while name not in (found := self.jobs.counters()):
                tick()
        return found


@pytest.fixture
def place(settings, monkeypatch):
    """Makes places; their workers are stopped at the end."""
    made = []
    for name in ("warm", "restore", "forget_gone"):
        monkeypatch.setattr(JobRestorer, name, getattr(FakeRestorer, name))

    def make(**changes) -> Place:
        made.append(Place(replace(settings, **{"grace_seconds": 0.2, **changes})))
        monkeypatch.setattr("facemend.server.supervisor.spawn", made[-1].spawn)
        made[-1].worker.start()
        return made[-1]

    yield make
    for each in made:
        each.restorer.gate.release(1000)
        each.worker.stop()
        each.jobs.close()


def test_a_job_goes_through_its_parts_and_its_progress_grows(place):
    here = place()
    here.add("a")
    progress = []
    for part in PARTS:
        here.until_at("a", part)
        job = here.jobs.get("a")
        assert (job.status, job.part) == ("running", part)
        progress.append(job.progress)
        here.restorer.gate.release()
    assert progress == sorted(set(progress))
    assert 0 < progress[0] < progress[-1] < 1
    here.until_is("a", "done")
    assert here.restorer.seen == ["warm", *(f"a {part}" for part in PARTS)]
    counters = here.counters_with('part_seconds_total{part="encode"}')
    assert counters["jobs_done_total"] == counters["job_seconds_count"] == 1
    assert counters["faces_restored_total"] == 1
    assert counters['part_seconds_total{part="encode"}'] == 0.5


def test_looks_pass_between_the_parts_of_a_job(place):
    here = place()
    here.begin("a")
    threads = []
    look = here.worker.ask(lambda _: threads.append(threading.current_thread().name))
    assert not look.done()
    here.restorer.gate.release()
    look.result(10)
    assert here.status("a") == "running"
    assert threads == ["child"]


def test_looks_come_before_jobs_that_wait(place):
    here = place()
    for id in "ab":
        here.add(id)
    with until() as tick:
        while not here.is_at("a", "write"):
            here.restorer.gate.release()
            tick()
    here.worker.ask(lambda _: here.restorer.seen.append("look"))
    here.restorer.gate.release(1000)
    here.until_is("b", "done")
    assert here.restorer.seen.index("look") < here.restorer.seen.index("b read")


def test_a_look_that_fails_says_so_and_the_next_is_served(place):
    here = place()
    with pytest.raises(UnexpectedError, match="ZeroDivisionError"):
        here.worker.ask(lambda _: 1 / 0).result(10)
    assert here.worker.ask(lambda _: 7).result(10) == 7


def test_a_look_whose_client_is_gone_is_not_run(place):
    here = place()
    here.begin("a")
    ran = []
    look = here.worker.ask(lambda _: ran.append(1))
    after = here.worker.ask(lambda _: "after")
    look.cancel()
    here.restorer.gate.release()
    assert after.result(10) == "after"
    assert ran == []
    with pytest.raises(CancelledError):
        look.result(1)


def test_too_many_looks_are_refused(place):
    here = place()
    here.begin("a")
    looks = [here.worker.ask(lambda _, number=number: number) for number in range(WAITING)]
    with pytest.raises(BusyError, match="busy"):
        here.worker.ask(lambda _: None)
    here.restorer.gate.release(1000)
    assert [look.result(10) for look in looks] == list(range(WAITING))


def test_no_client_has_all_looks_and_clients_take_turns(place):
    here = place()
    here.begin("a")
    ran = []
    for number in range(SHARE):
        here.worker.ask(lambda _, number=number: ran.append(f"x{number}"), "x")
    with pytest.raises(BusyError, match="busy"):
        here.worker.ask(lambda _: None, "x")
    here.worker.ask(lambda _: ran.append("y"), "y")
    here.restorer.gate.release(1000)
    here.until_is("a", "done")
    with until() as tick:
        while len(ran) <= SHARE:
            tick()
    assert ran == ["x0", "y", *(f"x{number}" for number in range(1, SHARE))]


def test_looks_without_end_take_half_of_the_time(place):
    here = place()
    here.begin("a")
    ran = []

    def look(_) -> None:
        ran.append(1)
        with suppress(BusyError):  # at the end
            here.worker.ask(look)
        time.sleep(0.03)

    here.worker.ask(look)
    for part in PARTS:
        here.until_at("a", part)
        time.sleep(0.06)  # the time that this part takes
        here.restorer.gate.release()
    here.until_is("a", "done")
    assert 3 <= len(ran) <= 4 * len(PARTS)  # about 2 for each part
    here.add("b")
    here.until_at("b", "read")


def test_what_looks_take_is_not_charged_to_a_job(place):
    here = place(job_seconds=3, lease_seconds=1)
    here.begin("a")
    here.worker.ask(lambda _: time.sleep(2.5))
    time.sleep(1)
    here.restorer.gate.release(1000)
    here.until_is("a", "done")
    assert 1 <= here.counters_with("job_seconds_sum")["job_seconds_sum"] < 3


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a.png: damaged\nor cut off"), "a.png: damaged or cut off"),
        (
            BackendError("/home/me/encode.onnx: the run failed"),
            "the server's networks failed; its log says why",
        ),
        (MemoryError(), "a.png: not enough memory for this photo"),
        (RuntimeError("secret"), "a.png: unexpected RuntimeError"),
    ],
)
def test_a_failure_is_one_line_and_the_worker_lives_on(place, error, line):
    here = place()
    here.restorer.error = error
    here.restorer.gate.release(100)
    here.add("a")
    here.until_is("a", "failed")
    assert here.jobs.get("a").error == line
    here.restorer.error = None
    here.add("b")
    here.until_is("b", "done")


def test_a_job_that_takes_too_long_fails_in_time_though_a_part_hangs(place):
    here = place(job_seconds=1, lease_seconds=1)
    here.add("a")
    start = time.monotonic()
    here.until_is("a", "failed")
    assert 0.9 < time.monotonic() - start < 10
    assert here.jobs.get("a").error == "a.png: took longer than 1 s, which is the limit"
    here.restorer.gate.release(1000)
    here.add("b")
    here.until_is("b", "done")
    assert here.status("a") == "failed"
    assert not here.is_at("a", "detect")
    assert len(here.children) == 2


def test_a_job_whose_child_dies_is_tried_again_and_given_up_at_last(place):
    here = place()
    here.begin("a")
    here.add("b")
    for attempt in range(1, ATTEMPTS + 1):
        with until() as tick:
            while len(here.children) < attempt or here.jobs.get("a").part != "read":
                tick()
        assert here.jobs.get("a").attempts == attempt
        assert here.worker.report().working
        here.children[-1].kill()
    here.until_is("a", "failed")
    hint = "the photo may be too much for this machine's memory"
    assert here.jobs.get("a").error == f"a.png: the worker died (signal 9) at each of 3 attempts: {hint}"
    here.restorer.gate.release(1000)
    here.until_is("b", "done")
    assert here.worker.report() == Report("ok", working=False, silent=None)


def test_a_look_that_hangs_ends_and_the_job_that_it_interrupted_is_not_charged(place):
    here = place(job_seconds=1)
    never = threading.Event()
    here.begin("a")
    look = here.worker.ask(lambda _: never.wait())
    here.restorer.gate.release()
    with pytest.raises(BusyError, match="took too long"):
        look.result(20)
    here.restorer.gate.release(1000)
    here.until_is("a", "done")
    assert here.jobs.get("a").attempts == 1
    assert here.worker.ask(lambda _: 7).result(10) == 7
    never.set()


@pytest.mark.parametrize("what", ["server.restorer.JobRestorer.warm", "server.supervisor.spawn"])
def test_a_child_that_does_not_come_up_is_tried_again_and_no_job_is_charged(place, monkeypatch, what):
    def dies(_) -> None:
        here.restorer.seen.append("dies")
        if what.endswith("spawn"):
            raise OSError(12, "Cannot allocate memory")
        here.children[-1].kill()

    monkeypatch.setattr("facemend.server.worker.RESTART_SECONDS", 0.05)
    here = place()
    here.worker.ask(lambda _: None).result(10)
    with monkeypatch.context() as patch:
        patch.setattr(f"facemend.{what}", dies)
        here.children[-1].kill()
        here.add("a")
        with until() as tick:
            while here.restorer.seen.count("dies") < 3:
                tick()
        assert here.worker.report().status == "replacing"
        assert here.status("a") == "queued"
    here.restorer.gate.release(1000)
    here.until_is("a", "done")
    assert here.jobs.get("a").attempts == 1


def test_a_lease_is_renewed_while_a_part_takes_long(place):
    here = place(lease_seconds=1)
    here.begin("a")
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert here.jobs.claim("thief") is None
        time.sleep(0.1)


def test_a_deleted_job_is_left_at_the_next_part(place):
    here = place()
    here.begin("a")
    here.jobs.delete("a")
    here.restorer.gate.release(1000)
    here.add("b")
    here.until_is("b", "done")
    assert not here.is_at("a", "detect")


def test_what_is_written_for_a_job_while_it_is_deleted_goes_too(place):
    here = place()
    here.begin("a")
    here.store.remove("a")
    here.jobs.delete("a")
    here.store.make("a")  # as a child does that was just writing its result
    here.restorer.gate.release(10)
    with until() as tick:
        while here.store.has("a"):
            tick()


def test_stopping_finishes_a_quick_job_and_takes_no_other(place):
    here = place(grace_seconds=20)
    here.add("a")
    here.add("b")
    here.until_at("a", "read")
    here.restorer.gate.release(1000)
    here.worker.stop()
    assert (here.status("a"), here.status("b")) == ("done", "queued")
    with pytest.raises(BusyError):
        here.worker.ask(lambda _: None)


def test_stopping_gives_a_slow_job_back(place):
    here = place(grace_seconds=0.3)
    here.begin("a")
    here.worker.stop()
    job = here.jobs.get("a")
    assert (job.status, job.attempts, job.part) == ("queued", 0, None)
    here.restorer.gate.release(1000)
    time.sleep(0.2)
    assert here.status("a") == "queued"


def test_looks_that_wait_when_the_server_ends_are_told(place):
    here = place(grace_seconds=0.2)
    here.begin("a")
    look = here.worker.ask(lambda _: None)
    here.worker.stop()
    with pytest.raises(BusyError, match="ends"):
        look.result(1)


def test_what_has_expired_is_deleted_from_the_disk(place, settings, monkeypatch):
    here = place()
    here.restorer.gate.release(1000)
    here.add("a")
    here.until_is("a", "done")
    age(monkeypatch)
    assert here.jobs.get("a") is None
    folder = settings.folder() / "jobs/a"
    assert folder.is_dir()
    here.worker.clean()
    assert not folder.exists()

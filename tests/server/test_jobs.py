"""The queue: order, leases, limits; nothing is lost and nothing is done twice."""

import multiprocessing
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_helpers import OUTCOME, order

from facemend.errors import ConfigError
from facemend.photo.options import RestoreOptions
from facemend.server.jobs import ATTEMPTS, Jobs
from facemend.server.orders import QueueFullError


@pytest.fixture
def opened(tmp_path):
    """Opens the table of one store, as each process does."""
    tables = []

    def open_(**rest) -> Jobs:
        given = {"limit": 1000, "keep": 60.0, "lease": 30.0, **rest}
        tables.append(Jobs(tmp_path / "jobs.sqlite3", **given))
        return tables[-1]

    yield open_
    for table in tables:
        table.close()


def test_first_come_first_served(opened):
    jobs = opened()
    added = [jobs.add(order(name)) for name in "abc"]
    assert [jobs.position(job) for job in added] == [0, 1, 2]
    assert [jobs.claim("me").id for _ in "abc"] == ["a", "b", "c"]
    assert jobs.claim("me") is None
    assert jobs.position(jobs.get("a")) is None
    assert jobs.states() == {"queued": 0, "running": 3, "done": 0, "failed": 0}


@pytest.mark.parametrize("upscale", [4, "auto"])
def test_an_order_comes_back_as_it_was(opened, upscale):
    options = RestoreOptions(
        w=0.25,
        strength=0.5,
        aligned=True,
        background="realesrgan",
        grain="keep",
        upscale=upscale,
        model="tiny",
        strip_metadata=True,
    )
    opened().add(order("a", options=options, name="ü.png"))
    job = opened().get("a")
    assert (job.options, job.name, job.input_width, job.status) == (options, "ü.png", 8, "queued")
    assert job.expires == pytest.approx(job.created + 60)


def test_a_job_that_is_over_says_what_came_of_it(opened):
    jobs = opened()
    for name in "ab":
        jobs.add(order(name))
        jobs.claim("me")
    assert jobs.advance("a", "me", "encode", 0.5)
    assert (jobs.get("a").part, jobs.get("a").progress) == ("encode", 0.5)
    assert jobs.finish("a", "me", **OUTCOME)
    job = jobs.get("a")
    assert (job.status, job.part, job.progress) == ("done", None, 1.0)
    assert {name: getattr(job, name) for name in OUTCOME} == OUTCOME
    assert jobs.fail("b", "me", "b.png: damaged")
    assert (jobs.get("b").status, jobs.get("b").error) == ("failed", "b.png: damaged")


@pytest.mark.parametrize("call", ["renew", "advance", "finish", "fail"])
def test_only_the_worker_that_has_a_job_changes_it(opened, call):
    jobs = opened()
    jobs.add(order("a"))
    rest = {"advance": ("encode", 0.1), "fail": ("no",)}.get(call, ())
    given = OUTCOME if call == "finish" else {}
    assert not getattr(jobs, call)("a", "me", *rest, **given)
    jobs.claim("me")
    before = jobs.get("a")
    assert not getattr(jobs, call)("a", "other", *rest, **given)
    assert jobs.get("a") == before
    assert getattr(jobs, call)("a", "me", *rest, **given)


def test_a_job_whose_worker_died_is_taken_up_again_and_first(opened):
    jobs = opened(lease=0.05)
    jobs.add(order("a"))
    jobs.add(order("b"))
    assert jobs.claim("dead").id == "a"
    time.sleep(0.1)
    again = jobs.claim("alive")
    assert (again.id, again.attempts) == ("a", 2)
    assert not jobs.renew("a", "dead")
    assert not jobs.finish("a", "dead", **OUTCOME)
    assert jobs.finish("a", "alive", **OUTCOME)
    assert jobs.counters()["jobs_retaken_total"] == 1


def test_a_renewed_lease_holds(opened):
    jobs = opened(lease=0.3)
    jobs.add(order("a"))
    jobs.claim("me")
    for _ in range(5):
        time.sleep(0.1)
        assert jobs.renew("a", "me")
        assert jobs.claim("other") is None


def test_a_job_that_kills_its_workers_is_given_up(opened):
    jobs = opened(lease=0.01)
    jobs.add(order("a"))
    jobs.add(order("b"))
    for _ in range(ATTEMPTS):
        assert jobs.claim("me").id == "a"
        time.sleep(0.03)
    assert jobs.claim("me").id == "b"
    assert jobs.get("a").status == "failed"
    assert "stopped 3 times" in jobs.get("a").error


def test_a_job_given_back_keeps_its_place_and_its_attempts(opened):
    jobs = opened()
    jobs.add(order("a"))
    jobs.add(order("b"))
    jobs.claim("me")
    assert jobs.give_back("a", "me", tried=False)
    assert not jobs.give_back("a", "me", tried=False)
    assert (jobs.get("a").status, jobs.get("a").attempts) == ("queued", 0)
    assert jobs.claim("other").id == "a"


def test_a_full_queue_refuses_and_says_when_to_come_back(opened):
    jobs = opened(limit=2)
    for name in "ab":
        jobs.add(order(name))
    with pytest.raises(QueueFullError, match=r"full: try again in \d+ s") as info:
        jobs.add(order("c"))
    assert 1 <= info.value.retry_after <= 60
    jobs.count("job_seconds_sum", 70)
    jobs.count("job_seconds_count", 10)
    with pytest.raises(QueueFullError) as info:
        jobs.check_room()
    assert info.value.retry_after == 7
    jobs.claim("me")
    jobs.check_room()
    with pytest.raises(QueueFullError):
        jobs.check_room(arriving=1)
    jobs.add(order("c"))
    assert jobs.get("d") is None


def test_the_limit_holds_when_all_come_at_once(opened):
    tables = [opened(limit=7) for _ in range(4)]

    def add(number: int) -> bool:
        try:
            tables[number % 4].add(order(str(number)))
        except QueueFullError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(add, range(60))) == 7
    assert tables[0].states()["queued"] == 7


def test_clients_take_turns(opened):
    jobs = opened()
    for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
        jobs.add(order(name, client=name[0]))
    ids = ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert {id: jobs.position(jobs.get(id)) for id in ids} == {id: place for place, id in enumerate(ids)}
    assert [jobs.claim("me").id for _ in range(3)] == ids[:3]
    jobs.add(order("d1", client="d"))  # it was never served, and so comes next
    assert jobs.position(jobs.get("d1")) == 0
    assert [jobs.claim("me").id for _ in range(4)] == ["d1", *ids[3:]]


def test_no_client_takes_all_places(opened):
    jobs = opened(limit=8)
    for number in range(6):
        jobs.add(order(f"a{number}", client="a"))
    with pytest.raises(QueueFullError, match="your share of the queue is full"):
        jobs.add(order("a6", client="a"))
    with pytest.raises(QueueFullError, match="your share"):
        jobs.check_room("b", arriving=1, of_client=6)
    for number in range(2):
        jobs.check_room("b", arriving=1 - number)
        jobs.add(order(f"b{number}", client="b"))
    with pytest.raises(QueueFullError, match="the queue is full"):
        jobs.add(order("c", client="c"))


class Clock:
    """What `jobs` knows of time."""

    def __init__(self) -> None:
        self.day, self.up = 1e9, 1000.0

    def time(self) -> float:
        return self.day

    def monotonic(self) -> float:
        return self.up


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("facemend.server.jobs.time", clock)
    return clock


@pytest.mark.parametrize("step", [-86_400, 86_400])
def test_a_lease_does_not_follow_a_clock_that_is_set(opened, clock, step):
    jobs = opened(lease=10)
    jobs.add(order("a"))
    jobs.claim("me")
    clock.day += step
    clock.up += 9
    assert jobs.claim("other") is None
    clock.up += 2
    assert jobs.claim("other").id == "a"


@pytest.mark.parametrize("up", [1.0, 999.0])
def test_a_lease_ends_with_its_machine(opened, clock, up):
    jobs = opened(lease=10)
    jobs.add(order("a"))
    jobs.claim("me")
    clock.up = up
    assert jobs.claim("other").id == "a"


def test_a_clock_that_is_set_back_keeps_nothing_longer(opened, clock):
    jobs = opened(keep=60)
    jobs.add(order("a"))
    jobs.claim("me")
    jobs.finish("a", "me", **OUTCOME)
    clock.day -= 86_400
    assert jobs.expired() == []
    clock.day += 61
    assert jobs.expired() == ["a"]


def test_nothing_of_a_job_stays_in_the_files_once_it_is_forgotten(opened, tmp_path):
    jobs = opened(keep=0)
    secrets_ = [f"secret-{number}-" for number in range(300)]
    for secret in secrets_:
        jobs.add(order(secret + "id", name=secret + "name", client=secret + "client"))
    while (job := jobs.claim("me")) is not None:
        jobs.fail(job.id, "me", f"{job.name}: damaged") if job.seq % 2 else jobs.finish(
            job.id, "me", **OUTCOME
        )

    def found() -> bool:
        return any(b"secret-" in path.read_bytes() for path in tmp_path.iterdir())

    assert found()
    jobs.forget(jobs.expired()[:200])
    jobs.forget(jobs.expired())
    jobs.settle()
    assert not found()


def test_the_files_are_for_this_user_alone(opened, tmp_path):
    (tmp_path / "jobs.sqlite3").touch(0o644)
    opened().add(order("a"))
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_each_job_is_claimed_once_whoever_asks(opened):
    first = opened()
    for number in range(200):
        first.add(order(str(number)))
    tables = [opened() for _ in range(6)]
    claimed: list[str] = []

    def take(table: Jobs) -> None:
        while (job := table.claim(f"worker {id(table)}")) is not None:
            claimed.append(job.id)

    threads = [threading.Thread(target=take, args=(table,)) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(map(str, range(200)))


def _claim_and_die(path: Path) -> None:
    jobs = Jobs(path, limit=9, keep=60, lease=0.2)
    jobs.claim("doomed")
    jobs.advance("a", "doomed", "encode", 0.4)
    os.kill(os.getpid(), 9)


def test_the_table_survives_a_process_that_is_killed(opened, tmp_path):
    jobs = opened(lease=0.2)
    jobs.add(order("a"))
    process = multiprocessing.get_context("spawn").Process(
        target=_claim_and_die, args=(tmp_path / "jobs.sqlite3",)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -9
    assert (jobs.get("a").status, jobs.get("a").part) == ("running", "encode")
    time.sleep(0.25)
    assert jobs.claim("me").id == "a"


def test_what_is_over_expires_and_what_is_not_stays(opened):
    jobs = opened(keep=0.05)
    for name in ("done", "failed", "running", "queued"):
        jobs.add(order(name))
    jobs.claim("me")
    jobs.claim("me")
    jobs.claim("me")
    jobs.finish("done", "me", **OUTCOME)
    jobs.fail("failed", "me", "no")
    assert jobs.get("done") is not None
    time.sleep(0.1)
    assert jobs.get("done") is None
    assert jobs.get("failed") is None
    over = jobs.expired()
    assert sorted(over) == ["done", "failed"]
    jobs.forget(over)
    assert jobs.ids() == {"running", "queued"}
    assert jobs.get("running") is not None
    assert jobs.get("queued") is not None
    assert jobs.counters()["jobs_expired_total"] == 2


def test_a_deleted_job_is_gone_for_its_worker_too(opened):
    jobs = opened()
    jobs.add(order("a"))
    jobs.claim("me")
    assert jobs.delete("a")
    assert not jobs.delete("a")
    assert not jobs.renew("a", "me")
    assert not jobs.finish("a", "me", **OUTCOME)


def test_counters_are_shared(opened):
    tables = [opened() for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: tables[number % 3].count("faces_restored_total", 2), range(90)))
    assert opened().counters() == {"faces_restored_total": 180.0}


def test_other_files_are_refused_in_one_line(tmp_path):
    path = tmp_path / "jobs.sqlite3"
    path.write_bytes(b"this is no database, whatever its name may be" * 100)
    with pytest.raises(ConfigError, match=r"jobs\.sqlite3: cannot be used as the job table"):
        Jobs(path, limit=1, keep=1, lease=1)
    other = tmp_path / "other.sqlite3"
    db = sqlite3.connect(other)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigError, match="another version"):
        Jobs(other, limit=1, keep=1, lease=1)

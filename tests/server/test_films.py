"""Films through the API: what is taken, what comes out, and what they may cost."""

import re
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from server_helpers import order, post, restored, until, wait

from facemend.server.app import create_app, open_jobs
from facemend.server.store import JobStore
from facemend.server.supervisor import Supervisor
from facemend.server.worker import Worker, _Current
from film_files import make_film, packets, panning, shown
from film_parts import names

FRAMES = 10
LOOKS = ["w=0.5", "strength=0.5", "faces=0", "faces="]


@pytest.fixture(scope="session")
def frames(portrait) -> list:
    """A portrait that is carried past."""
    small = portrait.resized(0.4).pixels
    return [small[:, i : i + 112].copy() for i in range(FRAMES)]


@pytest.fixture(scope="session")
def film(tmp_path_factory, frames) -> bytes:
    """That as a film of a second, 112 x 160, with sound."""
    path = tmp_path_factory.mktemp("films") / "a.mp4"
    return make_film(
        path, frames, pts=[9000 * i for i in range(FRAMES)], metadata={"title": "secret"}
    ).read_bytes()


@pytest.fixture
def make(tmp_path, rng):
    """Makes films of other kinds."""

    def made(name="b.mp4", **how) -> bytes:
        size = {key: how.pop(key) for key in ("count", "height", "width") if key in how}
        return make_film(tmp_path / name, panning(rng, **{"count": 3, **size}), **how).read_bytes()

    return made


@pytest.fixture
def serving(settings):
    """Starts servers with other settings."""
    started = []

    def start(**changes) -> TestClient:
        client = TestClient(create_app(replace(settings, **changes)))
        started.append(client)
        return client.__enter__()

    yield start
    for client in started:
        client.__exit__(None, None, None)


def folder(client):
    return client.app.state.services.settings.folder() / "jobs"


def refused(client, film: bytes, **fields) -> tuple[int, str]:
    answer = post(client, film, **{"name": "a.mp4", **fields})
    assert names(folder(client)) == []
    return answer.status_code, answer.json()["detail"]


@pytest.fixture(scope="module")
def job(client, film) -> dict:
    return restored(client, film, name="party.mov")


def test_a_film_comes_out_with_its_frames_and_its_sound(client, job, film, frames, tmp_path):
    assert (job["frames"], job["frame"], job["progress"], job["format"]) == (FRAMES, FRAMES, 1, "mov")
    assert (job["input_width"], job["input_height"], job["width"], job["height"]) == (112, 160, 112, 160)
    assert (job["w"], job["factor"], job["faces"], job["notes"]) == (0.7, 1, [], [])
    assert 0 < job["faces_a_frame"] <= 2
    counted = float(re.search(r"^facemend_faces_restored_total (.+)$", client.get("/metrics").text, re.M)[1])
    assert counted >= round(job["faces_a_frame"] * FRAMES) > 0
    answer = client.get(f"/api/jobs/{job['id']}/result")
    assert answer.headers["content-type"] == "video/mp4"
    assert 'filename="party_restored.mp4"' in answer.headers["content-disposition"]
    before, after = tmp_path / "before.mp4", tmp_path / "after.mp4"
    before.write_bytes(film)
    after.write_bytes(answer.content)
    assert packets(after, "audio") == packets(before, "audio")
    was, now = shown(before), shown(after)
    assert [time for time, _ in now] == [time for time, _ in was]
    assert max(abs(a.astype(int) - b).max() for (_, a), (_, b) in zip(was, now, strict=True)) > 30  # faces


def test_a_player_can_seek(client, job):
    path = f"/api/jobs/{job['id']}/result"
    whole = client.get(path)
    assert whole.headers["accept-ranges"] == "bytes"
    part = client.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"


@pytest.mark.parametrize("look", LOOKS)
def test_a_film_is_made_for_one_look(client, job, look):
    for path in ("result", "preview"):
        answer = client.get(f"/api/jobs/{job['id']}/{path}?{look}")
        assert answer.status_code == 422
        assert "made for one w" in answer.json()["detail"]


def test_of_a_film_the_first_frame_is_shown(client, job):
    from facemend.imaging import read_picture

    seen = {}
    for path in ("before", "preview"):
        answer = client.get(f"/api/jobs/{job['id']}/{path}?side=100")
        assert answer.headers["content-type"] == "image/webp"
        seen[path] = read_picture(answer.content)
        assert (seen[path].width, seen[path].height) == (70, 100)
    assert (seen["before"].pixels != seen["preview"].pixels).any()
    assert client.get(f"/api/jobs/{job['id']}/faces/0/after").status_code == 404


def test_options_of_films(client, film, tmp_path):
    job = restored(client, film, w=0.2, strength=0.5, upscale=2, strip_metadata=True)
    assert (job["w"], job["strength"], job["width"], job["factor"]) == (0.2, 0.5, 224, 2)
    result = client.get(f"/api/jobs/{job['id']}/result").content
    assert b"secret" in film
    assert b"secret" not in result


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"boxes": "1,1,9,9"}, "boxes"),
        ({"aligned": True}, "aligned"),
        ({"background": "realesrgan"}, "background"),
        ({"grain": "keep"}, "grain"),
    ],
)
def test_options_of_photos_are_refused(serving, film, field, said):
    status, detail = refused(serving(), film, **field)
    assert status == 422
    assert detail.startswith(said)


def test_a_film_is_known_by_its_content(serving, film, blank):
    client = serving()
    assert post(client, film, name="a.png").json()["frames"] == FRAMES
    assert post(client, blank, name="a.mp4").json()["frames"] is None


@pytest.mark.parametrize(
    ("changes", "how", "status", "said"),
    [
        ({"film_seconds": 1}, {"count": 30}, 413, "1.2 s are more than 1 s"),
        (
            {"film_seconds": 1},
            {"count": 90, "pts": [300 * i for i in range(90)]},
            413,
            "90 frames are more than 60",
        ),
        ({"film_pixels": 10_000}, {}, 413, "160x120 are more than 10000 pixels a frame"),
        ({"film_pixels": 20_000, "upscale": 2}, {}, 413, "160x120 x 2 are more than 20000 pixels"),
        ({"film_mb": 0}, {}, 415, "this server takes no films"),
    ],
)
def test_what_is_over_a_limit_is_refused(serving, make, monkeypatch, changes, how, status, said):
    fields = {"upscale": changes.pop("upscale")} if "upscale" in changes else {}
    monkeypatch.setattr("facemend.video.read.decoded", None)  # nothing is decoded for that
    found = refused(serving(**changes), make(**how), **fields)
    assert found[0] == status
    assert found[1].startswith("a.mp4: ")
    assert said in found[1]


def test_photos_and_films_have_limits_of_bytes_of_their_own(serving, film, blank):
    client = serving(max_mb=1, film_mb=3)
    said = "the file is over the limit of {} MB: choose a smaller one"
    assert refused(client, blank + bytes(1_100_000)) == (413, said.format(1))
    assert refused(client, film + bytes(3_100_000)) == (413, said.format(3))
    assert post(client, film + bytes(1_100_000)).status_code == 202


def test_without_the_extra_it_says_what_to_install(serving, film, monkeypatch):
    client = serving()
    films = client.get("/api/info").json()["films"]
    assert (films["max_bytes"], films["max_seconds"], films["w"]) == (100_000_000, 60, 0.7)
    monkeypatch.setattr("facemend.errors.find_spec", lambda name: None)
    assert client.get("/api/info").json()["films"] is None
    status, detail = refused(client, film)
    assert status == 415
    assert detail.startswith(
        "not installed on this server: a.mp4: restoring films needs extra packages: pip install"
    )


@pytest.mark.parametrize(
    "damaged",
    [lambda film: film[:300], lambda film: film[:8] + bytes(5000), lambda film: film[: len(film) // 2]],
)
def test_what_is_no_whole_film_is_refused_in_one_line(serving, film, damaged):
    status, detail = refused(serving(), damaged(film))
    assert status == 415
    assert detail.startswith("a.mp4: ")
    assert "/" not in detail


def test_sound_alone_is_no_film(serving, tmp_path):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=48_000)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        sound.sample_rate, sound.pts = 48_000, 0
        file.mux([*stream.encode(sound), *stream.encode(None)])
    status, _ = refused(serving(), (tmp_path / "a.mp4").read_bytes())
    assert status == 415


def test_what_mp4_cannot_hold_comes_as_matroska(serving, make):
    client = serving()
    job = restored(client, make("b.mkv", subtitles=True, audio=None), name="b.mkv")
    answer = client.get(f"/api/jobs/{job['id']}/result")
    assert answer.headers["content-type"] == "video/x-matroska"
    assert "b_restored.mkv" in answer.headers["content-disposition"]
    assert any("no face found" in note for note in job["notes"])


def test_what_no_container_holds_is_the_films_fault(serving, film, monkeypatch):
    from facemend.video.mux import ContainerError

    def fails(source, output, *rest, **named):
        raise ContainerError(f"{output}: matroska cannot hold the film's subtitle: take it out first")

    monkeypatch.setattr("facemend.server.films.restore_video", fails)
    client = serving()
    job = wait(client, post(client, film, name="a.mp4").json()["id"])
    assert job["error"] == "a.mp4: matroska cannot hold the film's subtitle: take it out first"


def test_a_film_that_turns_out_damaged_fails_with_its_own_name(serving, film, monkeypatch):
    from facemend.errors import InputError, OutputError

    client = serving()
    for error, said in (
        (lambda path: InputError(f"{path}: is damaged"), "a.mp4: is damaged"),
        (
            lambda path: OutputError(f"{path}: disk full"),
            "the server cannot store the result: try again later",
        ),
    ):

        def fails(source, *rest, error=error, **named):
            raise error(source)

        monkeypatch.setattr("facemend.server.films.restore_video", fails)
        job = wait(client, post(client, film, name="a.mp4").json()["id"])
        assert (job["status"], job["error"]) == ("failed", said)


class Held:
    """A film's work that goes on frame by frame, as the test lets it."""

    def __init__(self, monkeypatch) -> None:
        from facemend.server import films

        self.gate, self.real = threading.Semaphore(0), films.restore_video
        monkeypatch.setattr(films, "restore_video", self)

    def __call__(self, *given, on_frame, **named):
        def held(done, total):
            self.gate.acquire()
            on_frame(done, total)

        return self.real(*given, on_frame=held, **named)

    def go(self, frames=1000) -> None:
        self.gate.release(frames)


@pytest.fixture
def held(monkeypatch):
    holder = Held(monkeypatch)
    yield holder
    holder.go()


def until_at(client, id: str, frame: int) -> dict:
    with until() as tick:
        while (said := client.get(f"/api/jobs/{id}").json())["frame"] != frame:
            assert said["status"] in ("queued", "running"), said
            tick()
    return said


def test_progress_is_told_by_frames(serving, film, held):
    client = serving()
    id = post(client, film).json()["id"]
    assert client.get(f"/api/jobs/{id}/result").status_code == 409
    for frame in (1, 6):
        held.go(frame - (frame > 1))
        said = until_at(client, id, frame)
        assert (said["part"], said["frames"]) == ("frames", FRAMES)
        assert said["progress"] == pytest.approx(frame / FRAMES)
    held.go()
    assert wait(client, id)["status"] == "done"


def test_a_film_that_is_deleted_is_left(serving, film, blank, held):
    client = serving()
    id = post(client, film).json()["id"]
    held.go(3)
    until_at(client, id, 3)
    assert client.delete(f"/api/jobs/{id}").status_code == 204
    held.go(1)
    restored(client, blank)
    assert client.get(f"/api/jobs/{id}").status_code == 404
    assert id not in names(folder(client))


def frame_for_a_look(client, held) -> None:
    """Let a frame through once a look waits: films are looked at between frames, too."""
    with until() as tick:
        while not client.app.state.services.worker._looks:
            tick()
    held.go(1)


def test_photos_come_between_the_frames_of_a_film(serving, film, blank, held):
    client = serving()
    first = post(client, film).json()["id"]
    held.go(3)
    until_at(client, first, 3)
    threading.Thread(target=frame_for_a_look, args=(client, held)).start()
    second = post(client, film).json()["id"]
    photo = post(client, blank).json()
    assert photo["position"] == 0  # although a film waits
    held.go(1)
    assert wait(client, photo["id"])["status"] == "done"
    films = [client.get(f"/api/jobs/{id}").json()["status"] for id in (first, second)]
    assert films == ["running", "queued"]
    held.go()
    assert [wait(client, id)["frames"] for id in (first, second)] == [FRAMES, FRAMES]


def test_photos_have_half_of_the_time_of_a_film_that_runs(settings, monkeypatch):
    store = JobStore(settings.folder())
    jobs = open_jobs(settings, store)
    for id in "abc":
        jobs.add(order(id, frames=9 if id == "a" else None))
    worker = Worker(jobs, store, Supervisor(settings), settings)
    now, done = [100.0], []

    def photo(job):
        done.append(job.id)
        now[0] += 2

    monkeypatch.setattr("facemend.server.worker.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(worker, "_work", photo)
    monkeypatch.setattr(worker, "_child", SimpleNamespace(is_up=lambda: True))
    run = _Current(jobs.claim(worker.name))
    assert run.job.id == "a"
    seen = []
    for _ in range(5):
        now[0] += 0.5
        worker._let_photos_pass(run, 0.5)
        seen.append("".join(done))
    assert seen == ["b", "b", "b", "b", "bc"]
    jobs.close()


def test_deleted_photos_are_forgotten_while_a_film_runs(serving, film, held, monkeypatch):
    forgotten = threading.Event()
    monkeypatch.setattr("facemend.server.worker.CLEAN_SECONDS", 0)
    monkeypatch.setattr("facemend.server.restorer.JobRestorer.forget_gone", lambda self: forgotten.set())
    client = serving()
    id = post(client, film).json()["id"]
    held.go(1)
    until_at(client, id, 1)
    forgotten.clear()
    held.go(1)
    until_at(client, id, 2)
    assert forgotten.is_set()


def test_a_film_may_take_longer_than_a_photo_but_not_stand_still(serving, film, held):
    client = serving(job_seconds=4, frame_seconds=10)
    id = post(client, film).json()["id"]
    for frame in range(1, 7):
        threading.Event().wait(1.0)
        held.go(1)
        until_at(client, id, frame)
    said = wait(client, id)  # nothing more comes
    assert said["status"] == "failed"
    assert "took longer than 104 s, or 4 s for a frame" in said["error"]


@pytest.mark.slow
def test_a_film_goes_on_where_a_killed_server_was(serve, make, tmp_path):
    """Segments that are finished are not made again."""
    film = make(count=400, width=64, height=48, audio=None)
    options = ("--store", str(tmp_path / "store"))
    server = serve(*options)
    id = post(server.client, film).json()["id"]
    segment = tmp_path / "store/jobs" / id / "result.mp4.facemend/00000.json"
    with until(300) as tick:
        while not segment.exists():
            tick()
    server.kill()
    made = segment.stat().st_mtime_ns
    server = serve(*options, FACEMEND_LEASE_SECONDS="1")
    with until(300) as tick:
        while server.client.get(f"/api/jobs/{id}").json()["frame"] <= 240:
            tick()
    assert segment.stat().st_mtime_ns == made
    assert server.terminate() == 0  # within the grace time: the film is left at its next frame
    server = serve(*options)
    assert wait(server.client, id, 300)["frames"] == 400
    assert names(segment.parents[1]) == ["input", "result.mp4"]

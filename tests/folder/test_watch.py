"""When a photo that comes into a folder counts as whole."""

from functools import partial

from facemend.folder.plan import plan_batch
from facemend.folder.watch import settled


def given_out(folder, story, quiet=2.0):
    """What is given out at each wake of a story of (seconds, what is done to the folder, what woke)."""
    plan = partial(plan_batch, [folder], folder.with_name("out"))
    out = []
    now = 0.0

    def wakes():
        nonlocal now
        for seconds, change, woken in story:
            now = seconds
            change()
            out.append([])
            yield woken

    for batch in settled(plan, wakes(), quiet, lambda: now):
        out[-1] = [job.source.name for job in batch.jobs]
    return out


def test_a_file_is_given_out_once_it_has_not_changed_for_the_time(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    file = folder / "a.jpg"

    def grow():
        with file.open("ab") as end:
            end.write(b"more")

    def nothing():
        pass

    story = [
        (0.0, grow, ["added"]),
        (1.0, grow, ["changed"]),  # still copied
        (2.5, grow, ["changed"]),
        (3.0, nothing, []),  # quiet for .5 s
        (4.6, nothing, []),
        (9.0, nothing, []),
        (10.0, lambda: (folder / "b.png").write_bytes(b"x"), ["added"]),
        (12.0, nothing, []),
        (13.0, grow, ["changed"]),  # once more
        (15.0, nothing, []),
    ]
    assert given_out(folder, story) == [[], [], [], [], ["a.jpg"], [], [], ["b.png"], [], ["a.jpg"]]


def test_what_is_there_at_first_is_given_out_and_what_goes_away_is_not(tmp_path):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/a.jpg").write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"x")
    (folder / "b.jpg").write_bytes(b"x")
    story = [(0.0, lambda: None, []), (1.0, (folder / "b.jpg").unlink, ["deleted"]), (2.0, lambda: None, [])]
    assert given_out(folder, story) == [[], [], ["a.jpg"]]


def test_the_folder_is_looked_at_only_when_there_may_be_something(tmp_path):
    looks = []

    def plan():
        looks.append(1)
        return plan_batch([tmp_path], tmp_path / "out")

    assert list(settled(plan, [(), (), (), ()], 1.0)) == []
    assert len(looks) == 1

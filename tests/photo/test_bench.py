"""What is measured, with a network that takes a millisecond; how long things take is no matter of tests."""

import os
import subprocess
import sys

import numpy as np
import pytest

from facemend.errors import BackendError, ConfigError, InputError
from facemend.imaging import read_picture
from facemend.photo import bench, commands, timing
from facemend.photo.bench import BenchOptions, crowd, measure_network, measure_photos, run_bench
from facemend.photo.commands import measure_commands, where_time_goes
from facemend.photo.options import RestoreOptions
from facemend.predictors.detector import FaceDetector
from facemend.weights.catalog import assets_folder

COPY = f"{sys.executable} -c 'import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])' {{input}} {{output}}"


@pytest.fixture
def options(tiny_model):
    def make(**settings):
        return BenchOptions(restore=RestoreOptions(model=str(tiny_model)), repeats=2, **settings)

    return make


@pytest.fixture
def ours(monkeypatch):
    """A command that is quicker than a whole facemend."""
    monkeypatch.setattr(commands, "_OURS", tuple(commands._words(COPY)))


def test_a_row_for_each_setup_and_batch(options, monkeypatch):
    parts = {"encode": 0.004, "decode": 0.01, "decode_w0": 0.002, "whole": 0.016}  # seconds

    def pretend(works, repeats):
        for work in works.values():
            work()
        return {name: [parts[name.split()[1]]] * repeats for name in works}

    monkeypatch.setattr(bench, "interleaved", pretend)
    rows = measure_network(options(batches=(1, 3), threads=(1, 2)))
    assert [(row["threads"], row["batch"]) for row in rows] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    for row in rows:
        assert (row["backend"], row["device"], row["precision"]) == ("onnx", "cpu", "fp32")
        assert row["ms"] == {"encode": 4.0, "decode": 10.0, "decode_w0": 2.0, "whole": 16.0}
        shares = (row["faces_per_s"], row["w0_share"], row["redo_share"])
        assert shares == (row["batch"] * 62.5, 0.375, 0.625)
        assert 20 < row["peak_mb"] < 600


def test_two_models_in_one_run(options, tiny_model, task_model, monkeypatch):
    monkeypatch.setattr(bench, "apart", lambda *_: None)
    models = (str(tiny_model), str(task_model("restoration")))
    assert [row["model"] for row in measure_network(options(models=models, batches=(1,)))] == [*models]


def test_photos_tell_their_parts(options, photo, monkeypatch):
    (row,) = measure_photos(options(photos=(photo,)))
    assert (row["width"], row["height"], row["faces"]) == (320, 400, 1)
    parts = dict(row["ms"])
    whole = parts.pop("whole")
    assert {"detect", "encode", "decode", "mask", "paste"} <= parts.keys()
    assert 0.5 * whole < sum(parts.values()) < 1.5 * whole
    inside = sum(parts[part] for part in ("detect", "encode", "decode"))
    assert row["outside_share"] == pytest.approx(1 - inside / whole, abs=0.01)


def test_the_crowd_has_as_many_faces_as_it_says():
    portrait = read_picture(assets_folder() / bench.PORTRAIT)
    picture = crowd(portrait, (1500, 1000), (3, 2))
    assert (picture.width, picture.height) == (1500, 1000)
    faces = FaceDetector(threads=1).detect(picture.as_float())
    assert len(faces) == 6
    assert len({(int(face.box.x1) // 500, int(face.box.y1) // 500) for face in faces}) == 6
    assert np.ptp([face.box.width for face in faces]) > 20


def test_another_program_is_timed_beside_ours(photo, ours):
    rows = measure_commands(photo, COPY, 2)
    assert [row["command"] for row in rows] == ["facemend restore", COPY]
    assert all(0 < row["s"] < 60 for row in rows)
    assert rows[0]["ratio"] == 1
    assert rows[1]["ratio"] == pytest.approx(rows[0]["s"] / rows[1]["s"], abs=0.1)


def test_the_parts_of_a_command_are_all_of_it(photo, monkeypatch):
    """With a command that sleeps and reports as ours does."""
    told = {"files": [{"seconds": {"detect": 0.02, "paste": 0.03, "total": 0.1}}]}
    code = (
        "import json, pathlib, shutil, sys, time\n"
        "time.sleep(0.3)\n"
        "shutil.copy(sys.argv[1], sys.argv[2])\n"
        f"pathlib.Path(sys.argv[4]).write_text(json.dumps({told}))"
    )
    monkeypatch.setattr(commands, "_OURS", (sys.executable, "-c", code, "{input}", "{output}"))
    parts = where_time_goes(photo, 1)
    assert list(parts) == ["python", "start", "files", "detect", "paste"]
    assert (parts["detect"], parts["paste"], parts["files"]) == (0.02, 0.03, pytest.approx(0.05))
    assert parts["python"] > 0
    assert parts["python"] + parts["start"] > 0.2  # what it slept, but for what it says that it worked


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-program {input} {output}", "no-such-program: cannot be started"),
        (f"{sys.executable} -c 'raise SystemExit(\"it hurts\")' {{input}} {{output}}", "status 1 .it hurts"),
        (f"{sys.executable} -c pass {{input}} {{output}}", "wrote nothing to {output}"),
    ],
)
def test_another_program_that_fails_is_named(photo, ours, command, message):
    with pytest.raises(BackendError, match=message):
        measure_commands(photo, command, 1)


def test_the_command_never_meets_a_shell(photo, ours, tmp_path):
    trap = f"{COPY} ; touch {tmp_path}/trap $(touch {tmp_path}/trap)"
    measure_commands(photo, trap, 1)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repeats": 0}, "1 or more"),
        ({"batches": (0,)}, "1 or more"),
        ({"against": "other {input}"}, r"needs \{output\}"),
        ({"against": "other 'x"}, "cannot be read"),
        ({"precisions": ("bf16",)}, "bf16 needs backend torch"),
        ({"backends": ("tf",)}, "backend must be onnx or torch"),
    ],
)
def test_what_cannot_be_measured(settings, message):
    with pytest.raises(ConfigError, match=message):
        BenchOptions(restore=RestoreOptions(), **settings)


def test_a_photo_that_is_not_there_is_named_before_the_work(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "measure_network", lambda options: pytest.fail("measured"))
    with pytest.raises(InputError, match=r"no\.jpg: no such file"):
        run_bench(BenchOptions(restore=RestoreOptions(), photos=(tmp_path / "no.jpg",)))


def test_bf16_is_measured_where_there_is_torch():
    options = BenchOptions(
        restore=RestoreOptions(), backends=("onnx", "torch"), precisions=("fp32", "bf16"), threads=(1, 2)
    )
    ways = [(setup.backend, setup.precision, setup.threads) for setup in options.setups()]
    wanted = (("onnx", "fp32"), ("torch", "fp32"), ("torch", "bf16"))
    assert ways == [(*way, threads) for way in wanted for threads in (1, 2)]


def test_candidates_take_turns_and_the_first_run_does_not_count():
    order = []
    works = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = timing.interleaved(works, 3)
    assert "".join(order) == "ab" * 4
    assert {name: len(runs) for name, runs in seconds.items()} == {"a": 3, "b": 3}


def test_the_median_leaves_outliers_out(monkeypatch):
    ticks = iter([0, 1, 10, 12, 20, 29])
    monkeypatch.setattr(timing, "perf_counter", lambda: next(ticks))
    assert timing.median_seconds(lambda: None, 3) == 2


def test_a_process_apart_has_its_own_memory():
    ballast = np.ones(800_000_000 // 8)  # a parent's memory must not count
    assert 10 < timing.apart("nothing", timing.peak_mb) < 400 < ballast.nbytes / 1e6


def test_a_process_that_dies_is_named():
    with pytest.raises(BackendError, match=r"the cat: .*; feed it"):
        timing.apart("the cat", os._exit, 3, hint="feed it")


def test_where_the_system_does_not_tell_there_is_no_peak():
    """As on Windows: no module `resource`, no /proc."""
    code = (
        "import builtins, sys\n"
        "sys.modules['resource'] = None\n"
        "from facemend.photo import timing\n"
        "def gone(*_, **__): raise FileNotFoundError\n"
        "builtins.open = gone\n"
        "print(timing.peak_mb(), bool(timing.processor()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["None", "True"]

import os
import subprocess
import sys

import numpy as np
import pytest

from facemend.errors import BackendError
from facemend.runtime import measure


def test_candidates_take_turns_and_the_first_run_does_not_count():
    order = []
    works = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = measure.interleaved(works, 3)
    assert "".join(order) == "ab" * 4
    assert {name: len(runs) for name, runs in seconds.items()} == {"a": 3, "b": 3}


def test_the_median_leaves_outliers_out(monkeypatch):
    ticks = iter([0, 1, 10, 12, 20, 29])
    monkeypatch.setattr(measure, "perf_counter", lambda: next(ticks))
    assert measure.median_seconds(lambda: None, 3) == 2


def test_a_process_apart_has_its_own_memory():
    ballast = np.ones(800_000_000 // 8)  # a parent's memory must not count
    peak = measure.apart("nothing", measure.peak_mb)
    assert ballast[0] == 1
    assert 10 < peak < 400


def test_a_process_that_dies_is_named():
    with pytest.raises(BackendError, match=r"the cat: .*; feed it"):
        measure.apart("the cat", os._exit, 3, hint="feed it")


def test_where_the_system_does_not_tell_there_is_no_peak():
    """As on Windows: no module `resource`, no /proc."""
    code = (
        "import builtins, sys\n"
        "sys.modules['resource'] = None\n"
        "from facemend.runtime import measure\n"
        "def gone(*_, **__): raise FileNotFoundError\n"
        "builtins.open = gone\n"
        "print(measure.peak_mb(), bool(measure.processor()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["None", "True"]

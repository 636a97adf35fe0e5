"""Work side by side: in order, a few at a time, and nothing goes on behind the caller's back."""

import threading
from contextlib import closing

import pytest

from facemend.video.overlap import ahead, side_by_side


def test_results_come_in_order_and_only_a_few_items_are_taken_ahead():
    taken, met = [], threading.Barrier(2, timeout=60)

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    def work(number):
        met.wait()  # passes only if two run at once
        return -number

    for number, result in enumerate(side_by_side(work, ahead(items()), 2)):
        assert result == -number
        assert len(taken) <= number + 6
    assert number == 19


def test_the_next_item_is_made_while_the_last_is_worked_on():
    begun = threading.Event()

    def items():
        yield 0
        begun.set()
        yield 1

    for _ in ahead(items()):
        assert begun.wait(60)


@pytest.mark.parametrize("where", ["items", "work"])
def test_errors_come_to_the_caller_in_their_place(where):
    def fails(number, here):
        if number == 3 and here == where:
            raise ValueError("the fourth")
        return number

    results = side_by_side(lambda n: fails(n, "work"), ahead(fails(n, "items") for n in range(9)), 2)
    assert next(results) == 0
    with pytest.raises(ValueError, match="the fourth"):
        list(results)


def test_nothing_runs_once_it_is_closed():
    ended = []

    def items():
        try:
            yield from range(99)
        finally:
            ended.append(threading.active_count())

    with closing(side_by_side(abs, ahead(items()), 2)) as results:
        assert next(results) == 0
    assert ended
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("facemend-")]

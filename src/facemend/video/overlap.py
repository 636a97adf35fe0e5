"""Work on several frames at once, in their order, holding no more than a few of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ahead(items: Iterable[_Item]) -> Generator[_Item]:
    """The items, each made by another thread while the one before is worked on."""
    rest = iter(items)

    def following() -> list[_Item]:
        return list(islice(rest, 1))

    with ThreadPoolExecutor(1, "facemend-ahead") as thread:
        coming = thread.submit(following)
        while found := coming.result():
            coming = thread.submit(following)
            yield found[0]


def side_by_side(
    work: Callable[[_Item], _Result], items: Iterable[_Item], threads: int
) -> Generator[_Result]:
    """What the work makes of the items, in their order, `threads` of them at a time.

    What the work or the items raise is raised here. When the generator is closed, nothing runs any longer.
    """
    with ThreadPoolExecutor(threads, "facemend-work") as pool:
        waiting: deque[Future[_Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

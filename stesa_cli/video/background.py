"""Work in threads, a bounded number of steps before or behind the caller's: the slowest stage sets the pace of all, and
none of them piles up pictures."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

WAITING = 8  # calls handed over and not yet made

T = TypeVar("T")


def ahead(items: Iterator[T], most: int) -> Generator[T]:
    """The same items, made in a thread of their own, at most so many before they are asked for. Errors come in their
    place; whoever does not go to the end closes it, which waits for the item at hand."""
    pool, end = ThreadPoolExecutor(1), object()
    try:
        pending = deque(pool.submit(next, items, end) for _ in range(most))
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def background(workers: int, waiting: int = WAITING) -> Iterator[Callable[..., None]]:
    """A way to have calls made in threads, in order, few of them waiting. The error of a call reaches a later caller,
    or the end of the block; when the block fails, the calls that wait are dropped."""
    pending: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers) as pool:

        def submit(call: Callable[..., None], *arguments: Any) -> None:
            if len(pending) == waiting:
                pending.popleft().result()
            pending.append(pool.submit(call, *arguments))

        try:
            yield submit
            while pending:
                pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

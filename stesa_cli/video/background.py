"""Work that goes on in threads while the next frame is computed."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

WAITING = 8  # calls handed over and not yet made


@contextmanager
def background(workers: int) -> Iterator[Callable[..., None]]:
    """A way to have calls made in threads, in order, few of them waiting. The error of a call reaches a later caller,
    or the end of the block; when the block fails, the calls that wait are dropped."""
    pending: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers) as pool:

        def submit(call: Callable[..., None], *arguments: Any) -> None:
            if len(pending) == WAITING:
                pending.popleft().result()
            pending.append(pool.submit(call, *arguments))

        try:
            yield submit
            while pending:
                pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

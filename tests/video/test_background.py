"""Work ahead of the caller and behind it: in order, bounded, and with its errors."""

import threading
import time
from collections.abc import Iterator

import pytest

from stesa_cli.video.background import ahead, background


def settled(items: list[int], count: int) -> None:
    """Wait until there are so many, and a moment longer for any more."""
    deadline = time.monotonic() + 20
    while len(items) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)


def test_items_are_made_ahead_but_few_of_them() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    stream = ahead(items(), 3)
    assert next(stream) == 0
    settled(made, 4)
    assert made == [0, 1, 2, 3], "three wait"
    assert list(stream) == list(range(1, 20))


def test_an_error_comes_in_its_place_and_closing_ends_the_thread() -> None:
    def items() -> Iterator[int]:
        yield from (0, 1)
        raise ZeroDivisionError

    before = threading.active_count()
    stream = ahead(items(), 3)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(stream)
    stream = ahead(iter(range(100)), 3)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_calls_are_made_in_order_and_few_of_them_wait() -> None:
    gate, begun, handed = threading.Event(), [], []

    def call(i: int) -> None:
        begun.append(i)
        gate.wait(20)

    def hand_over() -> None:
        with background(1, waiting=2) as submit:
            for i in range(6):
                submit(call, i)
                handed.append(i)

    thread = threading.Thread(target=hand_over)
    thread.start()
    settled(handed, 2)
    assert begun == [0] and handed == [0, 1]
    gate.set()
    thread.join()
    assert begun == handed == list(range(6))

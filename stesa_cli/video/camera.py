"""A camera as a stream of frames that stays live: what comes while the caller works is skipped."""

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from threading import Condition

import cv2
import numpy as np

from stesa_cli.errors import InputError
from stesa_cli.video.reading import Frame, VideoReader


def open_camera(number: int) -> VideoReader:
    """Open a camera by its number, from 0. Its frames count those that were taken, and their times are seconds since
    the first of them; they end when it is closed, or gives no more. Raises InputError when it cannot be opened."""
    logging = cv2.utils.logging
    loud = logging.setLogLevel(logging.LOG_LEVEL_SILENT)  # the backends' words on each try
    try:
        capture = cv2.VideoCapture(number)
        found, first = capture.read()
    finally:
        logging.setLogLevel(loud)
    if not found:
        capture.release()
        fix = "choose another number: 0 is the first camera, and on Linux `ls /dev/video*` lists them"
        raise InputError("gives no picture", f"camera {number}", fix)
    return _Camera(capture, first)


class _Camera(VideoReader):
    def __init__(self, capture: cv2.VideoCapture, first: np.ndarray) -> None:
        super().__init__()
        self._ahead = self._frames()  # and not several frames ahead
        self._capture = capture
        self.height, self.width = first.shape[:2]
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate = Fraction(rate).limit_denominator(1001) if 1 <= rate <= 1000 else Fraction(30)
        self.frame_count = None
        self._newest: tuple[np.ndarray, float] | None = (first, time.monotonic())
        self._news = Condition()
        self._closed = self._ended = False
        pool = ThreadPoolExecutor(1)
        self._watching = pool.submit(self._watch)
        pool.shutdown(wait=False)

    def _watch(self) -> None:
        try:
            while not self._closed:
                found, image = self._capture.read()
                if not found:
                    break
                with self._news:
                    self._newest = image, time.monotonic()
                    self._news.notify()
        finally:
            with self._news:
                self._ended = True
                self._news.notify()

    def _frames(self) -> Generator[Frame]:
        begin = None
        index = 0
        while True:
            with self._news:
                self._news.wait_for(lambda: self._newest or self._ended)
                newest, self._newest = self._newest, None
            if newest is None:
                return self._watching.result()
            image, taken = newest
            begin = taken if begin is None else begin
            yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), index, taken - begin)
            index += 1

    def close(self) -> None:
        self._closed = True
        super().close()
        self._watching.exception()  # waits for it
        self._capture.release()

"""A camera stays live: whoever is slow skips frames. OpenCV's capture is played by one that moves every few ms."""

import threading
import time
from fractions import Fraction

import cv2
import numpy as np
import pytest

from stesa_cli.errors import InputError
from stesa_cli.video.camera import open_camera

from ..clips import number_of, numbered

PACE = 0.01


class Camera:
    """Gives the pictures 0, 1, 2, … at its pace, and none after ``length``."""

    length, rate = 64, 29.97
    made: "list[Camera]"

    def __init__(self, number: int) -> None:
        self.number, self.given, self.released = number, 0, False
        self.made.append(self)

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(PACE)
        assert not self.released
        if self.given >= self.length:
            return False, None
        self.given += 1
        return True, numbered(self.given - 1)[..., ::-1].copy()

    def get(self, prop: int) -> float:
        assert prop == cv2.CAP_PROP_FPS
        return self.rate

    def release(self) -> None:
        self.released = True


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[Camera]:
    fresh = type("Fresh", (Camera,), {"made": []})
    monkeypatch.setattr(cv2, "VideoCapture", fresh)
    return fresh


def test_every_frame_for_whoever_is_fast(camera: type[Camera]) -> None:
    camera.length = 20
    with open_camera(2) as reader:
        assert (reader.width, reader.height, reader.frame_count) == (64, 48, None)
        assert reader.rate == Fraction(2997, 100) and camera.made[0].number == 2
        frames = list(reader)
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers[-1] == 19 and numbers == sorted(set(numbers)) and len(numbers) > 10
    assert [frame.index for frame in frames] == list(range(len(frames)))
    times = [frame.time for frame in frames]
    assert times[0] == 0 and all(np.diff(times) > 0.5 * PACE) and times[-1] >= 18 * PACE
    assert camera.made[0].released


def test_whoever_is_slow_stays_live(camera: type[Camera]) -> None:
    with open_camera(0) as reader:
        frames = iter(reader)
        for _ in range(4):
            time.sleep(8 * PACE)
            frame = next(frames)
            assert camera.made[0].given - 1 - number_of(frame.image) <= 2
        assert frame.index == 3 and number_of(frame.image) >= 18 and frame.time >= 17 * PACE


def test_closing_ends_it_and_leaves_nothing(camera: type[Camera]) -> None:
    before = threading.active_count()
    reader = open_camera(0)
    next(iter(reader))
    reader.close()
    assert list(reader) == [] and camera.made[0].released and threading.active_count() == before
    assert camera.made[0].given < 64
    reader.close()  # again does no harm


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), 1e6])
def test_an_untold_rate_is_30(camera: type[Camera], rate: float) -> None:
    camera.rate = rate
    with open_camera(0) as reader:
        assert reader.rate == 30


def test_what_breaks_in_the_thread_reaches_the_caller(camera: type[Camera], monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: Camera) -> tuple[bool, np.ndarray]:
        if self.given:
            raise MemoryError("too large")
        self.given += 1
        return True, numbered(0)

    monkeypatch.setattr(camera, "read", read)
    with open_camera(0) as reader, pytest.raises(MemoryError, match="too large"):
        list(reader)


def test_no_camera_is_one_clear_line(camera: type[Camera]) -> None:
    camera.length = 0
    with pytest.raises(InputError, match=r"camera 7: gives no picture; choose another number: 0 is the first"):
        open_camera(7)
    assert camera.made[0].released


def test_opencv_says_nothing_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    level = cv2.utils.logging.getLogLevel()
    with pytest.raises(InputError, match="camera 99"):
        open_camera(99)
    assert capfd.readouterr() == ("", "") and cv2.utils.logging.getLogLevel() == level

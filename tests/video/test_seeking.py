"""Any frame by its number, whatever the clock, and however one jumps."""

import time

import numpy as np
import pytest
from PIL import Image

from stesa_cli.video import seeking
from stesa_cli.video.seeking import SeekableVideo

from ..clips import ffmpeg, make_video, number_of, numbered

B_FRAMES = ("-preset", "medium", "-bf", "3", "-g", "12")
CASES = {
    "b_frames.mp4": B_FRAMES,
    "variable.mkv": (*B_FRAMES, "-vf", "setpts=N*0.04/TB+0.013*mod(N\\,3)/TB", "-fps_mode", "vfr"),
    "stream.ts": B_FRAMES,
    "late.mkv": (*B_FRAMES, "-output_ts_offset", "7.5"),
    "old.avi": ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2"),
    "no_times.h264": ("-bsf:v", "h264_mp4toannexb"),
}


@pytest.fixture(params=CASES)
def clip(request, tmp_path):
    return make_video(tmp_path / request.param, *CASES[request.param], frames=60)


def assert_exact(video: SeekableVideo, order) -> None:
    frames = [video.frame(int(index)) for index in order]
    assert [number_of(frame.image) for frame in frames] == [frame.index for frame in frames] == list(order)
    assert np.allclose([frame.time for frame in frames], video.times[list(order)], atol=1e-5)


def test_every_frame_by_its_number(clip, monkeypatch):
    monkeypatch.setattr(seeking, "CACHE", 5 * 64 * 48 * 3)
    monkeypatch.setattr(seeking, "NEAR", 4)
    monkeypatch.setattr(seeking, "BEFORE", 2)
    video = SeekableVideo(clip)
    assert len(video) == 60
    assert_exact(video, [0, 59, 30, 29, 28, 31, 3, 44, 11, 12, 13, *np.random.default_rng(0).permutation(60).tolist()])
    video.close()


def test_rotated(tmp_path):
    upright = make_video(tmp_path / "a.mp4", frames=20)
    ffmpeg("-display_rotation", "180", "-i", str(upright), "-c", "copy", str(tmp_path / "turned.mp4"))
    video = SeekableVideo(tmp_path / "turned.mp4")
    assert (abs(video.frame(17).image.astype(int) - np.rot90(numbered(17), 2)) < 12).all()
    video.close()


def test_a_folder_of_frames(tmp_path):
    for index in range(5):
        Image.fromarray(numbered(index)).save(tmp_path / f"{index + 7}.png")
    assert_exact(SeekableVideo(tmp_path), [4, 0, 2, 3])


@pytest.mark.parametrize("index", [-1, 60])
def test_there_is_no_such_frame(tmp_path, index):
    video = SeekableVideo(make_video(tmp_path / "a.mp4", frames=60))
    with pytest.raises(IndexError):
        video.frame(index)
    video.close()


def test_a_long_video_opens_as_fast_as_a_short_one(tmp_path):
    short = make_video(tmp_path / "short.mp4", "-g", "50", frames=50)
    ffmpeg("-stream_loop", "199", "-i", str(short), "-c", "copy", str(tmp_path / "long.mp4"))

    def opened(path) -> float:
        begun = time.perf_counter()
        video = SeekableVideo(path)
        video.frame(0)
        took = time.perf_counter() - begun
        assert number_of(video.frame(len(video) - 7).image) == 43
        video.close()
        return took

    assert opened(tmp_path / "long.mp4") < opened(short) + 0.7

"""Videos with bytes flipped, cut off, or joined: the frames that decode, or one error of ours, and soon."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stesa_cli.errors import InputError
from stesa_cli.video.reading import open_video

from ..clips import make_video

KINDS = ["a.mp4", "a.mkv", "a.ts", "a.h264", "a.avi", "a.gif"]
PATIENCE = 20  # seconds


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("videos")
    coding = {"a.gif": ["-c:v", "gif", "-pix_fmt", "pal8"]}
    return {kind: make_video(folder / kind, "-g", "4", *coding.get(kind, []), frames=10).read_bytes() for kind in KINDS}


def read(path: Path) -> int:
    count = 0
    with open_video(path) as reader:
        last = float("-inf")
        for frame in reader:
            assert frame.index == count and frame.image.shape == (reader.height, reader.width, 3) and frame.time >= last
            last, count = frame.time, count + 1
        assert reader.truncated_at in (None, count) and all("\n" not in note for note in reader.notes)
    return count


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_spoilt_videos_give_frames_or_one_error(
    data: st.DataObject, videos: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    content = bytearray(videos[kind])
    how = data.draw(st.sampled_from(["flip", "flip", "cut", "join", "hole"]))
    if how == "flip":
        for _ in range(data.draw(st.integers(1, 30))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del content[data.draw(st.integers(0, len(content))) :]
    elif how == "hole":
        place = data.draw(st.integers(0, len(content)))
        del content[place : place + data.draw(st.integers(1, 2000))]
    else:
        content += videos[data.draw(st.sampled_from(KINDS))][data.draw(st.integers(0, 500)) :]
    path = tmp_path_factory.mktemp("spoilt") / kind
    path.write_bytes(content)
    pool = ThreadPoolExecutor(1)
    try:
        assert pool.submit(read, path).result(PATIENCE) > 0
    except InputError as error:
        assert "\n" not in str(error) and kind in str(error)
    pool.shutdown(wait=False)

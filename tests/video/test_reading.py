"""Every kind of video a user may bring: the right frames, in order, upright, at the right times; or one clear line."""

import subprocess
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stesa_cli.errors import InputError
from stesa_cli.video import ffmpeg as ffmpeg_room
from stesa_cli.video import frame_folder, stream
from stesa_cli.video.decoding import Log
from stesa_cli.video.reading import open_video

from ..clips import ffmpeg, make_video, number_of, numbered


def numbers(path: Path) -> list[int]:
    with open_video(path) as reader:
        frames = list(reader)
    assert [f.index for f in frames] == list(range(len(frames)))
    assert all(f.image.shape == (reader.height, reader.width, 3) and f.image.flags.writeable for f in frames)
    return [number_of(f.image) for f in frames]


def times(path: Path) -> list[float]:
    with open_video(path) as reader:
        return [frame.time for frame in reader]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain.mp4", []),
        ("-i leading dash, spaces, ünïcödé 視頻 100%d 'q'.mkv", []),
        ("av1.mp4", ["-c:v", "libaom-av1", "-cpu-used", "8"]),
        ("ten_bits.mkv", ["-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none"]),
        ("b_frames.mp4", ["-preset", "medium", "-bf", "3"]),
        ("raw.h264", []),
        ("stream.ts", []),
        ("live.mkv", ["-live", "1"]),
        ("animated.gif", ["-c:v", "gif", "-pix_fmt", "pal8"]),
    ],
)
def test_every_frame_once_and_in_order(tmp_path: Path, name: str, options: list[str]) -> None:
    path = make_video(tmp_path / name, *options)
    assert numbers(path) == list(range(12))
    assert times(path) == pytest.approx([i / 25 for i in range(12)], abs=0.001)
    with open_video(path) as reader:
        assert (reader.width, reader.height, reader.truncated_at) == (64, 48, None)
        assert reader.rate == 25 and reader.frame_count in (12, None)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60), Fraction(25, 2)])
def test_rates_are_exact(tmp_path: Path, rate: Fraction) -> None:
    path = make_video(tmp_path / "a.mp4", rate=rate)
    with open_video(path) as reader:
        assert reader.rate == rate and reader.frame_count == 12
    assert times(path) == pytest.approx([float(i / rate) for i in range(12)], abs=1e-9)


def test_a_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    variable = ["-vf", "settb=1/1000,setpts=40*N+7*N*N", "-fps_mode", "passthrough", "-enc_time_base", "1:1000"]
    path = make_video(tmp_path / "a.mp4", *variable)
    assert times(path) == pytest.approx([(40 * i + 7 * i * i) / 1000 for i in range(12)], abs=0.001)
    assert numbers(path) == list(range(12))


@pytest.mark.parametrize(("angle", "turns"), [(90, 1), (180, 2), (-90, -1)])
def test_rotation_is_applied(tmp_path: Path, angle: int, turns: int) -> None:
    plain = make_video(tmp_path / "plain.mp4")
    ffmpeg("-display_rotation", str(angle), "-i", str(plain), "-c", "copy", str(tmp_path / "phone.mp4"))
    with open_video(plain) as upright, open_video(tmp_path / "phone.mp4") as turned:
        assert (turned.width, turned.height) == ((64, 48) if angle == 180 else (48, 64))
        for a, b in zip(upright, turned, strict=True):
            assert np.abs(np.rot90(a.image, turns).astype(int) - b.image).max() < 40  # chroma is resampled
            assert np.abs(np.rot90(a.image, turns).astype(int) - b.image).mean() < 2


def test_odd_sizes(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", size=(63, 47))
    assert numbers(path) == list(range(12))
    with open_video(path) as reader:
        assert (reader.width, reader.height) == (63, 47)


def test_pictures_in_the_sound_are_not_the_video(tmp_path: Path) -> None:
    plain, cover = make_video(tmp_path / "plain.mp4"), tmp_path / "cover.png"
    Image.new("RGB", (300, 300)).save(cover)
    arguments = ["-i", str(cover), "-i", str(plain), "-map", "0", "-map", "1", "-disposition:0", "attached_pic"]
    ffmpeg(*arguments, "-c", "copy", str(tmp_path / "a.mp4"))
    assert numbers(tmp_path / "a.mp4") == list(range(12))


@pytest.mark.parametrize(
    ("name", "options"), [("a.mp4", ["-movflags", "+faststart"]), ("a.mkv", []), ("live.mkv", ["-live", "1"])]
)
def test_a_truncated_file_says_where_it_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: list[str]
) -> None:
    path = make_video(tmp_path / name, "-g", "5", *options, frames=50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with open_video(path) as reader:
        count = len(list(reader))
    assert 15 < count < 45 and reader.truncated_at == count
    monkeypatch.setattr(Log, "error", "")  # lost in the middle of another line of ffmpeg's log
    with open_video(path) as reader:
        assert len(list(reader)) == count == reader.truncated_at
    assert reader.frame_count == (None if name == "live.mkv" else 50)
    with open_video(path) as reader:
        next(iter(reader))
    assert reader.truncated_at is None  # closed early is not broken


@pytest.mark.parametrize("options", [[], ["-c:v", "libaom-av1", "-cpu-used", "8"]], ids=["OpenCV", "ffmpeg"])
def test_a_wrong_declared_length_is_no_truncation(tmp_path: Path, options: list[str]) -> None:
    uneven = ["-vf", "settb=1/1000,setpts=20*N+floor(N/3)*60", "-fps_mode", "passthrough", "-enc_time_base", "1:1000"]
    plain, path = make_video(tmp_path / "plain.mp4", *options, *uneven), tmp_path / "a.mkv"
    ffmpeg("-i", str(plain), "-f", "lavfi", "-i", "anullsrc=d=5", "-map", "0", "-map", "1", "-c:v", "copy", str(path))
    with open_video(path) as reader:
        assert len(list(reader)) == 12
        assert reader.frame_count and reader.frame_count > 80 and reader.truncated_at is None


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    for i in range(12):
        Image.fromarray(numbered(i)).save(tmp_path / f"shot 2 frame {i}.{'jpg' if i % 2 else 'PNG'}", quality=95)
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / "._shot.jpg").write_bytes(b"a Mac was here")
    assert numbers(tmp_path) == list(range(12))
    with open_video(tmp_path, Fraction(30000, 1001)) as reader:
        assert reader.frame_count == 12 and reader.rate == Fraction(30000, 1001)
        assert [f.time for f in reader][11] == pytest.approx(11 * 1001 / 30000)


def test_a_turned_photograph_is_put_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(numbered(37)).copy()).save(tmp_path / "0.jpg", exif=exif, quality=95)
    assert numbers(tmp_path) == [37]


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(InputError) as caught:
            numbers(path)
        assert "\n" not in str(caught.value) and caught.value.fix
        return str(caught.value)

    assert "no such video" in refusal(tmp_path / "missing.mp4")
    (tmp_path / "empty.mp4").touch()
    assert "no frame can be decoded" in refusal(tmp_path / "empty.mp4")
    (tmp_path / "letters.mp4").write_bytes(b"these are not pictures" * 99)
    assert "Invalid data" in refusal(tmp_path / "letters.mp4")
    ffmpeg("-f", "lavfi", "-i", "anullsrc=d=1", str(tmp_path / "sound.wav"))
    assert "holds no video, only sound" in refusal(tmp_path / "sound.wav")
    cut = make_video(tmp_path / "no_index.mp4")
    cut.write_bytes(cut.read_bytes()[:1000])
    assert "no frame can be decoded" in refusal(cut)

    folder = tmp_path / "frames"
    folder.mkdir()
    assert "no images" in refusal(folder)
    Image.new("RGB", (64, 48)).save(folder / "0.png")
    Image.new("RGB", (64, 46)).save(folder / "1.png")
    assert "64x46" in refusal(folder) and "1.png" in refusal(folder)
    (folder / "1.png").write_bytes((folder / "0.png").read_bytes()[:60])
    assert "1.png" in refusal(folder)


def test_reading_runs_ahead_but_not_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(20):
        Image.fromarray(numbered(i)).save(tmp_path / f"{i}.png")
    read: list[Path] = []
    true_read = frame_folder.read_picture
    monkeypatch.setattr(
        frame_folder, "read_picture", lambda path, scale: (read.append(path), true_read(path, scale))[1]
    )
    with open_video(tmp_path) as reader:
        next(iter(reader))
        deadline = time.monotonic() + 30
        while len(read) < stream.AHEAD + 1 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(read) == stream.AHEAD + 1  # the one in hand, those ahead of it


@pytest.mark.parametrize("options", [[], ["-c:v", "libaom-av1", "-cpu-used", "8"]], ids=["OpenCV", "ffmpeg"])
def test_closing_early_stops_decoding_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    path = make_video(tmp_path / "a.mp4", *options, frames=60, size=(640, 480))
    started: list[subprocess.Popen[bytes]] = []
    true_start = ffmpeg_room.start
    monkeypatch.setattr(ffmpeg_room, "start", lambda *a: (started.append(true_start(*a)), started[-1])[1])
    before = threading.active_count()
    with open_video(path) as reader:
        next(iter(reader))
    assert [process.poll() in (None, 0) for process in started] == [False] and threading.active_count() == before
    reader.close()  # again does no harm
    open_video(path).close()  # nor without a frame read

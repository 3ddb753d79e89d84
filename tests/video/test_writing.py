"""What is written plays back: the same frames, at the same times, with the same sound; or no file at all."""

import re
import signal
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from stesa_cli.errors import ConfigError, OutputError
from stesa_cli.video.reading import Frame, open_video
from stesa_cli.video.writing import alpha_writer, video_writer

from ..clips import ffmpeg, make_video, number_of, numbered


def read(path: Path) -> list[Frame]:
    with open_video(path) as reader:
        return list(reader)


def write(path: Path, times: list[float], rate: Fraction = Fraction(25), audio_from: Path | None = None) -> Path:
    with video_writer(path, rate, audio_from) as write_frame:
        for i, seconds in enumerate(times):
            write_frame(numbered(i), seconds)
    return path


def describe(path: Path) -> str:
    return ffmpeg("-i", f"file:{path}", "-map", "0", "-c", "copy", "-f", "null", "-")


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25, 2)])
@pytest.mark.parametrize("name", ["-a b é.mp4", "a.mkv"])
def test_a_constant_rate_is_exact(tmp_path: Path, rate: Fraction, name: str) -> None:
    path = write(tmp_path / name, [float(i / rate) for i in range(20)], rate)
    frames = read(path)
    assert [number_of(f.image) for f in frames] == list(range(20))
    tick = 1e-9 if name.endswith("mp4") else 0.0006  # Matroska counts in milliseconds
    assert [f.time for f in frames] == pytest.approx([float(i / rate) for i in range(20)], abs=tick)
    with open_video(path) as reader:
        assert reader.rate == rate and reader.frame_count == 20
    assert "yuv420p(tv, bt709, progressive)" in describe(path) and "h264" in describe(path)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    times = np.random.default_rng(0).uniform(0.004, 0.2, 30).cumsum()
    times -= times[0]
    frames = read(write(tmp_path / "a.mp4", times.tolist(), Fraction(30000, 1001)))
    assert [number_of(f.image) for f in frames] == list(range(30))
    assert [f.time for f in frames] == pytest.approx(times.tolist(), abs=1 / 90000)


def test_times_that_do_not_rise_lose_no_frame(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "a.mp4", [0, 0.04, 0.04, 0.02, 0.16]))) == 5


@pytest.mark.parametrize("width, height", [(63, 48), (64, 47), (63, 47), (1, 1)])
def test_odd_sizes_grow_by_one_pixel(tmp_path: Path, width: int, height: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width - 1 :] = (200, 100, 50)
    with video_writer(tmp_path / "a.mp4", Fraction(25)) as write_frame:
        write_frame(image, 0.0)
    (frame,) = read(tmp_path / "a.mp4")
    assert frame.image.shape == (height + height % 2, width + width % 2, 3)
    assert frame.image[:, -1].mean((0, 1)) > 90 if width % 2 else True


def test_colours_survive(tmp_path: Path) -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 90, 30]], np.uint8)
    with video_writer(tmp_path / "a.mp4", Fraction(25)) as write_frame:
        write_frame(colours.repeat(16, 0)[None].repeat(32, 0), 0.0)
    (frame,) = read(tmp_path / "a.mp4")
    assert np.abs(frame.image[:, 8::16].astype(int) - colours).max() < 6


@pytest.mark.parametrize(
    ("source", "codec", "copied"),
    [("a.mp4", "aac", True), ("a.mkv", "libopus", True), ("a.mp4", "pcm_s16be", True), ("a.avi", "wmav2", False)],
)
def test_sound_is_copied_or_made_aac(tmp_path: Path, source: str, codec: str, copied: bool) -> None:
    def packets(path: Path) -> str:
        return ffmpeg("-v", "error", "-i", str(path), "-map", "0:a", "-c", "copy", "-f", "streamhash", "/dev/stderr")

    tone, plain = ["-f", "lavfi", "-i", "sine=440:d=2"], make_video(tmp_path / "plain.mp4", frames=50)
    maps = ["-map", "0", "-map", "1", "-c:v", "copy", "-c:a", codec, "-ar", "48000"]
    ffmpeg("-i", str(plain), *tone, *maps, str(tmp_path / source))
    times = [frame.time for frame in read(tmp_path / source)]
    path = write(tmp_path / "out.mp4", times, audio_from=tmp_path / source)
    assert [f.time for f in read(path)] == pytest.approx(times, abs=1e-4)
    assert (packets(path) == packets(tmp_path / source)) is copied and ("Audio: aac" in describe(path) or copied)
    heard = ffmpeg("-i", str(path), "-map", "0:a", "-af", "astats=measure_perchannel=none", "-f", "null", "-")
    seconds = float(re.search(r"Number of samples: (\d+)", heard)[1]) / 48000  # type: ignore[index]
    assert re.search(r"RMS level dB: -2[01]", heard) and seconds == pytest.approx(2, abs=0.06)


def test_a_video_that_starts_after_its_sound_stays_in_time(tmp_path: Path) -> None:
    tone, plain = ["-f", "lavfi", "-i", "sine=440:d=3"], make_video(tmp_path / "plain.mp4", frames=25)
    late = ["-itsoffset", "0.7", "-i", str(plain), *tone, "-map", "0", "-map", "1", "-c:v", "copy"]
    ffmpeg(*late, str(tmp_path / "late.mp4"))
    times = [frame.time for frame in read(tmp_path / "late.mp4")]
    assert times[0] == pytest.approx(0.7, abs=0.03)
    out = write(tmp_path / "out.mp4", times, audio_from=tmp_path / "late.mp4")
    assert [frame.time for frame in read(out)] == pytest.approx(times, abs=0.002)


def test_a_silent_source_is_no_error(tmp_path: Path) -> None:
    path = write(tmp_path / "out.mp4", [0, 0.04], audio_from=make_video(tmp_path / "a.mp4"))
    assert len(read(path)) == 2 and "Audio" not in describe(path)


def test_an_error_in_the_block_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("old")
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), video_writer(tmp_path / "a.mp4", Fraction(25)) as write_frame:
        write_frame(numbered(0), 0.0)
        raise ZeroDivisionError
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"] and threading.active_count() == before


def test_no_frame_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no frame"):
        write(tmp_path / "a.mp4", [])
    assert not list(tmp_path.iterdir())


def test_the_encoder_s_last_words_reach_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\nhead -c 5000 >/dev/null\necho 'av_write: No space left on device' >&2\nexit 228\n")
    broken.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))
    for count in (1, 40):  # noticed at the end, or on the way
        with pytest.raises(OutputError, match="No space left on device") as caught:
            write(tmp_path / "out" / "a.mp4", [i / 25 for i in range(count)])
        assert "a.mp4" in str(caught.value) and not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_no_video_under_its_name(tmp_path: Path, number: signal.Signals) -> None:
    code = f"""if True:
        import pathlib, signal, time, numpy as np
        from fractions import Fraction
        from stesa_cli.video.writing import video_writer
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell in the background has turned off
        with video_writer(pathlib.Path({str(tmp_path / "a.mp4")!r}), Fraction(25)) as write:
            for i in range(30):
                write(np.full((48, 64, 3), i, np.uint8), i / 25)
            print("ready", flush=True)
            time.sleep(60)"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout and run.stdout.readline()
        run.send_signal(number)
    rest = list(tmp_path.iterdir())
    assert all(path.name.startswith(".") for path in rest) and not (rest and number == signal.SIGINT)


def clipped(width: int, height: int, frames: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Numbered frames, each with the alpha of a disc that moves, soft at its edge, clear and opaque elsewhere."""
    y, x = np.mgrid[:height, :width]
    distance = [np.hypot(y - height / 2, x - width / 2 - i) for i in range(frames)]
    alpha = [np.clip(128 + 20 * (height / 3 - d), 0, 255).astype(np.uint8) for d in distance]
    return [(numbered(i, width, height), alpha[i]) for i in range(frames)]


def write_alpha(path: Path, frames: list[tuple[np.ndarray, np.ndarray]], times: list[float], rate: Fraction) -> None:
    with alpha_writer(path, rate) as write_frame:
        for (image, alpha), seconds in zip(frames, times, strict=True):
            write_frame(image, alpha, seconds)


def read_rgba(path: Path, width: int, height: int) -> np.ndarray:
    decoder = ["-c:v", "libvpx-vp9"] if path.suffix == ".webm" else []  # ffmpeg's own decoder of VP9 drops alpha
    output = ["-fps_mode", "passthrough", "-pix_fmt", "rgba", "-f", "rawvideo", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *decoder, "-i", str(path), *output]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 4)


@pytest.mark.parametrize("name, codec, tick, worst", [("a.mov", "prores", 1e-5, 1), ("a.webm", "vp9", 6e-4, 40)])
@pytest.mark.parametrize("width, height", [(64, 48), (63, 47), (321, 241)])
def test_alpha_survives(
    tmp_path: Path, name: str, codec: str, tick: float, worst: int, width: int, height: int
) -> None:
    times = [0, *np.random.default_rng(0).uniform(0.004, 0.2, 29).cumsum().tolist()]
    frames, path = clipped(width, height, 30), tmp_path / name
    write_alpha(path, frames, times, Fraction(30000, 1001))
    found = read_rgba(path, width, height)
    assert [number_of(image) for image in found[..., :3]] == list(range(30)), "straight colours, clear or not"
    wrong = np.abs(found[..., 3].astype(int) - np.stack([alpha for _, alpha in frames]))
    assert wrong.max() <= worst and wrong.mean() < 0.7
    assert [frame.time for frame in read(path)] == pytest.approx(times, abs=tick)
    assert codec in describe(path) and "(tv, bt709, progressive)" in describe(path)


@pytest.mark.parametrize("name, tick", [("a.mov", 1e-9), ("a.webm", 6e-4)])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001)])
def test_alpha_at_a_constant_rate(tmp_path: Path, name: str, tick: float, rate: Fraction) -> None:
    times = [float(i / rate) for i in range(20)]
    write_alpha(tmp_path / name, clipped(64, 48, 20), times, rate)
    with open_video(tmp_path / name) as reader:
        assert [frame.time for frame in reader] == pytest.approx(times, abs=tick)
        assert reader.rate == rate


def test_alpha_needs_a_container_for_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.mp4: no alpha channel .* name it \.mov or \.webm"):
        write_alpha(tmp_path / "a.mp4", clipped(64, 48, 1), [0.0], Fraction(25))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.mov", "a.webm"])
def test_an_error_in_the_block_leaves_no_alpha(tmp_path: Path, name: str) -> None:
    with pytest.raises(ZeroDivisionError), alpha_writer(tmp_path / name, Fraction(25)) as write_frame:
        write_frame(*clipped(64, 48, 1)[0], 0.0)
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())

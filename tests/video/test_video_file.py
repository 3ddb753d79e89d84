"""Video files as people have them: clocks that start again, sizes that change, pixels that are not square, HDR."""

import os
import re
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stesa_cli.errors import InputError
from stesa_cli.video.decoding import Log
from stesa_cli.video.encoding import encoder
from stesa_cli.video.reading import open_video
from stesa_cli.video.writing import video_writer

from ..clips import ffmpeg, make_video, number_of, numbered

HDR = {"HLG": "arib-std-b67", "PQ": "smpte2084"}


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def with_sound(path: Path, frames: int, size: tuple[int, int] = (64, 48)) -> Path:
    silent = make_video(path.with_name(f"silent_{path.name}"), frames=frames, size=size)
    sound = ["-f", "lavfi", "-i", f"sine=d={frames / 25}"]
    ffmpeg("-i", str(silent), *sound, "-map", "0", "-map", "1", "-c:v", "copy", "-c:a", "aac", str(path))
    return path


def test_a_clock_that_starts_again_goes_on(tmp_path: Path) -> None:
    both = joined(tmp_path / "a.ts", with_sound(tmp_path / "1.ts", 12), with_sound(tmp_path / "2.ts", 8))
    with open_video(both) as reader, video_writer(tmp_path / "o.mp4", reader.rate, both) as write:
        frames = list(reader)
        for frame in frames:
            write(frame.image, frame.time)
    assert [number_of(frame.image) for frame in frames] == [*range(12), *range(8)]
    assert np.diff([frame.time for frame in frames]) == pytest.approx([0.04] * 19, abs=0.03)
    assert frames[-1].time == pytest.approx(0.76, abs=0.05) and reader.truncated_at is None
    with open_video(tmp_path / "o.mp4") as written:
        times = [frame.time for frame in written]
    assert len(times) == 20 and times == pytest.approx([frame.time for frame in frames], abs=0.001)
    assert "Audio: aac" in ffmpeg("-i", str(tmp_path / "o.mp4"), "-f", "null", "-")


def test_a_size_that_changes_is_told_of(tmp_path: Path) -> None:
    small = make_video(tmp_path / "2.ts", frames=5, size=(48, 36))
    both = joined(tmp_path / "a.ts", make_video(tmp_path / "1.ts", frames=7), small)
    with open_video(both) as reader:
        frames = list(reader)
    assert [number_of(frame.image) for frame in frames] == [*range(7), *range(5)]
    [note] = reader.notes
    assert note.startswith("from frame 7 (0.28 s) on the picture is 48×36, scaled to 64×48")


@pytest.mark.parametrize("angle", [0, 90])
def test_pixels_that_are_not_square(tmp_path: Path, angle: int) -> None:
    plain = make_video(tmp_path / "plain.mp4", "-vf", "setsar=64/45")
    ffmpeg("-display_rotation", str(angle), "-i", str(plain), "-c", "copy", str(tmp_path / "a.mp4"))
    with open_video(tmp_path / "a.mp4") as reader:
        assert reader.sample_aspect == (Fraction(45, 64) if angle else Fraction(64, 45))
        assert f"pixels {'45:64' if angle else '64:45'}" in reader.describe()
        assert reader.rotation == (270 if angle else 0)
        image = next(iter(reader)).image
    for name, pixels, coding in [
        ("b.mp4", "yuv420p", ["-c:v", "libx264"]),
        ("b.mov", "yuv444p10le", ["-c:v", "prores_ks"]),
        ("b.webm", "yuv420p", ["-c:v", "libvpx-vp9"]),
    ]:
        with encoder(tmp_path / name, reader.rate, pixels, coding, sample_aspect=reader.sample_aspect) as encode:
            encode(image, 0.0)
        with open_video(tmp_path / name) as written:
            assert float(written.sample_aspect) == pytest.approx(float(reader.sample_aspect), rel=0.01)


def steps(path: Path, transfer: str, coding: list[str]) -> Path:
    """Four steps of grey, left to right, in an HDR video."""
    grey = np.repeat(np.array([64, 128, 190, 229], np.uint8), 16)[None, :, None].repeat(48, 0).repeat(3, 2)
    tags = ["-color_trc", transfer, "-color_primaries", "bt2020", "-colorspace", "bt2020nc", "-color_range", "tv"]
    convert = ["-vf", "scale=out_color_matrix=bt2020:out_range=tv,setparams=" + "color_trc=" + transfer]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x48", "-r", "25", "-i", "pipe:0"]
    ffmpeg(*raw, *convert, "-pix_fmt", "yuv420p10le", *coding, *tags, str(path), stdin=grey.tobytes() * 3)
    return path


@pytest.mark.parametrize("kind", ["HLG", "PQ"])
def test_high_dynamic_range_is_toned_down_alike_by_all_codecs(tmp_path: Path, kind: str) -> None:
    transfer = HDR[kind]
    params = f"log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    hevc = steps(tmp_path / "a.mp4", transfer, ["-c:v", "libx265", "-x265-params", params])
    av1 = steps(tmp_path / "b.mp4", transfer, ["-c:v", "libaom-av1", "-cpu-used", "8"])
    found = []
    for path in (hevc, av1):
        with open_video(path) as reader:
            assert f"{kind} → SDR" in reader.describe()
            image = list(reader)[-1].image
        found.append([int(image[24, 8 + 16 * i].mean()) for i in range(4)])
        assert np.ptp(image[24].astype(int), axis=1).max() <= 3  # grey stays grey
    values = found[0]
    assert abs(values[1] - 128) <= 10 and np.diff(values).min() > 15 and values[3] < 255
    assert found[1] == pytest.approx(values, abs=4)


def test_what_ffmpeg_says_of_its_output_is_not_of_the_video(tmp_path: Path) -> None:
    """Its log tells of both; how far a thread has read it by then is chance."""
    path = steps(tmp_path / "a.mp4", HDR["HLG"], ["-c:v", "libaom-av1", "-cpu-used", "8"])
    log = Log(path, "")
    while log.images.read(1 << 16):
        """The whole log is written when all frames are."""
    while log.frames.get():
        """… and read."""
    assert (log.matrix, log.transfer) == ("bt2020nc", "arib-std-b67")
    log.stop()


def test_sound_with_a_cover_is_no_video(tmp_path: Path) -> None:
    Image.new("RGB", (300, 300)).save(tmp_path / "cover.png")
    arguments = ["-f", "lavfi", "-i", "sine=d=1", "-i", str(tmp_path / "cover.png"), "-map", "0", "-map", "1"]
    ffmpeg(*arguments, "-c:v", "copy", "-disposition:v:0", "attached_pic", str(tmp_path / "a.mp4"))
    with pytest.raises(InputError, match=r"a\.mp4: holds no video, only sound; give a video that shows pictures"):
        open_video(tmp_path / "a.mp4")


def test_a_video_of_standard_range_stays_as_it_is(tmp_path: Path) -> None:
    with open_video(make_video(tmp_path / "a.mp4", frames=3)) as reader:
        assert reader.describe() == "64×48, 25 frames/s, about 3 frames" and not reader.notes


@pytest.mark.parametrize("name", ["raw.h264", "av1.mp4", "cut.mp4", "letters.mp4"])
def test_ffmpeg_keeps_its_lines_to_itself(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = make_video(tmp_path / name, *(["-c:v", "libaom-av1", "-cpu-used", "8"] if name == "av1.mp4" else []))
    if name == "cut.mp4":
        ffmpeg("-i", str(path), "-c", "copy", "-movflags", "+faststart", str(tmp_path / "b.mp4"))
        path.write_bytes((tmp_path / "b.mp4").read_bytes()[:-900])
    if name == "letters.mp4":
        path.write_text("no video" * 99)
    try:
        with open_video(path) as reader:
            assert len(list(reader)) > 2
    except InputError:
        assert name in ("letters.mp4", "cut.mp4")
    assert capfd.readouterr() == ("", "")


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path / "caf") + b"\xe9.mp4"))
    try:
        shutil.copy(make_video(tmp_path / "a.mp4"), path)
    except OSError:
        pytest.skip("this file system takes no such names")
    with open_video(path) as reader:
        assert len(list(reader)) == 12


def test_one_picture_is_a_video_of_one_frame(tmp_path: Path) -> None:
    Image.fromarray(numbered(0)).save(tmp_path / "a %d.png")
    with open_video(tmp_path / "a %d.png") as reader:
        assert [number_of(frame.image) for frame in reader] == [0]


def test_damage_in_the_middle_is_told_of(tmp_path: Path) -> None:
    """Every frame comes, some of them patched up by the decoder."""
    path = make_video(tmp_path / "a.avi", "-c:v", "mpeg4", "-g", "50", frames=30)
    whole = bytearray(path.read_bytes())
    chunks = [match.start() for match in re.finditer(b"00dc", whole)]
    whole[chunks[12] + 20 : chunks[12] + 40] = b"\xaa" * 20
    path.write_bytes(whole)
    with open_video(path) as reader:
        assert len(list(reader)) == 30 and reader.truncated_at is None
        (note,) = reader.notes
    assert note == "decoding met an error: some pictures may be damaged"


def test_a_turn_that_is_no_quarter_is_left_undone_and_told_of(tmp_path: Path) -> None:
    plain, path = make_video(tmp_path / "plain.mp4"), tmp_path / "a.mp4"
    ffmpeg("-display_rotation", "45", "-i", str(plain), "-c", "copy", str(path))
    with open_video(path) as reader:
        assert [number_of(frame.image) for frame in reader] == list(range(12))
    assert reader.rotation == 0 and reader.notes == ["is marked to be turned by 45°, which is left undone"]


def test_frames_that_are_lost_in_the_middle_are_no_end(tmp_path: Path) -> None:
    """Each frame is coded by itself, so none but the spoilt ones is lost."""
    path = make_video(tmp_path / "a.mov", "-c:v", "png", "-pix_fmt", "rgb24", frames=20)
    whole = bytearray(path.read_bytes())
    places = [match.start() for match in re.finditer(b"\x89PNG", whole)]
    for place in places[7:9]:
        whole[place : place + 40] = bytes(40)
    path.write_bytes(whole)
    with open_video(path) as reader:
        frames = list(reader)
    assert [number_of(frame.image) for frame in frames] == [*range(7), *range(9, 20)]
    assert reader.truncated_at is None and frames[7].time == pytest.approx(0.36)
    assert reader.notes[0].startswith("2 frames could not be decoded after frame 6 (0.24 s): later frames keep their")


@pytest.mark.parametrize("prefix", [0, 4], ids=["ts", "m2ts"])
def test_a_transport_stream_cut_in_a_packet_breaks_off(tmp_path: Path, prefix: int) -> None:
    plain = make_video(tmp_path / "plain.ts", "-g", "5", frames=30).read_bytes()
    packets = [bytes(prefix) + plain[i : i + 188] for i in range(0, len(plain), 188)]
    whole, cut = tmp_path / "whole.ts", tmp_path / "cut.ts"
    whole.write_bytes(b"".join(packets))
    cut.write_bytes(whole.read_bytes()[: len(packets) * 6 // 10 * (188 + prefix) + 100])
    for path in (whole, joined(tmp_path / "both.ts", cut, whole)):
        with open_video(path) as reader:
            assert list(reader) and reader.truncated_at is None
    with open_video(cut) as reader:
        count = len(list(reader))
    assert 10 < count < 30 and reader.truncated_at == count

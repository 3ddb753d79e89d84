"""`stesa segment` as people use it: videos of all kinds, several at once, masks here and there, interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from stesa_cli.cli import app
from stesa_cli.errors import InputError
from stesa_cli.masks import read_mask, write_mask
from stesa_cli.video.reading import Frame, open_video

from ..clips import ffmpeg, make_video, numbered
from ..networks import tiny_weights

BOX = ("--box", "1=10,10,30,25")
AV1 = ("-c:v", "libaom-av1", "-cpu-used", "8")
VARIABLE = ("-vf", "settb=1/1000,setpts=40*N+7*N*N", "-fps_mode", "passthrough", "-enc_time_base", "1:1000")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


@pytest.fixture
def segment(weights):
    def run(*arguments: object, code: int = 0) -> str:
        command = ["segment", "--weights", weights, "--device", "cpu", "--no-finetune", *map(str, arguments)]
        result = CliRunner().invoke(app, command)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    return run


def frames(path: Path) -> list[Frame]:
    with open_video(path) as reader:
        return list(reader)


def turned(path: Path) -> None:
    plain = make_video(path.with_name("plain.mp4"))
    ffmpeg("-display_rotation", "90", "-i", str(plain), "-c", "copy", str(path))


def sounding(path: Path) -> None:
    plain = make_video(path.with_name("plain.mp4"))
    tone = ["-f", "lavfi", "-i", "sine=440:d=0.48", "-map", "0", "-map", "1", "-c:v", "copy", "-c:a", "aac"]
    ffmpeg("-i", str(plain), *tone, str(path))


def folder(path: Path) -> None:
    path.mkdir()
    for t in range(12):
        Image.fromarray(numbered(t)).save(path / f"shot {t}.png")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("phone.mp4", turned),
        ("variable.mp4", lambda path: make_video(path, *VARIABLE)),
        ("av1.mp4", lambda path: make_video(path, *AV1)),
        ("ntsc.mp4", lambda path: make_video(path, rate=Fraction(30000, 1001))),
        ("film.mp4", lambda path: make_video(path, rate=Fraction(24000, 1001))),
        ("live.mkv", lambda path: make_video(path, "-live", "1")),
        ("raw.h264", make_video),
        ("odd.mkv", lambda path: make_video(path, size=(63, 47))),
        ("sound.mp4", sounding),
        ("frames", folder),
        ("-i, spaces, ünïcödé 視頻 100%d.mkv", make_video),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_frame_in_step_with_its_source(tmp_path, segment, name, make):
    clip, out = tmp_path / name, tmp_path / "out"
    make(clip)
    segment(*BOX, "-o", out, "--opacity", "0", "--contour", "0", "--save", "masks,overlay", "--", clip)
    source, shown = frames(clip), frames(out / "overlay.mp4")
    assert len(source) == len(shown) == 12
    assert [f.time for f in shown] == pytest.approx([f.time for f in source], abs=0.001)
    height, width = source[0].image.shape[:2]
    for one, other in zip(source, shown, strict=True):
        assert other.image.shape == (height + height % 2, width + width % 2, 3)
        assert np.abs(one.image.astype(int) - other.image[:height, :width]).mean() < 6
    masks = sorted((out / "masks").iterdir())
    names = "shot {}.png" if name == "frames" else "{:05d}.png"
    assert {mask.name for mask in masks} == {names.format(t) for t in range(12)}
    assert all(read_mask(mask).shape == (height, width) for mask in masks)
    told = json.loads((out / "report.json").read_text())
    with open_video(clip) as reader:
        assert told["input"]["frames_per_second"] == str(reader.rate)
    sound = "Audio: aac" in ffmpeg("-i", str(out / "overlay.mp4"), "-f", "null", "-")
    assert sound == (name == "sound.mp4")


@pytest.mark.parametrize("allowed", [False, True])
def test_a_truncated_video_gives_what_it_had(tmp_path, segment, allowed):
    clip = make_video(tmp_path / "cut.mkv", "-g", "5", frames=30)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])
    had = len(frames(clip))
    said = segment(clip, *BOX, *(["--allow-truncated"] if allowed else []), code=0 if allowed else 1)
    assert f"breaks off after {had} frames: what it had is segmented" in said
    out = tmp_path / "cut_stesa"
    assert len(list((out / "masks").iterdir())) == len(frames(out / "overlay.mp4")) == had
    assert json.loads((out / "report.json").read_text())["input"]["truncated"]


def test_a_truncated_video_stays_so_when_resumed(tmp_path, segment):
    clip = make_video(tmp_path / "cut.mkv", "-g", "5", frames=30)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])
    segment(clip, *BOX, code=1)
    assert "is finished already" in segment(clip, *BOX, "--resume", code=1)
    segment(clip, *BOX, "--resume", "--allow-truncated")


def test_a_mask_fits_a_turned_video_as_it_is_seen(tmp_path, segment):
    turned(tmp_path / "phone.mp4")
    for name, shape in [("upright", (64, 48)), ("lying", (48, 64))]:
        write_mask(tmp_path / f"{name}.png", np.pad(np.ones((20, 20), np.uint8), [(5, side - 25) for side in shape]))
    segment(tmp_path / "phone.mp4", "--mask", tmp_path / "upright.png")
    assert read_mask(tmp_path / "phone_stesa" / "masks" / "00011.png").shape == (64, 48)
    with pytest.raises(InputError, match=r"lying\.png: is 64×48, but the video 48×64"):
        segment(tmp_path / "phone.mp4", "--mask", tmp_path / "lying.png", "-o", tmp_path / "other")


def test_brackets_in_names_and_the_rate_of_a_folder(tmp_path, segment):
    folder(tmp_path / "shots [final]")
    said = segment(tmp_path / "shots [final]", *BOX, "--rate", "30000/1001")
    assert "shots [final]: 64×48, 29.97 frames/s, 12 frames; box 1=10,10,30,25" in said
    with open_video(tmp_path / "shots [final]_stesa" / "overlay.mp4") as overlay:
        assert overlay.rate == Fraction(30000, 1001)
    for rate in ("fast", "0", "1/0"):
        assert "--rate" in segment(tmp_path / "shots [final]", *BOX, "--rate", rate, code=2)


def test_several_videos_with_their_masks_beside_them(tmp_path, segment):
    labels = np.zeros((48, 64), np.uint8)
    labels[10:35, 10:40] = 3
    for name in ("a 1", "a 2", "a 10"):
        make_video(tmp_path / f"{name}.mp4", frames=3)
        write_mask(tmp_path / f"{name}.png", labels)
    (tmp_path / "a 2.png").unlink()
    pattern = tmp_path / "a *.mp4"
    with pytest.raises(InputError, match=r"a 2\.mp4: no mask is given"):
        segment(pattern)
    write_mask(tmp_path / "a 2.png", labels[:40])
    said = segment(pattern, "-o", tmp_path / "all", code=1)  # one that fails does not stop the others
    assert "is 64×40, but the video 64×48" in said and said.index("Segmenting a 1.") < said.index("Segmenting a 10.")
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"a 1", "a 10"}
    write_mask(tmp_path / "a 2.png", labels)
    said = segment(pattern, "-o", tmp_path / "all", "--resume")
    assert said.count("is finished already") == 2 and (tmp_path / "all" / "a 2" / "report.json").is_file()


def test_masks_by_frame_boxes_and_stray_ids(tmp_path, segment):
    clip = make_video(tmp_path / "clip.mp4", frames=8, size=(160, 120))
    masks = tmp_path / "given"
    labels = np.zeros((120, 160), np.uint8)
    labels[15:60, 15:70], labels[0, 150] = 1, 7
    write_mask(masks / "frame_2.png", labels)
    write_mask(masks / "frame_5.png", np.roll(labels, 10, 0) * np.uint8(2))
    said = segment(clip, "--mask", masks, "--box", "9@2=90,30,50,70", "-o", tmp_path / "a")
    assert "--both-ways" in said and "id 7 has 1 px" in said and "--min-area 2" in said
    told = json.loads((tmp_path / "a" / "report.json").read_text())
    assert [each["id"] for each in told["objects"]] == [1, 2, 7, 9, 14] and told["input"]["boxes"][0]["id"] == 9
    said = segment(clip, "--mask", masks, "--min-area", 2, "--both-ways", "-o", tmp_path / "b")
    told = json.loads((tmp_path / "b" / "report.json").read_text())
    assert [each["id"] for each in told["objects"]] == [1, 2] and "--both-ways" not in said
    assert not {7, 14} & set(np.unique([read_mask(path) for path in (tmp_path / "b" / "masks").iterdir()]))


def test_wrong_use_is_told_before_anything_starts(tmp_path, segment):
    clip = make_video(tmp_path / "clip.mp4", frames=2)
    assert "give videos, or --camera" in segment(code=2) and "give videos" in segment(clip, "--camera", 0, code=2)
    assert "choose among masks, objects" in segment(clip, *BOX, "--save", "masks,gif", code=2)
    assert "fast" in segment(clip, *BOX, "--preset", "fats", code=2)
    with pytest.raises(InputError, match="1=10,10,300,25: reaches out of the frame of 64×48"):
        segment(clip, "--box", "1=10,10,300,25")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_ctrl_c_then_resume(tmp_path, weights):
    clip = make_video(tmp_path / "clip.mp4", frames=60)
    ours = ("--weights", weights, "--device", "cpu", "--no-finetune")
    command = [sys.executable, "-m", "stesa_cli", "segment", str(clip), *BOX, *ours]
    out = tmp_path / "clip_stesa"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for _ in range(1200):
        if (out / "masks" / "00003.png").exists():
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "add --resume to go on" in said and "Traceback" not in said
    done = len(list((out / "masks").iterdir()))
    assert 3 < done < 60 and not (out / "overlay.mp4").exists() and not (out / "report.json").exists()
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=True)
    assert "60 frames" in again.stderr
    assert len(frames(out / "overlay.mp4")) == len(list((out / "masks").iterdir())) == 60


def test_doubts_about_a_mask_come_before_the_run(tmp_path, segment):
    clip = make_video(tmp_path / "clip.mp4", frames=3)
    labels = np.ones((48, 64), np.uint8)
    labels[10:20, 10:20] = 0
    write_mask(tmp_path / "clip.png", labels)
    said = segment(clip)
    doubt = "touches all four sides: if that is the background, invert the mask"
    assert said.count(doubt) == 1 and said.index(doubt) < said.index("Segmenting clip.mp4")

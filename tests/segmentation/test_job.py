"""`stesa segment` as a job: a tiny video through a tiny network, every output looked at."""

import json
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from stesa_cli.errors import ConfigError, InputError, OutputError
from stesa_cli.inference import finetune
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.masks import read_mask, write_mask
from stesa_cli.segmentation import run
from stesa_cli.segmentation.job import SegmentJob, segment, segment_video
from stesa_cli.segmentation.report import SegmentReport
from stesa_cli.segmentation.results import SeenLog, is_finished, seen_in, was_truncated
from stesa_cli.segmentation.run import Interrupted
from stesa_cli.video.reading import VideoReader, open_video

from ..clips import make_video, numbered
from ..networks import tiny_weights

EVERYTHING = ("masks", "objects", "overlay", "soft", "alpha", "webm", "rle", "npz")


@pytest.fixture
def job(tmp_path):
    labels = np.zeros((48, 64), np.uint8)
    labels[5:20, 5:30], labels[25:45, 30:60] = 2, 9
    write_mask(tmp_path / "first.png", labels)
    clip = make_video(tmp_path / "clip.mp4", frames=9)
    weights = str(tiny_weights(tmp_path / "tiny.safetensors"))
    masks = (str(tmp_path / "first.png"),)
    config = InferenceConfig(finetune=False)
    return SegmentJob(clip, masks, tmp_path / "out", weights=weights, config=config, device="cpu", frames=5)


def masks(folder: Path) -> list[np.ndarray]:
    return [read_mask(path) for path in sorted((folder / "masks").iterdir())]


def pictures(path: Path) -> list[np.ndarray]:
    with open_video(path) as reader:
        return [frame.image for frame in reader]


def test_every_output_is_written(job):
    heard = []
    report = segment_video(job, on_frame=lambda done, of: heard.append((done, of)))
    names = [f"{i:05d}.png" for i in range(5)]
    assert sorted(p.name for p in (job.output / "masks").iterdir()) == names
    assert sorted(p.name for p in (job.output / "objects").iterdir()) == ["2", "9"]
    written = ["masks", "objects", "overlay.mp4", "report.json", "timeline.png"]
    assert sorted(p.name for p in job.output.iterdir()) == written and is_finished(job.output)
    first = read_mask(Path(job.masks[0]))
    assert (read_mask(job.output / "masks" / names[0]) == first).all()
    for name in names:
        labels = read_mask(job.output / "masks" / name)
        assert labels.shape == (48, 64)
        for i in (2, 9):
            with Image.open(job.output / "objects" / str(i) / name) as image:
                assert image.mode == "L" and (np.array(image) == 255 * (labels == i)).all()
    with open_video(job.output / "overlay.mp4") as overlay, open_video(job.video) as source:
        assert (overlay.width, overlay.height, overlay.rate) == (source.width, source.height, source.rate)
        assert [f.time for f in overlay] == pytest.approx([f.time for f in source][:5])
    told = json.loads((job.output / "report.json").read_text())
    areas = {each["id"]: each["areas"] for each in told["objects"]}
    assert areas == {i: report.areas(i) for i in (2, 9)} and areas[2][0] == (first == 2).sum() and len(areas[9]) == 5
    for each in told["objects"]:
        assert each["confidence"][0] == 1 and all(c is None or 0 < c <= 1 for c in each["confidence"])
    assert told["frames"] == 5 and told["timings"]["frames_per_second"] > 0
    assert told["model"]["info"] == {"step": 3} and told["settings"]["size"] == 480
    assert heard == [(done, 5) for done in range(1, 6)]


def test_what_is_saved_is_chosen(job):
    segment_video(replace(job, save=("soft", "npz", "rle"), output=job.output / "a"))
    names = {"soft", "npz", "rle.json", "report.json", "timeline.png"}
    assert {p.name for p in (job.output / "a").iterdir()} == names
    with (
        np.load(job.output / "a" / "npz" / "00003.npz") as archive,
        Image.open(job.output / "a" / "soft" / "9" / "00003.png") as soft,
    ):
        assert archive["ids"].tolist() == [2, 9] and (archive["probabilities"][1] == np.array(soft)).all()
        assert 0 < np.array(soft).astype(int).max() <= 255
    segment_video(replace(job, binary=True, output=job.output / "b"))
    for t in range(5):
        with Image.open(job.output / "b" / "masks" / f"{t:05d}.png") as image:
            each = [np.array(Image.open(job.output / "b" / "objects" / i / f"{t:05d}.png")) for i in "29"]
            assert image.mode == "L" and (np.array(image) == np.maximum(*each)).all()


def test_results_are_not_overwritten_unasked(job):
    segment_video(job)
    before = (job.output / "report.json").read_text()
    for resume in (False, True):
        with pytest.raises(OutputError, match=r"holds results already.*--overwrite"):
            segment_video(job, resume=resume)
    assert (job.output / "report.json").read_text() == before
    with pytest.raises(ConfigError, match="no such weights"):
        segment_video(replace(job, weights="gone"), overwrite=True)
    assert (job.output / "report.json").read_text() == before
    (job.output / "masks" / "00099.png").write_text("of an older, longer run")
    assert segment_video(job, overwrite=True).frames == 5 and not (job.output / "masks" / "00099.png").exists()


def test_a_folder_of_others_is_left_alone(job):
    (job.output / "masks").mkdir(parents=True)
    (job.output / "masks" / "mine.png").write_text("by hand")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(OutputError, match="holds masks, but not from stesa segment; choose another"):
            segment_video(job, **options)
    assert [path.name for path in job.output.rglob("*")] == ["masks", "mine.png"]


def test_a_break_behind_the_last_frame_does_not_matter(job):
    whole = make_video(job.video.with_name("broken.mkv"), frames=60)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert not segment_video(replace(job, video=whole)).truncated and not was_truncated(job.output)
    report = segment_video(replace(job, video=whole, frames=None), overwrite=True)
    assert report.truncated and was_truncated(job.output) and 5 < report.frames < 60


def test_unusable_input_writes_nothing(job, tmp_path):
    write_mask(tmp_path / "small.png", np.ones((10, 20), np.uint8))
    write_mask(tmp_path / "empty.png", np.zeros((48, 64), np.uint8))
    (tmp_path / "text.mp4").write_text("no video")
    for change, line in [
        ({"masks": (str(tmp_path / "small.png"),)}, "small.png: is 20×10, but the video 64×48"),
        ({"masks": (str(tmp_path / "empty.png"),)}, "empty.png: holds no object"),
        ({"masks": (str(tmp_path / "gone.png"),)}, "gone.png: no such mask"),
        ({"video": tmp_path / "gone.mp4"}, "gone.mp4: no such video"),
        ({"video": tmp_path / "text.mp4"}, "text.mp4: no frame can be decoded"),
        ({"weights": "gone"}, "gone: no such weights"),
    ]:
        with pytest.raises((InputError, ConfigError)) as caught:
            segment_video(replace(job, **change))
        assert line in str(caught.value) and "\n" not in str(caught.value)
    assert not job.output.exists()


def stop_at(frame: int):
    """A way to be stopped when so many frames have been asked for: these will be done."""
    asked = count(1)
    return {"stopped": lambda: next(asked) >= frame}


def equal(one: Path, other: Path) -> None:
    """Fails unless two folders hold the same results."""
    names = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(other) for p in other.rglob("*") if p.is_file())
    for name in names:
        if name.suffix == ".npz":
            with np.load(one / name) as a, np.load(other / name) as b:
                assert all((a[key] == b[key]).all() for key in a)
        elif name.name == "report.json":
            a, b = (json.loads((folder / name).read_text()) for folder in (one, other))
            assert (a["objects"], a["frames"], a["warnings"]) == (b["objects"], b["frames"], b["warnings"])
        elif name.suffix in (".png", ".json"):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
        else:
            assert all((a == b).all() for a, b in zip(pictures(one / name), pictures(other / name), strict=True)), name


@pytest.mark.parametrize("save", [EVERYTHING, ("alpha",), ("overlay",)], ids="+".join)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(job, save):
    job = replace(job, save=save)
    whole = replace(job, output=job.output / "whole")
    segment_video(whole)
    job = replace(job, output=job.output / "parts")
    for frame in (2, 4):
        with pytest.raises(Interrupted, match=f"after {frame} frames: add --resume"):
            segment_video(job, resume=True, **stop_at(frame))
        assert not is_finished(job.output) and not (job.output / "report.json").exists()
        assert not list(job.output.glob("*.mp4")) and not list(job.output.glob("*.mov"))
    with pytest.raises(OutputError, match=r"holds an interrupted run; add --resume"):
        segment_video(job)
    with pytest.raises(OutputError, match=r"was begun with other options \(min_area, size\); give the same"):
        segment_video(replace(job, config=InferenceConfig(size=32, finetune=False), min_area=3), resume=True)
    heard = []
    segment_video(job, resume=True, on_frame=lambda done, of: heard.append(done))
    assert heard == [4, 4, 4, 4, 5]
    equal(whole.output, job.output)


KILLED = """
import os, signal, sys
from pathlib import Path
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.segmentation import run
from stesa_cli.segmentation.job import SegmentJob, segment, segment_video
run.STRETCH = 0
clip, mask, weights, output, both_ways = sys.argv[1:]
job = SegmentJob(
    Path(clip), (mask,), Path(output), weights=weights, config=InferenceConfig(finetune=False), device="cpu", frames=8,
    both_ways=both_ways == "True", save=("masks", "objects", "overlay", "soft", "rle"),
)
def on_frame(done, of):
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)
segment_video(job, on_frame=on_frame)
"""


@pytest.mark.parametrize("both_ways", [False, True])
def test_a_killed_run_goes_on_with_the_same_masks(job, both_ways):
    mask = f"6={job.masks[0]}" if both_ways else job.masks[0]
    job = replace(
        job, masks=(mask,), frames=8, both_ways=both_ways, save=("masks", "objects", "overlay", "soft", "rle")
    )
    arguments = [job.video, mask, job.weights, job.output, both_ways]
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False)
    assert killed.returncode == -signal.SIGKILL and not is_finished(job.output)
    assert all(read_mask(path).shape == (48, 64) for path in job.output.rglob("masks/0*.png"))
    heard = []
    segment_video(job, resume=True, on_frame=lambda done, of: heard.append(done))
    assert heard[0] >= 3  # what the last state holds is not done again
    whole = replace(job, output=job.output.with_name("whole"))
    segment_video(whole)
    equal(whole.output, job.output)


def test_the_network_does_not_wait_for_what_is_made_of_its_masks(job, monkeypatch):
    recorded, ahead, seen_in = [], threading.Event(), run.seen_in

    def slow(labels, confidence, ids):
        recorded.append(ahead.wait(20))
        return seen_in(labels, confidence, ids)

    monkeypatch.setattr(run, "seen_in", slow)
    report = segment_video(job, on_frame=lambda done, of: done == 2 and ahead.set())
    assert recorded == [True] * 5 and report.areas(2)[0] == 15 * 25


def test_an_error_behind_the_network_stops_the_run(job, monkeypatch):
    heard, before = [], threading.active_count()
    monkeypatch.setattr(run, "seen_in", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        segment_video(job, on_frame=lambda done, of: heard.append(done))
    assert len(heard) <= 1 + run.BEHIND and not is_finished(job.output) and not list(job.output.rglob("*.mp4"))
    assert threading.active_count() <= before + 1  # the optical flow's


def test_what_is_seen_of_each_object():
    labels, confidence = np.zeros((2, 6, 8), np.uint8)
    labels[1:3, 2:5], labels[5, 7] = 4, 250
    confidence[labels == 4], confidence[5, 7] = [255, 255, 255, 0, 0, 51], 102
    assert seen_in(labels, confidence, (4, 250, 9)) == {4: (6, pytest.approx(16 / 30)), 250: (1, 0.4), 9: (0, 0.0)}
    assert seen_in(np.zeros((6, 8), np.uint8), confidence, (4,)) == {4: (0, 0.0)}


def test_masks_of_later_frames_correct_and_add_objects(job, tmp_path):
    later = np.zeros((48, 64), np.uint8)
    later[0:12, 40:60], later[30:40, 5:15] = 2, 5
    write_mask(tmp_path / "later.png", later)
    segment_video(replace(job, masks=(*job.masks, f"3={tmp_path / 'later.png'}")))
    found = masks(job.output)
    assert (found[3][later > 0] == later[later > 0]).all() and set(np.unique(found[3])) <= {0, 2, 5, 9}
    assert (found[3] == 2).sum() == (later == 2).sum()  # the whole mask of object 2 was given
    report = json.loads((job.output / "report.json").read_text())
    assert [each["id"] for each in report["objects"]] == [2, 5, 9]
    assert report["objects"][1]["areas"][:3] == [0, 0, 0] and report["objects"][1]["lost"][:1] != [[0, 3]]


def test_frames_before_the_first_mask(job):
    late = replace(job, masks=(f"3={job.masks[0]}",), output=job.output / "late")
    report = segment_video(late)
    assert [mask.any() for mask in masks(late.output)[:3]] == [False] * 3
    assert any("--both-ways" in line for line in report.warnings)
    both = replace(late, both_ways=True, output=job.output / "both")
    report = segment_video(both)
    found = masks(both.output)
    assert all(mask.any() for mask in found[:4]) and not any("--both-ways" in line for line in report.warnings)
    assert all((a == b).all() for a, b in zip(found[3:], masks(late.output)[3:], strict=True))
    # backwards is forwards in the reversed video
    frames = job.output / "reversed"
    frames.mkdir()
    for t, picture in enumerate(pictures(job.video)[3::-1]):
        Image.fromarray(picture).save(frames / f"{t}.png")
    turned = replace(job, video=frames, frames=None, output=job.output / "turned")
    segment_video(turned)
    assert all((a == b).all() for a, b in zip(found[:3], masks(turned.output)[:0:-1], strict=True))


@pytest.mark.parametrize("both_ways", [False, True])
def test_a_first_mask_beyond_the_end(job, both_ways):
    job = replace(job, masks=(f"12={job.masks[0]}",), both_ways=both_ways)
    with pytest.raises(InputError, match="the first mask is of frame 12, but the video has 9 frames"):
        segment_video(replace(job, frames=None))
    with pytest.raises(InputError, match="of frame 12, but --frames 5 stops before"):
        segment_video(job)
    assert not list(job.output.glob("*"))


def test_backwards_in_blocks(job, monkeypatch):
    forwards = pictures(job.video)
    monkeypatch.setattr(run, "BLOCK", 3 * 64 * 48 * 4)
    backwards = list(run.backwards(job, 6))
    assert [frame.index for frame in backwards] == [6, 5, 4, 3, 2, 1, 0]
    assert all((frame.image == forwards[frame.index]).all() for frame in backwards)


def test_boxes_are_told_of(job):
    report = segment_video(replace(job, masks=(), boxes=("4=10,10,30,25",)))
    assert report.boxes[0]["box"] == [10, 10, 30, 25] and report.areas(4)[0] == report.boxes[0]["area"] > 0


def test_finetuning_changes_the_decoder_and_survives_an_interruption(job, monkeypatch):
    job = replace(job, config=InferenceConfig(), save=("masks", "soft"))
    monkeypatch.setattr(finetune, "STEPS", 2)
    monkeypatch.setattr(finetune, "RATE", 0.05)  # these weights, made by chance, must change much
    with pytest.raises(Interrupted, match="before the first frame"):
        segment_video(job, stopped=lambda: True)
    heard: list[tuple[int, int]] = []
    with pytest.raises(Interrupted):
        # it is asked for at each of the three, too
        segment_video(job, resume=True, on_finetune=lambda done, of: heard.append((done, of)), **stop_at(3 + 2))
    assert heard == [(0, 2), (1, 2), (2, 2)]
    heard.clear()
    segment_video(job, resume=True, on_finetune=lambda done, of: heard.append((done, of)))
    assert not heard, "it is not done again"
    whole = replace(job, output=job.output.with_name("whole"))
    assert segment_video(whole).seconds["finetuning"] > 0
    equal(whole.output, job.output)
    plain = replace(job, config=InferenceConfig(finetune=False), output=job.output.with_name("plain"))
    segment_video(plain)
    assert any((a != b).any() for a, b in zip(masks(plain.output), masks(job.output), strict=True))


def test_both_ways_are_finetuned_once(job, monkeypatch):
    monkeypatch.setattr(finetune, "STEPS", 1)
    heard: list[tuple[int, int]] = []
    job = replace(job, config=InferenceConfig(), masks=(f"3={job.masks[0]}",), both_ways=True)
    segment_video(job, on_finetune=lambda done, of: heard.append((done, of)))
    assert heard == [(0, 1), (1, 1)]


def test_what_was_seen_is_appended(tmp_path):
    log, seen = SeenLog(tmp_path / "work" / "seen.jsonl"), {t: {2: (t, 0.5), 9: (0, 0.25)} for t in range(6)}
    size = log.append({t: seen[t] for t in (0, 1, 2)})
    first = log.path.read_bytes()
    log.append({4: {}})  # by a run that was killed before it said so
    assert log.path.read_bytes().startswith(first) and log.read(size) == {t: seen[t] for t in (0, 1, 2)}
    assert log.read(log.append({t: seen[t] for t in (3, 4, 5)})) == seen


def test_a_memory_that_had_to_shrink_is_told_of(job, monkeypatch):
    class SmallGPU(Segmenter):
        def propagate(self, *arguments):
            self.max_mem_frames = 1
            return super().propagate(*arguments)

    monkeypatch.setattr(run, "Segmenter", SmallGPU)
    assert "the GPU has room for a memory of 1 frames only, not 2" in segment_video(job).warnings[0]


def test_the_fast_preset(job):
    assert segment_video(replace(job, config=InferenceConfig.preset("fast"))).frames == 5


def test_a_camera(job, monkeypatch):
    monkeypatch.setattr(run, "open_camera", lambda number: open_video(job.video))
    report = segment_video(replace(job, video=0))
    assert report.frames == 5 and json.loads((job.output / "report.json").read_text())["input"]["video"] == "0"
    live = replace(job, video=0, frames=None, output=job.output / "live")
    assert segment_video(live, **stop_at(3)).frames == 3  # Ctrl-C is how a camera ends
    assert is_finished(live.output) and len(pictures(live.output / "overlay.mp4")) == 3
    with pytest.raises(ConfigError, match="leave out --resume"):
        segment_video(replace(job, video=0), resume=True)


def test_where_objects_were_lost_is_told(job):
    seen = {1: [9, 9, 0, 0, 7, 0], 2: [0, 0, 5, 5, 5, 5], 3: [4, 0, 4, 0, 4, 0]}
    prompts = SimpleNamespace(notes=["a stray edge"], frames=[0, 99])
    report = SegmentReport(job, SimpleNamespace(notes=[]), {}, prompts)
    report.times = [t / 10 for t in range(6)]
    report.seen = {t: {i: (areas[t], 0.5) for i, areas in seen.items()} for t in range(6)}
    assert [report.lost(i) for i in seen] == [[(2, 4), (5, 6)], [], [(1, 2), (3, 4), (5, 6)]]
    assert report.confidence(1) == [0.5, 0.5, None, None, 0.5, None]
    assert report.warnings[:3] == [
        "a stray edge",
        "object 1 is lost at frame 2 (0.20 s) and returns at frame 4 (0.40 s)",
        "object 1 is lost at frame 5 (0.50 s) and is not seen again",
    ]
    assert report.warnings[-1] == "the masks of the frames 99 were not used: the video has 6 frames, counted from 0"


def test_what_was_understood_is_told_at_the_start(job):
    told: list[str] = []
    segment_video(replace(job, min_area=0), on_start=lambda line, notes: told.extend([line, *notes]))
    line = "clip.mp4: 64×48, 25 frames/s, about 9 frames; mask first.png: 2 objects (2: 375 px, 9: 600 px)"
    assert told == [line] and json.loads((job.output / "report.json").read_text())["input"]["understood"] == line


def frames_in(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for t, name in enumerate(names):
        Image.fromarray(numbered(t)).save(folder / name)
    return folder


def test_results_are_named_after_the_frames_of_a_folder(job):
    folder = frames_in(job.output.with_name("frames"), ["00005.png", "00010.png", "shot 7.png"])
    named = replace(job, video=folder, frames=None, save=("masks", "soft", "npz", "alpha"))
    for frame in (1, 2):  # resuming goes by the names, too
        with pytest.raises(Interrupted):
            segment_video(named, resume=True, **stop_at(frame))
    segment_video(named, resume=True)
    names = ["00005", "00010", "shot 7"]
    assert sorted(p.stem for p in (job.output / "masks").iterdir()) == names
    assert sorted(p.stem for p in (job.output / "npz").iterdir()) == names
    # what comes out goes in again, at the same frame
    again = replace(named, masks=(*job.masks, str(job.output / "masks" / "00010.png")), output=job.output / "again")
    segment_video(again)
    before, after = (read_mask(folder / "masks" / "00010.png") for folder in (job.output, again.output))
    assert (before == after).all()
    counted = replace(named, names="index", output=job.output / "counted")
    segment_video(counted)
    assert sorted(p.stem for p in (counted.output / "masks").iterdir()) == ["00000", "00001", "00002"]


def test_a_pattern_chooses_frames_and_masks_among_them_are_none(job):
    folder = frames_in(job.output.with_name("frames"), ["0.png", "1.png", "2.bmp"])
    write_mask(folder / "mask.png", read_mask(Path(job.masks[0])))
    mine = replace(job, video=folder, frames=None, masks=(str(folder / "mask.png"),))
    assert segment_video(mine).frames == 3
    assert segment_video(replace(mine, pattern="*.bmp", output=job.output / "bmp")).frames == 1


def test_results_do_not_go_among_the_frames(job):
    folder = frames_in(job.output.with_name("frames"), ["0.png", "1.jpg"])
    with pytest.raises(OutputError, match="frames: holds the frames themselves; choose another --output"):
        segment_video(replace(job, video=folder, output=folder))
    assert sorted(path.name for path in folder.iterdir()) == ["0.png", "1.jpg"]


def test_problems_of_video_masks_and_output_are_told_together(job):
    job.output.mkdir()
    (job.output / "masks").write_text("mine")
    with pytest.raises(InputError, match=r"holds masks, but not from stesa segment.*gone\.mp4: no such video"):
        segment_video(replace(job, video=job.video.with_name("gone.mp4")))
    with pytest.raises(InputError, match=r"holds masks, but not from stesa segment.*gone\.png: no such mask"):
        segment_video(replace(job, masks=(str(job.video.with_name("gone.png")),)))


def test_a_video_is_closed_when_the_output_does_not_serve(job):
    """Or its ffmpeg would wait until the end of the process."""
    (job.output / "masks").mkdir(parents=True)
    before = threading.active_count()
    with pytest.raises(OutputError, match="holds masks, but not from stesa segment"):
        segment_video(job)
    assert threading.active_count() == before


def test_notes_of_the_reader_are_warnings(job, monkeypatch):
    def opened(path: Path, *rest: object, **options: object) -> VideoReader:
        reader = open_video(path)
        reader.notes.append("frame 3 has another size")
        return reader

    monkeypatch.setattr(run, "open_video", opened)
    assert "frame 3 has another size" in segment_video(job).warnings


def test_a_broken_frame_in_the_middle_costs_nothing_that_is_done(job):
    folder = frames_in(job.output.with_name("frames"), [f"{t}.png" for t in range(6)])
    whole = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(whole[:60] + bytes(20) + whole[80:])  # its head and its end are fine
    mine = replace(job, video=folder, frames=None)
    with pytest.raises(InputError, match=r"3\.png: cannot be read.*--resume.* goes on after the 3 frames") as caught:
        segment_video(mine)
    assert str(caught.value).count("3.png") == 1 and len(masks(job.output)) == 3
    (folder / "3.png").write_bytes(whole)
    for path in (job.output / "masks").iterdir():
        path.chmod(0o444)
    before = {path.name: path.stat().st_mtime_ns for path in (job.output / "masks").iterdir()}
    assert segment_video(mine, resume=True).frames == 6 and len(pictures(job.output / "overlay.mp4")) == 6
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in (job.output / "masks").iterdir()}.items()


def test_an_object_that_is_not_there_at_the_start_of_a_run_both_ways_is_told_of(job):
    prompts = SimpleNamespace(notes=[], frames=[3])
    report = SegmentReport(replace(job, both_ways=True), SimpleNamespace(notes=[]), {}, prompts)
    report.times = [t / 10 for t in range(5)]
    report.seen = {t: {1: (0 if t < 2 else 9, 0.5), 2: (7, 0.5)} | ({3: (5, 0.5)} if t > 3 else {}) for t in range(5)}
    assert report.lost(1) == [(0, 2)] and report.lost(2) == report.lost(3) == []
    assert report.warnings == ["object 1 is not seen before frame 2 (0.20 s)"]


def test_errors_say_what_python_calls_the_options(job):
    segment_video(job)
    with pytest.raises(OutputError, match=r"add --overwrite \(in Python, overwrite=True\)"):
        segment(job.video, job.masks[0], job.output)

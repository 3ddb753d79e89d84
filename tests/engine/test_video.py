"""`stesa segment` as a job: a tiny video through a tiny network, every output looked at."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from stesa_cli.engine.checkpoint import save
from stesa_cli.engine.video import SegmentJob, segment_video
from stesa_cli.errors import InputError, OutputError
from stesa_cli.masks import read_mask, write_mask
from stesa_cli.model.network import MemoryConfig, ModelConfig, Network
from stesa_cli.video.reading import open_video

from ..clips import make_video

MODEL = ModelConfig(
    encoder="test_efficientnet",
    skips=(8, 8, 8, 8),
    hidden=(8, 8, 8, 8),
    nlb="none",
    auxiliary=False,
    aggregate=True,
    memory=MemoryConfig(),
)


@pytest.fixture
def job(tmp_path):
    torch.manual_seed(0)
    save(tmp_path / "tiny.safetensors", Network(MODEL).state_dict(), MODEL, {"step": 3})
    labels = np.zeros((48, 64), np.uint8)
    labels[5:20, 5:30], labels[25:45, 30:60] = 2, 9
    write_mask(tmp_path / "first.png", labels)
    video = make_video(tmp_path / "clip.mp4", frames=5)
    return SegmentJob(
        video, tmp_path / "first.png", tmp_path / "out", weights=str(tmp_path / "tiny.safetensors"), device="cpu"
    )


def test_every_output_is_written(job):
    heard = []
    report = segment_video(job, lambda done, of: heard.append((done, of)))
    names = [f"{i:05d}.png" for i in range(5)]
    assert sorted(p.name for p in (job.output / "masks").iterdir()) == names
    assert sorted(p.name for p in (job.output / "objects").iterdir()) == ["2", "9"]
    assert sorted(p.name for p in job.output.iterdir()) == ["masks", "objects", "overlay.mp4", "report.json"]
    first = read_mask(job.mask)
    assert (read_mask(job.output / "masks" / names[0]) == first).all()
    for name in names:
        labels = read_mask(job.output / "masks" / name)
        assert labels.shape == (48, 64)
        for i in (2, 9):
            with Image.open(job.output / "objects" / str(i) / name) as image:
                assert image.mode == "L" and (np.array(image) == 255 * (labels == i)).all()
    with open_video(job.output / "overlay.mp4") as overlay, open_video(job.video) as source:
        assert (overlay.width, overlay.height, overlay.rate) == (source.width, source.height, source.rate)
        assert [f.time for f in overlay] == pytest.approx([f.time for f in source])
    written = json.loads((job.output / "report.json").read_text())
    areas = {each["id"]: each["areas"] for each in written["objects"]}
    assert areas == report.areas and areas[2][0] == (first == 2).sum() and len(areas[9]) == 5
    assert written["frames"] == 5 and written["timings"]["frames_per_second"] > 0
    assert written["model"]["info"] == {"step": 3} and written["settings"]["size"] == 480
    assert [done for done, _ in heard] == [1, 2, 3, 4, 5]


def test_results_are_not_overwritten_unasked(job):
    segment_video(job)
    before = (job.output / "report.json").read_text()
    with pytest.raises(OutputError, match=r"holds results already.*--overwrite"):
        segment_video(job)
    assert (job.output / "report.json").read_text() == before
    (job.output / "masks" / "00099.png").write_text("of an older, longer run")
    again = SegmentJob(**{**vars(job), "overwrite": True})
    assert segment_video(again).frames == 5 and not (job.output / "masks" / "00099.png").exists()


def test_unusable_input_writes_nothing(job, tmp_path):
    write_mask(tmp_path / "small.png", np.ones((10, 20), np.uint8))
    write_mask(tmp_path / "empty.png", np.zeros((48, 64), np.uint8))
    (tmp_path / "text.mp4").write_text("no video")
    for change, line in [
        ({"mask": tmp_path / "small.png"}, "small.png: is 20×10, but the video 64×48"),
        ({"mask": tmp_path / "empty.png"}, "empty.png: holds no object"),
        ({"mask": tmp_path / "gone.png"}, "gone.png: no such mask"),
        ({"video": tmp_path / "gone.mp4"}, "gone.mp4: no such video"),
        ({"video": tmp_path / "text.mp4"}, "text.mp4: no frame can be decoded"),
    ]:
        with pytest.raises(InputError) as caught:
            segment_video(SegmentJob(**{**vars(job), **change}))
        assert line in str(caught.value) and "\n" not in str(caught.value)
    assert not job.output.exists()


def test_an_interrupted_run_does_not_look_finished(job):
    def interrupt(done: int, of: int | None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_video(job, interrupt)
    assert not (job.output / "report.json").exists() and not (job.output / "overlay.mp4").exists()
    assert all(read_mask(path).shape == (48, 64) for path in (job.output / "masks").iterdir())
    assert not [path for path in job.output.rglob("*") if path.name.startswith(".")]

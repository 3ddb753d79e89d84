"""Finished results of ``stesa segment``, opened to be corrected."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from stesa_cli.errors import InputError
from stesa_cli.masks import write_mask
from stesa_cli.segmentation.job import SegmentJob, segment_video
from stesa_cli.studio.export import export
from stesa_cli.studio.reopening import finished_job, is_results, take_results

from .conftest import open_session
from .test_session import assert_equals_the_command, files, moved, propagate


@pytest.fixture
def later(tmp_path, labels):
    """The mask of a later frame, with an object more."""
    write_mask(tmp_path / "later.png", np.where(labels == 9, 4, 0).astype(np.uint8))
    return tmp_path / "later.png"


def reopened(folder):
    asked = finished_job(folder)
    return asked, open_session(replace(asked, masks=(), boxes=(), min_area=0))


@pytest.mark.parametrize("both_ways", [False, True])
def test_results_are_there_to_be_corrected(job, labels, first_mask, later, both_ways):
    masks = (f"3={first_mask}", f"9={later}")
    asked = replace(job, masks=masks, both_ways=both_ways, save=("masks", "objects", "soft"), binary=False)
    report = segment_video(asked)
    before = {kind: files(job.output / kind) for kind in asked.save}
    assert is_results(job.output) and not is_results(job.video.parent)
    opened, opening = reopened(job.output)
    assert replace(opened, masks=masks) == asked
    with opening as session:
        take_results(session, opened)
        assert sorted(session.prompts) == [3, 9] and (session.labels(3) == labels).all()
        assert session.fresh_until() == 30 and propagate(session, *[True, False][not both_ways :]) == []
        export(session, asked.save, lambda done, of: None)
        assert before == {kind: files(job.output / kind) for kind in asked.save}
        told = json.loads((job.output / "report.json").read_text())
        assert told["objects"] == json.loads(json.dumps(report.to_dict()["objects"]))
        session.give(14, moved(labels))
        assert propagate(session) == list(range(14, 30))
        assert_equals_the_command(session)
    with reopened(job.output)[1] as session:
        assert not session.is_new and session.fresh_until() == 30 and sorted(session.prompts) == [3, 9, 14]


def test_boxes_become_masks(job):
    segment_video(replace(job, boxes=("2=10,10,30,30",), min_area=5))
    opened, opening = reopened(job.output)
    with opening as session:
        take_results(session, opened)
        assert session.ids() == [2] and session.fresh_until() == 30
        assert_equals_the_command(session, ("masks", "objects"))


def test_what_holds_no_ids_is_computed_anew(job, first_mask):
    segment_video(replace(job, masks=(str(first_mask),), binary=True))
    opened, opening = reopened(job.output)
    with opening as session:
        take_results(session, opened)
        assert session.seen == {} and sorted(session.prompts) == [0]
        assert propagate(session) == list(range(30))


def test_soft_masks_that_were_not_saved_are_asked_for_before_anything_is_removed(job, first_mask):
    segment_video(replace(job, masks=(str(first_mask),)))
    opened, opening = reopened(job.output)
    with opening as session:
        take_results(session, opened)
        with pytest.raises(InputError, match="soft mask"):
            export(session, ("soft",), lambda done, of: None)
        assert len(files(job.output / "masks")) == 30


def test_a_folder_that_was_moved_together_with_its_files(job, first_mask, tmp_path):
    segment_video(replace(job, masks=(f"0={first_mask}",)))
    other = tmp_path / "other"
    other.mkdir()
    for path in (job.video, first_mask, job.output):
        shutil.move(path, other)
    opened = finished_job(other / job.output.name)
    assert opened.video == other / job.video.name and opened.masks == (f"0={other / first_mask.name}",)
    (other / job.video.name).unlink()
    with pytest.raises(InputError, match="not found; put it beside"):
        finished_job(other / job.output.name)


@pytest.mark.parametrize(("spoil", "match"), [("work", "--resume"), ("text", "no report"), ("less", "no report")])
def test_no_finished_results(job: SegmentJob, first_mask, spoil, match):
    segment_video(replace(job, masks=(str(first_mask),)))
    report = job.output / "report.json"
    if spoil == "work":
        (job.output / ".stesa").mkdir()
    elif spoil == "text":
        report.write_text("{")
    else:
        report.write_text(json.dumps({"input": json.loads(report.read_text())["input"]}))
    with pytest.raises(InputError, match=match):
        finished_job(job.output)

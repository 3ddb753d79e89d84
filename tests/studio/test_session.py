"""What a studio finds, and when it is found anew: the same, to the bit, as ``stesa segment`` with the same masks."""

import json
import shlex
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from stesa_cli.errors import InputError, OutputError
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.segmentation.job import segment_video
from stesa_cli.studio.export import export
from stesa_cli.studio.propagation import Propagation
from stesa_cli.studio.session import Session
from stesa_cli.video.overlay import OverlayStyle

from .conftest import open_session


def propagate(session: Session, *ways: bool) -> list[int]:
    """Returns the frames that were computed."""
    heard: list[dict] = []
    run = Propagation(session, heard.append)
    run.start(ways or (False,))
    run._thread.join()
    assert heard[-1] == {"kind": "ended", "error": ""}
    return [event["frame"] for event in heard if event["kind"] == "frame"]


def files(folder) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.png")) if "timeline" not in p.name
    }


def assert_equals_the_command(session: Session, save=("masks", "objects", "soft")) -> None:
    """What is exported, and what ``stesa segment`` writes."""
    report = export(session, save, lambda done, of: None)
    job = session.equal_job(save)
    other = segment_video(type(job)(**(vars(job) | {"output": job.output.parent / "by_command"})), overwrite=True)
    for kind in save:
        mine, its = files(job.output / kind), files(other.job.output / kind)
        assert mine == its and mine
    for key in ("objects", "frames", "warnings"):
        assert json.loads(json.dumps(report.to_dict()[key])) == json.loads(json.dumps(other.to_dict()[key]))


def moved(labels: np.ndarray) -> np.ndarray:
    return np.roll(labels, 6, axis=1)


@pytest.mark.parametrize("finetune", [False, True])
def test_a_correction_computes_only_what_follows(job, labels, finetune):
    job = type(job)(**(vars(job) | {"config": InferenceConfig(finetune=finetune, size=96)}))
    with open_session(job) as session:
        session.give(0, labels)
        assert propagate(session) == list(range(30))
        assert_equals_the_command(session)
        session.give(14, moved(labels))
        assert session.fresh_until() == 14 and session.labels(20).any()  # still there to be looked at
        assert propagate(session) == list(range(14, 30))
        assert_equals_the_command(session)


def test_both_ways(session, labels):
    session.give(12, labels)
    session.give(20, moved(labels))
    assert propagate(session, True, False) == [*range(11, -1, -1), *range(12, 30)]
    assert_equals_the_command(session)
    session.give(20, labels)  # the way back does not hang on it
    assert propagate(session, True, False) == list(range(20, 30))
    assert_equals_the_command(session)
    assert "--both-ways" in session.command(("masks",))


def test_forwards_first_and_back_later(session, labels):
    session.give(12, labels)
    propagate(session, False)
    assert_equals_the_command(session)  # empty masks before
    propagate(session, True)
    assert_equals_the_command(session)


def test_a_correction_taken_back_costs_nothing(session, labels):
    session.give(0, labels)
    propagate(session)
    session.give(7, moved(labels))
    assert session.fresh_until() == 7
    session.give(7, np.zeros_like(labels))
    assert session.fresh_until() == 30 and propagate(session) == []


def test_a_run_that_is_stopped_keeps_what_is_done(session, labels, monkeypatch):
    session.give(0, labels)
    run = Propagation(session, lambda event: event.get("frame") == 16 and run._stop.set())
    run.start((False,))
    run._thread.join()
    assert sorted(session.seen) == list(range(17))
    assert "--frames 17" in session.command(("masks",))
    assert_equals_the_command(session)
    steps = []
    step = Segmenter.step
    monkeypatch.setattr(Segmenter, "step", lambda self, *a: steps.append(1) or step(self, *a))
    assert propagate(session) == list(range(17, 30)) and len(steps) < 30
    assert_equals_the_command(session)


def test_what_no_longer_holds_is_gone_when_a_run_begins(session, labels):
    session.give(0, labels)
    propagate(session)
    session.give(14, moved(labels))
    session.begin()
    assert session.labels(13).any() and session.labels(14).any() and not session.labels(15).any()


def test_it_goes_on_after_closing(job, labels):
    with open_session(job) as session:
        session.names[2] = "cup"
        session.give(0, labels)
        propagate(session)
    with open_session(job) as session:
        assert session.ids() == [2, 9] and session.names == {2: "cup"}
        assert session.fresh_until() == 30 and len(session.seen) == 30
        session.give(21, moved(labels))
        assert propagate(session) == list(range(21, 30))
        assert_equals_the_command(session)


def test_other_settings_compute_all_anew(job, labels):
    with open_session(job) as session:
        session.give(0, labels)
        propagate(session)
    with open_session(type(job)(**(vars(job) | {"config": InferenceConfig(finetune=False, size=64)}))) as session:
        assert session.fresh_until() == 0
        assert propagate(session) == list(range(30))
        assert "--size 64" in session.command(("masks",))


def test_a_folder_is_open_once(job, session):
    with pytest.raises(OutputError, match="open in another studio"), open_session(job):
        pass


def test_nothing_is_exported_before_anything_is_found(session, labels):
    session.give(0, labels)
    with pytest.raises(InputError, match="propagate first"):
        export(session, ("masks",), lambda done, of: None)


def test_masks_of_the_command_line_are_taken_over(job, labels, first_mask):
    job = type(job)(**(vars(job) | {"masks": (f"3={first_mask}",)}))
    with open_session(job) as session:
        assert session.first == 3 and (session.labels(3) == labels).all()
        session.give(3, moved(labels))
    with open_session(job) as session:
        assert (session.labels(3) == moved(labels)).all()


def test_the_command_is_what_a_shell_takes(session, labels):
    session.give(4, labels)
    propagate(session)
    words = shlex.split(session.command(("masks", "rle")))
    assert words[:2] == ["stesa", "segment"] and words[words.index("--save") + 1] == "masks,rle"
    assert words[words.index("--mask") + 1] == f"4={session.prompt_path(4)}"


def test_the_command_tells_all_that_is_not_the_default(job, labels):
    style = OverlayStyle(0.25, 3, True)
    config = InferenceConfig(finetune=False, size=96, precision="fp32")
    asked = replace(job, config=config, style=style, binary=True, names="index", rate=Fraction(30000, 1001))
    with open_session(asked) as session:
        session.give(0, labels)
        propagate(session)
        line = session.command(("masks",))
    for words in (
        "--no-finetune --weights",
        "--size 96 --precision fp32",
        "--opacity 0.25 --contour 3",
        "--binary --labels",
        "--names index",
        "--rate 30000/1001",
    ):
        assert words in line

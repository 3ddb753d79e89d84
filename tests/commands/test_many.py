"""`stesa segment` and `stesa evaluate` with several workers: what one process makes, whatever fails."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from stesa_cli.cli import app
from stesa_cli.commands.many import _View
from stesa_cli.distribution.crew import Crew
from stesa_cli.errors import ConfigError
from stesa_cli.evaluation.score_files import read_json
from stesa_cli.masks import write_mask

from ..clips import make_video
from ..layouts import davis, squares
from ..networks import tiny_weights
from ..rays import STORE

FRAMES = 12


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    tiny_weights(folder / "tiny.safetensors")
    (folder / "clips").mkdir()
    for number in range(12):
        make_video(folder / "clips" / f"{number}.mp4", frames=FRAMES + number)
    sequences = {name: [squares(t, 1, 2) for t in range(4 + i)] for i, name in enumerate("abc")}
    davis(folder / "DAVIS", 2017, "val", sequences)
    return folder


@pytest.fixture
def stesa(home, monkeypatch):
    monkeypatch.chdir(home)

    def run(*arguments: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    return run


OURS = ("--weights", "tiny.safetensors", "--device", "cpu", "--no-finetune")
SEGMENT = ("segment", "clips/*.mp4", "--box", "1=10,10,30,25", *OURS)


def one_process(home, *arguments):
    """In a process of one thread, which is to have nothing of Ray's."""
    code = (
        "import sys; from stesa_cli.cli import app\n"
        f"app({[*map(str, arguments)]!r}, standalone_mode=False)\n"
        "print('ray' in sys.modules)"
    )
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=home, env=one, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False"]


def results(folder):
    """All bytes of all results but for reports, of which what was seen."""
    files = {str(path.relative_to(folder)): path for path in folder.glob("*/**/*") if path.is_file()}
    reports = {name: json.loads(path.read_text()) for name, path in files.items() if path.name == "report.json"}
    seen = {name: (told["frames"], told["objects"], told["warnings"]) for name, told in reports.items()}
    return {name: path.read_bytes() for name, path in files.items() if name not in reports} | seen


def test_a_cluster_that_loses_workers_and_nodes_makes_what_one_process_makes(rays, home, stesa, monkeypatch):
    one_process(home, *SEGMENT, "-o", "one")
    (home / "clips" / "broken.mp4").write_bytes(b"no video")
    node = rays.add_node(num_cpus=1, object_store_memory=STORE)
    crews, lost = [], {}
    hear = _View.frames

    def frames(view, task, place, done):
        hear(view, task, place, done)
        (crew,) = crews
        ran = {member: member.turn.task.name for member in crew._members if member.turn}
        if done and not lost and len(ran) == 3:
            asked = {each: each.actor.__ray_call__.options(concurrency_group="watch").remote(home_of) for each in ran}
            ids = {member: crew._ray.get(ref) for member, ref in asked.items()}
            there = next(member for member in ran if ids[member][0] == node.node_id)
            here = next(member for member in ran if member is not there)
            lost.update(node=ran[there], worker=ran[here])
            os.kill(ids[here][1], signal.SIGKILL)
            rays.remove_node(node, allow_graceful=False)

    made = Crew.__init__
    monkeypatch.setattr(Crew, "__init__", lambda crew, *given: (crews.append(crew), made(crew, *given))[1])
    monkeypatch.setattr(_View, "frames", frames)
    said = stesa(*SEGMENT, "-o", "all", "--ray", rays.address, "--workers", 3, code=1)
    assert len(lost) == 2 and all(f"{name}: its worker was lost" in said for name in lost.values()), said
    assert "1 failed" in said and "clips/broken.mp4: no frame can be decoded" in said
    assert results(home / "all") == results(home / "one") and len(results(home / "one")) > 12 * FRAMES
    with (home / "all" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["video"]: row["frames"] for row in rows if not row["error"]} == {
        f"clips/{number}.mp4": str(FRAMES + number) for number in range(12)
    }
    [broken] = [row for row in rows if row["error"]]
    assert broken["video"] == "clips/broken.mp4" and "no frame can be decoded" in broken["error"]
    told = json.loads((home / "all" / "summary.json").read_text())
    assert list(told[0]) == list(rows[0]) and told[0]["objects"] == 1 and 0 < told[0]["confidence"] <= 1
    (home / "clips" / "broken.mp4").unlink()
    said = stesa(*SEGMENT, "-o", "all", "--ray", rays.address, "--resume")  # nothing is left to do
    assert "12 of 12 videos are finished already" in said
    assert "holds results already" in stesa(*SEGMENT, "-o", "all", "--ray", rays.address, code=1)


def home_of(worker):
    import ray

    return ray.get_runtime_context().get_node_id(), os.getpid()


def test_the_scores_of_a_cluster_are_those_of_one_process(rays, home, stesa):
    asked = ("evaluate", "--year", 2017, "--data-root", home, "--jobs", 1, *OURS)
    one_process(home, *asked, "--masks-dir", "masks1", "-o", "one.json")
    stesa(*asked, "--masks-dir", "masks2", "-o", "all.json", "--ray", rays.address, "--workers", 2)
    assert read_json(home / "all.json") == read_json(home / "one.json")
    assert (home / "all.json").read_bytes() == (home / "one.json").read_bytes()
    assert results(home / "masks1") == results(home / "masks2") and len(results(home / "masks1")) == 15
    (home / "masks2" / "b" / "00001.png").unlink()
    asked = (*asked, "--masks-dir", "masks2", "--resume", "-o", "all.json", "--overwrite")
    said = stesa(*asked, "--ray", rays.address, "--workers", 1)
    assert "1 of 1 sequences" in said and results(home / "masks1") == results(home / "masks2")


def test_videos_and_sequences_travel_to_a_machine_that_sees_other_files(rays, home, stesa, monkeypatch):
    made = Crew.__init__

    def blind(crew, *given):
        made(crew, *given)
        crew._known = (*crew._known[:-1], home / "nowhere")

    write_mask(home / "given" / "00000.png", np.roll(squares(0, 1), 9, 0))
    write_mask(home / "given" / "00007.png", squares(3, 2))
    asked = ("segment", "clips/3.mp4", "--mask", "given", "--mask", "9=given/00000.png", *OURS)
    stesa(*asked, "-o", "near/3")
    score = ("evaluate", "--year", 2017, "--data-root", home, "--sequences", "a", "--jobs", 1, *OURS)
    stesa(*score, "--masks-dir", "masks3", "-o", "near.json")
    monkeypatch.setattr(Crew, "__init__", blind)
    stesa(*asked, "-o", "far/3", "--ray", rays.address, "--workers", 1)
    (home / "far" / "3" / "summary.csv").unlink()
    (home / "far" / "3" / "summary.json").unlink()
    assert results(home / "far") == results(home / "near") and len(results(home / "far")) > 3 * FRAMES
    told = json.loads((home / "far" / "3" / "report.json").read_text())
    assert told["input"]["video"] == str(home / "clips" / "3.mp4")
    assert told["settings"]["output"] == str(home / "far" / "3")
    stesa(*score, "--masks-dir", "masks4", "-o", "far.json", "--ray", rays.address, "--workers", 1)
    assert (home / "far.json").read_bytes() == (home / "near.json").read_bytes()


def test_an_interrupted_crew_stops_within_seconds_and_goes_on(tmp_path):
    tiny_weights(tmp_path / "tiny.safetensors")
    for number, frames in enumerate((45, 3)):
        make_video(tmp_path / f"{number}.mp4", frames=frames, size=(320, 240))
    command = [sys.executable, "-m", "stesa_cli", "segment", "*.mp4", "--box", "1=60,60,99,99", *OURS, "-o", "all"]
    one = subprocess.Popen(
        [*command, "--workers", "1"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for _ in range(1200):
        if list(tmp_path.glob("all/*/masks/00003.png")):
            break
        time.sleep(0.05)
    begun = time.monotonic()
    os.kill(one.pid, signal.SIGINT)
    _, said = one.communicate(timeout=60)
    assert one.returncode == 130 and "interrupted after 0 of 2 videos: add --resume to go on" in said, said
    assert time.monotonic() - begun < 20
    (state,) = tmp_path.glob("all/*/.stesa/state.pt")
    kept = {path: path.stat().st_mtime_ns for path in state.parents[1].glob("masks/*.png")}
    assert 3 < len(kept) < 45
    subprocess.run([*command, "--resume"], cwd=tmp_path, capture_output=True, check=True)  # one process can, too
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert len(list(tmp_path.glob("all/*/masks/*.png"))) == 48


@pytest.mark.parametrize("address", ["127.0.0.1:1", "here"])
def test_a_cluster_that_is_not_there_is_told_of_at_once(home, stesa, address):
    with pytest.raises(ConfigError, match=f"the cluster {address}: cannot be joined .*; give HOST:PORT"):
        stesa(*SEGMENT, "-o", "none", "--ray", address)


def test_without_ray_it_is_told_what_to_install(home, stesa, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for command in (SEGMENT, ("evaluate", "--year", 2017, "--data-root", home, "--overwrite", *OURS)):
        with pytest.raises(ConfigError, match=r"need Ray, .*; install it: pip install 'stesa-cli\[ray\]'"):
            stesa(*command, "--workers", 2, *(("-o", "none") if command == SEGMENT else ()))
    assert "--workers, --ray" in stesa("segment", "--camera", 0, "--workers", 2, code=2)

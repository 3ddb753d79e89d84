"""Tasks on the workers of a cluster: what is lost is done again, what is broken is told, what differs is refused."""

import time

import pytest

from stesa_cli.distribution import crew as crews
from stesa_cli.distribution import parcels
from stesa_cli.distribution.cluster import Share, cluster, share_out
from stesa_cli.distribution.crew import Crew
from stesa_cli.errors import ConfigError

from ..rays import STORE, Held, Toy


class Ear:
    """Hears all, and says stop when a task of that name is under way."""

    def __init__(self, until: str = "") -> None:
        self.until, self.heard, self.lines, self.agreed = until, set(), [], {}

    def begin(self, agreed):
        self.agreed = agreed

    def frames(self, task, place, done):
        self.heard.add((task.name, done))

    def say(self, line):
        self.lines.append(line)

    def stopped(self):
        return (self.until, 2) in self.heard


@pytest.fixture(scope="module")
def joined(rays):
    with cluster(rays.address):
        yield rays


def run(tasks, folder, ear=None, model=None, workers=2, mark=None):
    ear = ear or Ear()
    crew = Crew(model or Held(), Share(workers, 1, False), folder, ear)
    if mark:
        crew._known = (*crew._known[:-1], mark)
    return {outcome.task.name: outcome for outcome in crew.run(tasks, ear.stopped)}


def test_what_fails_is_told_and_the_rest_is_done(joined, tmp_path):
    deeds = {"killed": ("die", 1), "poison": ("die", 9), "broken": ("complain", 9), "odd": ("stumble", 1)}
    tasks = [Toy(name, tmp_path, *deed) for name, deed in deeds.items()]
    tasks += [Toy(f"good{i}", tmp_path, size=10 + i) for i in range(4)]
    ear = Ear()
    found = run(tasks, tmp_path, ear)
    assert found.keys() == {task.name for task in tasks}
    assert {name for name, outcome in found.items() if outcome.error} == {"poison", "broken"}
    assert "poison: its worker was lost" in found["poison"].error and "in 3 tries" in found["poison"].error
    assert found["broken"].error == "video: is broken; mend it"  # which another try would not mend
    tries = {task.name: len(list(task.output.glob("try*"))) for task in tasks}
    assert tries == dict.fromkeys(tries, 1) | {"killed": 2, "poison": 3, "odd": 2}
    assert found["killed"].result[1] and found["odd"].result[1] and not found["good0"].result[1]
    assert any("odd: ValueError: of no known kind" in line for line in ear.lines)
    assert ear.agreed["precision"] == "fp32" and not list(tmp_path.glob(".shared*"))


def test_the_largest_go_first(joined, tmp_path):
    tasks = [Toy(str(size), tmp_path, size=size) for size in (2, 5, 1, 4, 3)]
    found = run(tasks, tmp_path, workers=1)
    assert sorted(found, key=lambda name: found[name].result[2]) == ["5", "4", "3", "2", "1"]
    assert len({outcome.result[0] for outcome in found.values()}) == 1  # one process holds the model for all


def test_a_stop_takes_seconds_even_where_a_worker_hangs(joined, tmp_path):
    tasks = [Toy("waits", tmp_path, "wait"), Toy("hangs", tmp_path, "hang"), Toy("never", tmp_path, size=0)]
    ear, begun = Ear(until="hangs"), time.monotonic()
    assert run(tasks, tmp_path, ear) == {}
    assert time.monotonic() - begun < 30 and not (tmp_path / "never").exists()


def test_a_node_that_is_lost(joined, tmp_path):
    node = joined.add_node(num_cpus=1, object_store_memory=STORE)

    class Killer(Ear):
        killed = False

        def frames(self, task, place, done):
            if done and not self.killed:
                self.killed = True
                joined.remove_node(node, allow_graceful=False)

    tasks = [Toy(f"first{i}", tmp_path, "linger", times=9, size=9) for i in range(3)]
    tasks += [Toy(f"then{i}", tmp_path) for i in range(3)]
    ear = Killer()
    found = run(tasks, tmp_path, ear, workers=3)
    assert ear.killed and len(found) == 6 and not any(outcome.error for outcome in found.values())
    assert sum(outcome.result[1] for outcome in found.values()) == 1 and "was lost" in ear.lines[0]


def test_machines_that_differ_are_refused(joined, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"has another weights \(2\) than there is elsewhere \(1\)"):
        run([Toy("a", tmp_path)], tmp_path, model=Held(other="2"))
    monkeypatch.setattr(crews, "__version__", "0.0.1")
    with pytest.raises(ConfigError, match=r"has another version of stesa .* than there is elsewhere \(0\.0\.1\)"):
        run([Toy("a", tmp_path)], tmp_path)
    assert not (tmp_path / "a").exists()


def test_workers_that_cannot_start_end_the_run(joined, tmp_path):
    with pytest.raises(ConfigError, match=r"no worker can start \(.*no such chip"):
        run([Toy("a", tmp_path)], tmp_path, model=Held(chip="none"))


def test_files_travel_to_a_machine_that_does_not_see_them(joined, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    files = tmp_path / "in" / "a.txt", tmp_path / "in" / "b.txt"
    for file in files:
        file.write_text(file.stem)
    nowhere = tmp_path / "nowhere"
    found = run([Toy("one", tmp_path / "out", inputs=files)], tmp_path, mark=nowhere)
    assert not found["one"].error
    output = tmp_path / "out" / "one"
    assert {path.name for path in output.iterdir()} == {"try0", "read.txt", "report.json"}
    assert (output / "read.txt").read_text() == "a b"
    assert (output / "report.json").read_text() == f'"{output}"'  # as if it had been written here
    monkeypatch.setattr(parcels, "LIMIT", 1)
    found = run([Toy("two", tmp_path / "out", inputs=files)], tmp_path, mark=nowhere)
    assert "a.txt: holds 0.0 GB, of which at most 1e-09 travel" in found["two"].error
    assert "put it where all machines see it" in found["two"].error


@pytest.mark.parametrize(
    ("there", "workers", "device", "share"),
    [
        ([{"CPU": 8.0}], 3, "auto", Share(3, 2, False)),
        ([{"CPU": 8.0}], None, "auto", Share(1, 8, False)),
        ([{"CPU": 3.0}, {"CPU": 5.0}], 2, "auto", Share(2, 3, False)),
        ([{"CPU": 4.0}, {"CPU": 32.0, "GPU": 4.0}], None, "auto", Share(4, 8, True)),
        ([{"CPU": 4.0}, {"CPU": 32.0, "GPU": 4.0}], 2, "cuda", Share(2, 16, True)),
        ([{"CPU": 4.0}, {"CPU": 32.0, "GPU": 4.0}], None, "cpu", Share(2, 16, False)),
    ],
)
def test_how_a_cluster_is_shared_out(there, workers, device, share):
    assert share_out(there, workers, device) == share


@pytest.mark.parametrize(
    ("workers", "device", "what"),
    [(3, "cpu", "2 CPUs in all, too few for 3"), (1, "cuda", "0 GPUs and 2 CPUs"), (1, "cuda:1", "names one GPU")],
)
def test_what_a_cluster_does_not_have(workers, device, what):
    with pytest.raises(ConfigError, match=what):
        share_out([{"CPU": 2.0}], workers, device)

"""The near side of the work: the workers, and the tasks that each takes one after another. A worker that is lost is
replaced, and its task tried again; Ray itself restarts nothing."""

import pickle
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stesa_cli import __version__
from stesa_cli.distribution.cluster import Share
from stesa_cli.distribution.parcels import pack, unpack
from stesa_cli.distribution.worker import VERSION, Answer, Hello, Model, Task, Worker
from stesa_cli.errors import ConfigError, StesaError

TRIES = 3  # of a task
START = 60.0  # seconds after which the first tasks begin, though not all workers are there
GRACE = 5.0  # seconds in which workers that are told to stop may keep what they have
LOOK = 0.5  # seconds between looks at a worker's progress, of a hundred workers at most


class Watch(Protocol):
    """What hears how the work goes."""

    def begin(self, agreed: dict[str, Any]) -> None:
        """All that the workers agree on, before the first task. What it raises ends the run."""

    def frames(self, task: Any, place: str, done: int) -> None:
        """A task has so many frames done, on the machine of that name."""

    def say(self, line: str) -> None:
        """Something for the user to know."""


@dataclass(frozen=True)
class Outcome:
    """The ``result`` of a task, or the ``error`` that is told of it."""

    task: Any
    result: Any = None
    error: str = ""


@dataclass(eq=False)
class _Turn:
    number: int
    task: Task
    tries: int = 0


@dataclass(eq=False)
class _Member:
    actor: Any
    place: str = ""  # before its hello
    turn: _Turn | None = None


class Crew:
    """The near side. ``folder`` exists, and is where results go: workers that see what lies in it get no files."""

    def __init__(self, model: Model, share: Share, folder: Path, watch: Watch) -> None:
        import ray

        self._ray, self._share, self._watch = ray, share, watch
        self._mark = folder.absolute() / f".shared-{uuid.uuid4().hex}"
        self._agreed = {VERSION: __version__, **model.agreed()}
        threads = {"OMP_NUM_THREADS": str(share.threads), "OPENCV_FOR_THREADS_NUM": str(share.threads)}
        # waiting threads sleep, and freed memory is kept, as on the command line (see ``cli.keep_freed_memory``)
        keep = {"GOMP_SPINCOUNT": "2000", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
        options: dict[str, Any] = {"num_cpus": share.threads, "num_gpus": int(share.gpu), "max_restarts": 0}
        options |= {"concurrency_groups": {"watch": 2}, "runtime_env": {"env_vars": {**threads, **keep}}}
        self._kind = ray.remote(**options)(Worker)
        self._known = pickle.dumps(model), __version__, Path.cwd(), self._mark
        self._members: list[_Member] = []
        self._pending: dict[Any, tuple[_Member, Callable[[_Member, Any], Iterator[Outcome]]]] = {}
        self._failed, self._trouble = 0, ""  # workers that did not start, and why the last one did not
        self._begun, self._ends = False, 0.0

    def run(self, tasks: Sequence[Task], stopped: Callable[[], bool]) -> Iterator[Outcome]:
        """The outcomes as they come. When it is ``stopped``, the others do not come. Raises ConfigError when no worker
        can start, or a machine has another version or other weights."""
        self._waiting = deque(_Turn(i, task) for i, task in enumerate(sorted(tasks, key=lambda t: -t.size)))
        self._since = time.monotonic()
        self._mark.touch()
        try:
            while left := len(self._waiting) + self._busy:
                if stopped() and not self._ends:
                    self._stop()
                if self._ends and (not self._busy or time.monotonic() > self._ends):
                    return
                while not self._ends and len(self._members) < min(left, self._share.workers) and self._may_hire():
                    self._hire()
                if not self._members and not self._ends:
                    fix = "install the same versions of stesa and Python on all machines"
                    raise ConfigError(f"no worker can start ({self._trouble})", fix=fix)
                self._deal()
                for ref in self._ready():
                    yield from self._handle(ref)
        finally:
            for member in self._members:
                self._ray.kill(member.actor)
            self._mark.unlink(missing_ok=True)

    @property
    def _busy(self) -> int:
        return sum(member.turn is not None for member in self._members)

    def _may_hire(self) -> bool:
        return self._failed < TRIES * self._share.workers

    def _hire(self) -> None:
        member = _Member(self._kind.remote(*self._known))
        self._members.append(member)
        self._pending[member.actor.hello.remote()] = member, self._greeted

    def _stop(self) -> None:
        self._ends = time.monotonic() + GRACE
        for member in self._members:
            member.actor.stop.options(concurrency_group="watch").remote()

    def _deal(self) -> None:
        """The first tasks wait for all workers, so that machines that differ are told of before the work."""
        here = [member for member in self._members if member.place]
        if not self._begun and here and (len(here) == len(self._members) or time.monotonic() > self._since + START):
            self._watch.begin(self._agreed)
            self._begun = True
        for member in here:
            if self._begun and self._waiting and member.turn is None and not self._ends:
                member.turn = self._waiting.popleft()
                member.turn.tries += 1
                self._give(member, None)

    def _give(self, member: _Member, parcel: Any) -> None:
        turn = member.turn
        assert turn
        ref = member.actor.run.remote(turn.number, turn.task, turn.tries > 1, parcel)
        self._pending[ref] = member, self._done

    def _look(self, member: _Member) -> None:
        after = LOOK * max(1, len(self._members) / 100)
        self._pending[member.actor.look.options(concurrency_group="watch").remote(after)] = member, self._looked

    def _ready(self) -> list[Any]:
        """Once one answer is there, or a moment has passed: all that are."""
        refs = list(self._pending)
        if not self._ray.wait(refs, timeout=LOOK)[0]:
            return []
        return self._ray.wait(refs, num_returns=len(refs), timeout=0)[0]

    def _handle(self, ref: Any) -> Iterator[Outcome]:
        member, then = self._pending.pop(ref, (None, None))
        if member is None or then is None:  # of a worker that was lost
            return
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            yield from self._lost(member, error)
        else:
            yield from then(member, answer)

    def _greeted(self, member: _Member, hello: Hello) -> Iterator[Outcome]:
        for name, mine in self._agreed.items():
            if hello.agreed.get(name, mine) != mine:
                what = f"has another {name} ({hello.agreed[name]}) than there is elsewhere ({mine})"
                raise ConfigError(what, hello.place, "install and copy the same to all machines")
        if hello.problem:
            raise ConfigError(hello.problem, hello.place)
        self._agreed |= hello.agreed
        member.place = hello.place
        self._look(member)
        yield from ()

    def _looked(self, member: _Member, at: tuple[int, int]) -> Iterator[Outcome]:
        if member.turn and member.turn.number == at[0]:
            self._watch.frames(member.turn.task, member.place, at[1])
        self._look(member)
        yield from ()

    def _done(self, member: _Member, answer: Answer) -> Iterator[Outcome]:
        turn = member.turn
        assert turn
        error = answer.error
        try:
            if answer.unseen:
                turn.task.make_room()
                self._give(member, self._ray.put(pack(turn.task.inputs, Path(turn.task.output.absolute().anchor))))
                return
            if answer.parcel is not None:
                unpack(answer.parcel, turn.task.output)
        except (StesaError, OSError) as problem:
            error = f"{problem} ({member.place} does not see it)" if answer.unseen else str(problem)
        member.turn = None
        yield Outcome(turn.task, answer.result, error)

    def _lost(self, member: _Member, error: Exception) -> Iterator[Outcome]:
        """Replace a worker that has died, or that an error of no known kind may have left in disorder."""
        self._members.remove(member)
        self._pending = {ref: (other, then) for ref, (other, then) in self._pending.items() if other is not member}
        self._ray.kill(member.actor)
        why = self._why(error)
        if not member.place:
            self._failed, self._trouble = self._failed + 1, why
        if (turn := member.turn) is None or self._ends:
            return
        if turn.tries < TRIES:
            self._watch.say(f"{turn.task.name}: {why} on {member.place}; it is tried again")
            self._waiting.appendleft(turn)
        else:
            yield Outcome(turn.task, error=f"{turn.task.name}: {why}, in {TRIES} tries")

    def _why(self, error: Exception) -> str:
        if isinstance(error, self._ray.exceptions.RayTaskError):
            return f"{type(error.cause).__name__}: {' '.join(str(error.cause).split())[:200]}"
        if "creation task" in str(error):
            return str(error).strip().splitlines()[-1]
        return "its worker was lost (killed, out of memory, or with its machine)"

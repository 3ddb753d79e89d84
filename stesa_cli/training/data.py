"""The data that a config names, checked before the start."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from stesa_cli.data import folder
from stesa_cli.data.check import check
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import Problems
from stesa_cli.training.config import SOURCES, RunConfig
from stesa_cli.training.validation import can_validate


@dataclass(frozen=True)
class Data:
    """The sequences of every source, those that are ``held_out`` from them, and a note on each source of which
    something was left out."""

    sources: dict[str, list[VideoSequence]]
    held_out: list[VideoSequence]
    notes: list[str]


def open_data(config: RunConfig, data_root: Path) -> Data:
    """The data of all stages, without what cannot be trained on. Raises ConfigError with all problems in one line."""
    problems, held_out = Problems(), config.train.held_out
    wanted = dict.fromkeys(name for stage in config.stages for name in stage.sources)
    found: dict[str, list[VideoSequence]] = {}
    missing = set(held_out)
    notes: list[str] = []
    for name in wanted | {"davis2016": None}:
        if name in wanted or missing:
            with problems.noted():
                sequences = SOURCES.get(name, partial(folder.sequences, name=name))(data_root)
                found[name], note = check([s for s in sequences if name in wanted or _matches(s, held_out)])
                notes += [f"{name}: {note}"] if note else []
                missing -= {p for s in found[name] for p in held_out if _matches(s, (p,)) and _serves(s)}
    have = [name for name in wanted if name in found]
    if have and len(have) < len(wanted):
        absent = ", ".join(name for name in wanted if name not in found)
        problems.found.append(f"the config trains on {absent}, too: without it, add --dataset {','.join(have)}")
    held = {s.name: s for every in reversed(found.values()) for s in every if _matches(s, held_out)}
    kept = {name: [s for s in found[name] if s.name not in held] for name in wanted if name in found}
    problems.found += [f"{name}: no sequence is left to train on" for name, sequences in kept.items() if not sequences]
    if missing and ("davis2016" in found or "davis2016" not in wanted):
        what = f"held-out sequences {', '.join(sorted(missing))} are not there, or cannot be validated on"
        problems.found.append(f"{what}: name others, or none, with --held-out")
    problems.tell()
    return Data(kept, sorted((s for s in held.values() if can_validate(s)), key=lambda s: s.name), notes)


def _matches(sequence: VideoSequence, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(sequence.name, pattern) for pattern in patterns)


def _serves(sequence: VideoSequence) -> bool:
    """Whether it may be held out: a still need not be validated on."""
    return len(sequence.frames) == 1 or can_validate(sequence)

"""The data that a config names, checked before the start."""

from dataclasses import dataclass
from pathlib import Path

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
    validated: dict[str, VideoSequence] = {}
    notes: list[str] = []
    for name in wanted | {"davis2016": None}:
        if name in wanted or set(held_out) - validated.keys():
            with problems.noted():
                sequences = SOURCES[name](data_root)
                found[name], note = check([s for s in sequences if name in wanted or s.name in held_out])
                notes += [f"{name}: {note}"] if note else []
                validated = {s.name: s for s in found[name] if s.name in held_out and can_validate(s)} | validated
    have = [name for name in wanted if name in found]
    if have and len(have) < len(wanted):
        absent = ", ".join(name for name in wanted if name not in found)
        problems.found.append(f"the config trains on {absent}, too: without it, add --dataset {','.join(have)}")
    kept = {name: [s for s in found[name] if s.name not in held_out] for name in wanted if name in found}
    problems.found += [f"{name}: no sequence is left to train on" for name, sequences in kept.items() if not sequences]
    unknown = set(held_out) - validated.keys()
    if unknown and ("davis2016" in found or "davis2016" not in wanted):
        what = f"held-out sequences {', '.join(sorted(unknown))} are not there, or cannot be validated on"
        problems.found.append(f"{what}: name others, or none, with --held-out")
    problems.tell()
    return Data(kept, [validated[name] for name in held_out], notes)

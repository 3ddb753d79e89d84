"""Scores as files, and two of them side by side."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any

from stesa_cli.errors import InputError, OutputError
from stesa_cli.evaluation.benchmark import few
from stesa_cli.files import write_text
from stesa_cli.metrics.summary import DatasetScores, Measures, ObjectScores, SequenceScores

COLUMNS = [field.name for field in fields(Measures)]


def write_json(path: Path, scores: DatasetScores, made: Mapping[str, Any] | None = None) -> None:
    """``DatasetScores.to_dict``, after how the masks were ``made`` (see ``predictions.how_made``), if that is known."""
    write_text(path, json.dumps({**(made or {}), **scores.to_dict()}, indent=1))


def write_csv(path: Path, scores: DatasetScores) -> None:
    """A row for the whole ("global"), for each sequence and for each object."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["sequence", "object", *COLUMNS])
    table.writerow(["global", "", *astuple(scores.measures)])
    for name, sequence in scores.sequences.items():
        table.writerow([name, "", *astuple(sequence.measures)])
        table.writerows([name, i, *astuple(found.measures)] for i, found in sequence.objects.items())
    write_text(path, text.getvalue())


def read_json(path: Path) -> DatasetScores:
    """The scores that ``write_json`` wrote, without the seen categories. Raises InputError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        sequences = {
            name: SequenceScores({int(i): ObjectScores(**scores) for i, scores in about["objects"].items()})
            for name, about in found["sequences"].items()
        }
        return DatasetScores(found["dataset"], found["year"], found["split"], sequences)
    except FileNotFoundError as error:
        raise InputError("no such file", path, "give a file of stesa evaluate --output") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = "no JSON" if isinstance(error, ValueError) else repr(error)
        raise InputError(f"cannot be read as scores ({why})", path, "give a file of stesa evaluate --output") from error


def compare(one: DatasetScores, other: DatasetScores) -> Iterator[tuple[str, Measures, Measures]]:
    """The measures of the sequences that both scored, each with its name, and of all of these together ("global").

    Raises InputError when there are none."""
    names = [name for name in one.sequences if name in other.sequences]
    if not names:
        raise InputError("the two files have no sequence in common", fix="compare scores of the same split")
    for name in names:
        yield name, one.sequences[name].measures, other.sequences[name].measures
    common = [replace(s, sequences={name: s.sequences[name] for name in names}).measures for s in (one, other)]
    yield "global", common[0], common[1]


def refuse_to_overwrite(paths: Iterable[Path]) -> None:
    """Raise OutputError that names those that exist."""
    if there := [str(path) for path in paths if path.exists()]:
        raise OutputError(f"already there: {few(there)}", fix="choose other names, or add --overwrite")

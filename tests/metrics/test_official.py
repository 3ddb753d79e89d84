"""The measures against the DAVIS benchmark's own numbers for four published methods, frame by frame."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from stesa_cli.masks import read_mask
from stesa_cli.metrics.summary import DAVIS_2016, DatasetScores, SequenceScores, score_sequence

METHODS = ["osvos", "onavos", "rgmp", "siammask"]
ROUNDING = 0.5e-3 + 1e-9
"""The benchmark's numbers are given to three decimals."""


def score_methods(root: Path, official: Path, sequence: str) -> dict[str, SequenceScores]:
    """The scores of every method on one sequence; the truth is read once."""
    paths = sorted((root / "davis2016/Annotations/480p" / sequence).glob("*.png"))
    truths, scores = [read_mask(path) for path in paths], {}
    for method in METHODS:
        with ZipFile(official / f"{method}.zip") as archive:
            members = {member[-len(f"{sequence}/00000.png") :]: member for member in archive.namelist()}
            predictions = (read_mask(archive.open(members[f"{sequence}/{path.name}"])) for path in paths)
            scores[method] = score_sequence(sequence, zip(truths, predictions, strict=True), DAVIS_2016)
    return scores


@pytest.fixture(scope="module")
def results(data_root):
    """Method -> (our DatasetScores, the benchmark's {sequence: {"J": [...], "F": [...]}}, three decimals)."""
    official = data_root.parent / "reference/davis2016-official"
    names = (data_root / "davis2016/ImageSets/2016/val.txt").read_text().split()
    with ThreadPoolExecutor(2) as pool:  # decoding and morphology leave the interpreter lock
        scores = dict(zip(names, pool.map(partial(score_methods, data_root, official), names), strict=True))
    return {
        method: (
            DatasetScores("davis", 2016, "val", {name: scores[name][method] for name in names}),
            json.loads((official / f"{method}_davis.json").read_text()),
        )
        for method in METHODS
    }


@pytest.mark.parametrize("measure", ["J", "F"])
@pytest.mark.parametrize("method", METHODS)
def test_every_frame_and_the_global_mean(results, method, measure):
    ours, benchmark = results[method]
    for name, sequence in ours.sequences.items():
        expected = np.array(benchmark[name][measure], dtype=float)
        np.testing.assert_allclose(getattr(sequence.objects[1], measure), expected, rtol=0, atol=ROUNDING, err_msg=name)
    expected = np.mean([np.mean(np.array(benchmark[name][measure], dtype=float)) for name in ours.sequences])
    assert getattr(ours.measures, f"{measure}_mean") == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize(
    ("method", "published"),  # the methods' papers: mean, recall, decay of J and of F, in per cent
    [("osvos", [79.8, 93.6, 14.9, 80.6, 92.6, 15.0]), ("siammask", [71.7, 86.8, 3.0, 67.8, 79.8, 2.1])],
)
def test_recall_and_decay_as_published(results, method, published):
    assert np.round(100 * np.array(astuple(results[method][0].measures)[:6]), 1).tolist() == published

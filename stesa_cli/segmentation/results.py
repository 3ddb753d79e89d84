"""The folder of the results: what may be written there, and what an interrupted run has left to go on with."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from stesa_cli.errors import InputError, OutputError
from stesa_cli.video.outputs import FORMATS

REPORT, TIMELINE, WORK = "report.json", "timeline.png", ".stesa"
OVERWRITE, RESUME = "--overwrite (in Python, overwrite=True)", "--resume (in Python, resume=True)"
Seen = dict[int, tuple[int, float]]
"""Area in pixels and mean probability of each object in a frame."""


def seen_in(labels: np.ndarray, confidence: np.ndarray, ids: Sequence[int]) -> Seen:
    """What is seen of each object in a frame's label map and confidence, both (H, W) uint8."""
    x, y, width, height = cv2.boundingRect(labels)
    if not width:
        return dict.fromkeys(ids, (0, 0.0))
    labels, confidence = (each[y : y + height, x : x + width] for each in (labels, confidence))
    masks = {i: cv2.inRange(labels, i, i) for i in ids}
    return {i: (cv2.countNonZero(mask), cv2.mean(confidence, mask)[0] / 255) for i, mask in masks.items()}


def is_finished(output: Path) -> bool:
    """Whether the results of a whole run are there."""
    return (output / REPORT).is_file() and not (output / WORK).exists()


def was_truncated(output: Path) -> bool:
    """Whether the video of a finished run broke off. Raises InputError when its report cannot be read."""
    try:
        return json.loads((output / REPORT).read_text())["input"]["truncated"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError("is no report of stesa segment", output / REPORT, f"begin anew with {OVERWRITE}") from error


def check_room(output: Path, video: Path | int, overwrite: bool, resume: bool) -> bool:
    """Whether the folder holds an interrupted run to go on with. Raises OutputError when it is that of the frames of
    the video, or holds anything that the run would replace unasked, or that no run of ours has written."""
    if output.exists() and not output.is_dir():
        raise OutputError("is a file, not a folder", output, "choose another --output")
    if isinstance(video, Path) and video.resolve() == output.resolve():
        raise OutputError("holds the frames themselves", output, "choose another --output")
    found = _results(output)
    if found and not ((output / WORK).exists() or (output / REPORT).is_file()):
        raise OutputError(f"holds {found[0].name}, but not from stesa segment", output, "choose another --output")
    if found and not is_finished(output) and resume:
        return True
    if found and not overwrite:
        if is_finished(output):
            raise OutputError("holds results already", output, f"choose another --output, or add {OVERWRITE}")
        fix = f"choose another --output, or add {OVERWRITE} to begin anew"
        if not isinstance(video, int):
            fix = f"add {RESUME} to go on with it, or {OVERWRITE} to begin anew"
        raise OutputError("holds an interrupted run", output, fix)
    return False


def clear(output: Path) -> None:
    """Remove the results of a run, whole or not."""
    for path in _results(output):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _results(output: Path) -> list[Path]:
    names = (*(each.path for each in FORMATS.values()), REPORT, TIMELINE, WORK)
    return [path for name in names if (path := output / name).exists()]


class SeenLog:
    """What was seen of each frame, a line a frame in a file that only grows: to write all of it anew every few seconds
    would take ever longer in an hour of film."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, seen: Mapping[int, Seen]) -> int:
        """Add frames; returns the bytes of the file, which ``read`` takes. Raises OutputError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps([index, list(of.items())])}\n" for index, of in seen.items())
                return file.tell()
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", self.path, "free some space") from error

    def read(self, size: int) -> dict[int, Seen]:
        """The frames in the first ``size`` bytes; what was written after them, by a run that was killed, is cut off."""
        with self.path.open("r+", encoding="utf-8") as file:
            file.truncate(size)
            lines = [json.loads(line) for line in file]
        return {index: {i: (area, mean) for i, (area, mean) in of} for index, of in lines}

"""Zips for the benchmarks' own servers, and the rules by which these refuse them. Needs no torch.

DAVIS: sequence folders at the root of the zip; YouTube-VOS: in one folder ``Annotations``. Every sequence and every
frame is there, as an index PNG of the frame's size, without ids that the sequence does not have (void neither)."""

from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from zipfile import Path as ZipPath
from zipfile import ZipFile

import numpy as np
from PIL import Image

from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import InputError
from stesa_cli.evaluation.benchmark import (
    Benchmark,
    Masks,
    few,
    find_masks,
    locate,
    mask_file,
    mask_name,
    missing,
    read_bytes,
)
from stesa_cli.evaluation.scoring import each
from stesa_cli.files import atomic
from stesa_cli.masks import object_ids, read_mask

Listener = Callable[[VideoSequence], None]
FOLDERS = {"davis": "", "youtube-vos": "Annotations/"}


def write(
    path: Path, benchmark: Benchmark, source: Path, jobs: int = 1, on_sequence: Listener = lambda sequence: None
) -> None:
    """Pack the masks of ``source``, a folder or a zip, as the server wants them. Raises InputError, and writes nothing,
    where the server would refuse them."""
    with atomic(path) as temporary:
        root = find_masks(source, benchmark.sequences, all_frames=True).open()
        with ZipFile(temporary, "w") as archive:
            for sequence in benchmark.sequences:
                for frame in sequence.frames:
                    name = f"{FOLDERS[benchmark.dataset]}{mask_name(sequence, frame)}"
                    archive.writestr(name, read_bytes(mask_file(root, sequence, frame)))
        if found := problems(temporary, benchmark, jobs, on_sequence):
            raise InputError(f"the server would refuse these masks: {few(found)}", source, "save them anew")


def check(path: Path, benchmark: Benchmark, jobs: int = 1, on_sequence: Listener = lambda sequence: None) -> None:
    """Raise InputError that names what the server would refuse."""
    if found := problems(path, benchmark, jobs, on_sequence):
        raise InputError(f"the server would refuse it: {few(found)}", path, "mend these and zip again")


def problems(
    path: Path, benchmark: Benchmark, jobs: int = 1, on_sequence: Listener = lambda sequence: None
) -> list[str]:
    """What the server would refuse, a line each. Raises InputError when this is no zip."""
    folder = FOLDERS[benchmark.dataset]
    if not path.is_file():
        raise InputError("no such zip", path, "give the zip to be checked")
    root = Masks(path, folder).open()
    with ZipFile(path) as archive:
        if backslashes := [info.orig_filename for info in archive.infolist() if "\\" in info.orig_filename]:
            return [f"names are separated by \\ as on Windows, so it holds no folder of a sequence ({backslashes[0]})"]
    if absent := missing(root, benchmark.sequences, all_frames=True):
        inside = locate(Masks(path), benchmark.sequences).inside
        if inside != folder and not missing(Masks(path, inside).open(), benchmark.sequences, all_frames=True):
            return [f"the sequences lie in {inside or 'its root'}, not in {folder or 'its root'}"]
        return [f"{name} is missing" for name in absent]
    found: list[str] = []
    for sequence, lines in each(partial(_problems_of, Masks(path, folder)), benchmark.sequences, jobs):
        found += lines
        on_sequence(sequence)
    return found


def _problems_of(masks: Masks, sequence: VideoSequence) -> list[str]:
    root = masks.open()
    given = (sequence.given(index) for index in range(len(sequence.frames)))
    highest = max(i for labels in given if labels is not None for i in object_ids(labels))
    size = sequence.image(0).shape[:2]
    found: dict[str, list[str]] = {}
    for frame in sequence.frames:
        name = mask_name(sequence, frame)
        if problem := _problem(root / name, size, highest):
            found.setdefault(problem, []).append(name)
    return [f"{problem} ({few(names, 1)})" for problem, names in found.items()]


def _problem(file: Path | ZipPath, size: tuple[int, ...], highest: int) -> str | None:
    try:
        with Image.open(BytesIO(read_bytes(file))) as image:
            image.load()
            kind, mode, labels = image.format, image.mode, np.asarray(image)
    except (InputError, OSError, SyntaxError):
        return "unreadable"
    if (kind, mode) != ("PNG", "P"):
        return f"{kind} of mode {mode} instead of an index PNG"
    if labels.shape != size:
        return f"{labels.shape[1]}×{labels.shape[0]} instead of {size[1]}×{size[0]}"
    if (read_mask(Path(str(file)), BytesIO(read_bytes(file)), series=True) != labels).any():
        return "palette in another order, of which the server reads the indices"
    return f"id {labels.max()} above {highest}" if labels.max() > highest else None

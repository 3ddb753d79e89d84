"""Which videos a command line means, which mask belongs to each, and where its results go."""

import re
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from stesa_cli.errors import InputError
from stesa_cli.files import exists, natural
from stesa_cli.segmentation.mask_options import parse_mask_option
from stesa_cli.video.reading import is_address


def find_inputs(arguments: Sequence[str | Path]) -> list[Path]:
    """Videos, folders of frames and patterns such as ``clips/*.mp4``, whose matches come in natural order, as paths,
    each once. Raises InputError with every argument that is nothing of these."""
    found: dict[Path, Path] = {}
    problems = []
    for argument in map(str, arguments):
        paths = [Path(argument)] if exists(Path(argument)) else _matching(argument)
        if not paths and is_address(argument):
            problems.append(str(InputError("addresses are not read", argument, "save the stream as a file first")))
        elif not paths:
            what = "this pattern matches nothing" if set(argument) & set("*?[") else "no such video"
            problems.append(str(InputError(what, argument, "give a video file or a folder of frames")))
        for path in paths:
            found.setdefault(path.resolve(), path)
    if problems:
        raise InputError("; ".join(problems))
    return list(found.values())


def masks_for(video: Path | int, options: Sequence[str], boxed: bool = False, several: bool = False) -> tuple[str, ...]:
    """The masks of a video, or of a camera of that number, as ``Prompts`` takes them. Of a folder that holds
    ``<name>.png`` or a folder ``<name>``, these are meant, and nothing else in it when there are ``several`` videos.
    Without options it is the PNG beside the video, or none when its objects are ``boxed``. Raises InputError when there
    is no mask."""
    if options or boxed:
        return tuple(_of_video(option, video, several) for option in options)
    if isinstance(video, int):
        raise InputError("no mask is given", f"camera {video}", "add --mask or --box")
    beside = _named(video).parent
    if not (found := _mask_in(beside, video)):
        fix = f"add --mask or --box, or put the first frame's mask in {beside / _name(video)}.png"
        raise InputError("no mask is given", video, fix)
    return (found,)


def outputs_for(videos: Sequence[Path | int], output: Path | None) -> dict[Path | int, Path]:
    """The folder for the results of each video: ``<name>_stesa`` beside it, or ``output``, or for several videos
    ``<name>`` in it. A name that is too long, or not UTF-8, is changed to one that serves.
    Raises InputError when two would get one folder, or results would lie among the frames of a video."""
    folders: dict[Path | int, Path] = {}
    whose: dict[Path, Path | int] = {}
    problems = []
    for video in videos:
        if output:
            folder = output / _fitting(_name(video)) if len(videos) > 1 else output
        else:
            beside = Path() if isinstance(video, int) else _named(video).parent
            folder = beside / _fitting(_name(video), "_stesa")
        if isinstance(video, Path) and video.is_dir() and folder.resolve() == video.resolve():
            fix = "choose another --output"
            problems.append(
                str(InputError("holds the frames, among which results would be taken for some", folder, fix))
            )
        if (other := whose.setdefault(folder.resolve(), video)) != video:
            fix = "rename one, or segment each with its own --output"
            problems.append(str(InputError(f"would hold the results of both {other} and {video}", folder, fix)))
        folders[video] = folder
    if problems:
        raise InputError("; ".join(problems))
    return folders


def _of_video(option: str, video: Path | int, several: bool) -> str:
    frame, masks = parse_mask_option(option)
    if frame is not None:
        return option
    name = _name(video)
    if found := _mask_in(masks, video):
        return found
    if exists(masks / name):
        return str(masks / name)
    if several and masks.is_dir():
        raise InputError(f"holds no mask of {video}", masks, f"put it there as {name}.png, or as a folder {name}")
    return option


def _mask_in(folder: Path, video: Path | int) -> str | None:
    """The PNG of a video's name, if any; marked as of the first frame where the name could be that of another frame."""
    name = _name(video)
    found = next((path for suffix in (".png", ".PNG") if exists(path := folder / f"{name}{suffix}")), None)
    if found is None:
        return None
    return f"0={found}" if name.isdecimal() else str(found)


def _matching(pattern: str) -> list[Path]:
    """What a pattern matches, in natural order. A bracket is one of a file's name where that leads to files."""
    for each in (re.sub(r"\[", "[[]", pattern), pattern):
        if found := glob(each, recursive=True):  # noqa: PTH207 - any root
            return [Path(name) for name in sorted(found, key=natural)]
    return []


def _fitting(name: str, ending: str = "") -> str:
    """A name for a folder that file systems and other programs take, of 255 bytes at most."""
    room = 255 - len(ending.encode())
    clean = re.sub(r"[\x00-\x1f\x7f\ufffd]", "_", name.encode(errors="surrogateescape").decode(errors="replace"))
    return clean.encode()[:room].decode(errors="ignore") + ending


def _name(video: Path | int) -> str:
    if isinstance(video, int):
        return f"camera{video}"
    return _named(video).name if video.is_dir() else video.stem


def _named(video: Path) -> Path:
    """The path itself; of ``.`` and the like, one with a name."""
    return video if video.name.strip(".") else video.resolve()

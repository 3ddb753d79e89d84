"""Opening what the user calls a video: a file, a folder of frames, or a file of many pages."""

import re
from collections.abc import Collection
from fractions import Fraction
from pathlib import Path

from stesa_cli.errors import InputError
from stesa_cli.files import exists
from stesa_cli.video.frame_folder import IMAGES, FolderReader, PagesReader
from stesa_cli.video.stream import Frame, VideoReader
from stesa_cli.video.video_file import VideoFile

__all__ = ["FOLDER_RATE", "Frame", "VideoReader", "open_video"]

FOLDER_RATE = Fraction(24)
"""Frames per second at which a folder of frames plays."""


def open_video(
    path: Path | str, folder_rate: Fraction = FOLDER_RATE, pattern: str = "*", not_frames: Collection[Path] = ()
) -> VideoReader:
    """Open a video file, or, in natural order, the images of a folder that match ``pattern`` and are not among
    ``not_frames`` (masks that lie there, too), or the pages of a TIFF file, at ``folder_rate`` frames a second.
    Raises InputError when there is no such file, no frame in it, or anything is wrong with the files of a folder."""
    if is_address(path):
        raise InputError("addresses are not read", str(path), "save the stream as a file first")
    path = Path(path)
    if not exists(path):
        raise InputError("no such video", path, "give a video file or a folder of frames")
    if path.is_dir():
        return FolderReader(path, folder_rate, pattern, not_frames)
    if path.suffix.lower() in IMAGES:
        return PagesReader(path, folder_rate)
    return VideoFile(path)


def is_address(path: Path | str) -> bool:
    """Whether this is an address such as https://… or rtsp://…, and no file."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/{1,2}[^/]", str(path))) and not exists(Path(path))

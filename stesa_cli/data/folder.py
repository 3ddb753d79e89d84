"""Data of one's own: clips (``JPEGImages/<clip>/*``, ``Annotations/<clip>/*.png``), or stills without clip folders."""

from pathlib import Path

from stesa_cli.data.sequence import VideoSequence, frames_in, masks_of, pictures_in
from stesa_cli.errors import InputError

LAYOUT = "JPEGImages/<clip>/<frame> with Annotations/<clip>/<frame>.png, or without <clip> for stills"


def sequences(root: Path, name: str) -> list[VideoSequence]:
    """The clips of the folder ``root / name``, in DAVIS form: frames in the order of their names, of any size and image
    format; objects may enter after the first frame, and frames without a mask are not annotated. Its stills are
    sequences of one frame each. Raises InputError when there is none, or a clip has no mask."""
    images, masks = root / name / "JPEGImages", root / name / "Annotations"
    if not images.is_dir():
        raise InputError("no such data", root / name, f"lay them out as {LAYOUT}")
    found = []
    for clip in sorted(path for path in images.iterdir() if path.is_dir()):
        frames = frames_in(clip)
        annotations = masks_of(frames, masks / clip.name)
        if not any(annotations):
            raise InputError("has no frame with a mask", clip, f"lay it out as {LAYOUT}")
        found.append(VideoSequence(clip.name, frames, annotations, late=True))
    if not (found := [*found, *stills(images.parent)]):
        raise InputError("holds no image with a mask", root / name, f"lay them out as {LAYOUT}")
    return found


def stills(root: Path) -> list[VideoSequence]:
    """The images of ``root / JPEGImages`` that have a mask, as sequences of one frame, named after folder and image.
    Raises InputError where an image is there twice."""
    images = frames_in(root / "JPEGImages") if pictures_in(root / "JPEGImages") else ()
    pairs = zip(images, masks_of(images, root / "Annotations"), strict=True)
    return [VideoSequence(f"{root.name}/{image.stem}", (image,), (mask,)) for image, mask in pairs if mask]

"""Photographs with index masks (``<set>/JPEGImages/*.jpg``, ``<set>/Annotations/*.png``), as sequences of a frame."""

from pathlib import Path

from stesa_cli.data.sequence import VideoSequence, frames_in, masks_of
from stesa_cli.errors import InputError


def sequences(data_root: Path) -> list[VideoSequence]:
    """Every annotated photograph below ``data_root`` or its folder ``stills``. Raises InputError when there is none."""
    root = data_root / "stills" if (data_root / "stills").is_dir() else data_root
    found = []
    for images in (root / "JPEGImages", *sorted(root.glob("*/JPEGImages"))):
        if not any(path.is_file() for path in images.glob("*")):
            continue  # of DAVIS, which has a folder for each sequence in it
        photographs = frames_in(images)
        for image, mask in zip(photographs, masks_of(photographs, images.parent / "Annotations"), strict=True):
            if mask:
                found.append(VideoSequence(f"{images.parent.name}/{image.stem}", (image,), (mask,)))
    if not found:
        raise InputError(
            "no stills here (<set>/JPEGImages/*.jpg with <set>/Annotations/*.png)",
            data_root,
            "give the folder that holds them with --data-root or STESA_DATA",
        )
    return found

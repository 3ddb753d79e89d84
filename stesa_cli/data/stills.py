"""Photographs with index masks (``<set>/JPEGImages/*``, ``<set>/Annotations/*.png``), as sequences of a frame."""

from pathlib import Path

from stesa_cli.data import folder
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import InputError


def sequences(data_root: Path) -> list[VideoSequence]:
    """Every annotated photograph below ``data_root`` or its folder ``stills``. Raises InputError when there is none."""
    root = data_root / "stills" if (data_root / "stills").is_dir() else data_root
    found = [still for each in (root, *sorted(root.glob("*"))) for still in folder.stills(each)]
    if not found:
        raise InputError(
            "no stills here (<set>/JPEGImages/* with <set>/Annotations/*.png)",
            data_root,
            "give the folder that holds them with --data-root or STESA_DATA",
        )
    return found

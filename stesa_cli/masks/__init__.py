"""Masks as files and as arrays.

A label map is (H, W) uint8: 0 is background, 1…254 are object ids, 255 is void in benchmark truth.
"""

from stesa_cli.masks.colours import swapped_ids
from stesa_cli.masks.files import mask_size, read_mask, read_mask_with_notes, write_mask
from stesa_cli.masks.labels import PALETTE, VOID, label_map, object_ids, one_hot, soft_aggregation

__all__ = [
    "PALETTE",
    "VOID",
    "label_map",
    "mask_size",
    "object_ids",
    "one_hot",
    "read_mask",
    "read_mask_with_notes",
    "soft_aggregation",
    "swapped_ids",
    "write_mask",
]

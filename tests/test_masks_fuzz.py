"""Masks drawn by chance, in every mode and format: the drawn labels come back, or one error of ours."""

import warnings
from io import BytesIO

import numpy as np
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from stesa_cli.errors import InputError
from stesa_cli.masks import PALETTE, object_ids, read_mask, read_mask_with_notes

LOSSLESS = {"png": {}, "tif": {}, "bmp": {}, "webp": {"lossless": True}, "gif": {}}
FOREIGN = np.random.default_rng(0).integers(10, 240, (256, 3), np.uint8)


@st.composite
def label_maps(draw: st.DrawFn, most: int = 254) -> np.ndarray:
    """Boxes over each other, of up to five ids, with holes and stray pixels."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    labels = np.zeros((height, width), np.uint8)
    ids = draw(st.lists(st.integers(1, most), min_size=1, max_size=5))
    for i in [*ids, *draw(st.lists(st.sampled_from([0, *ids]), max_size=8))]:
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        labels[top : top + draw(st.integers(1, 20)), left : left + draw(st.integers(1, 20))] = i
    return labels


def with_alpha(labels: np.ndarray, colours: np.ndarray, clear: bool) -> np.ndarray:
    return np.dstack([colours, np.where((labels > 0) | (not clear), 255, 0).astype(np.uint8)])


def indexed(labels: np.ndarray, palette: np.ndarray) -> Image.Image:
    image = Image.fromarray(labels)
    image.putpalette(palette.tobytes())
    return image


MODES = {
    "L": Image.fromarray,
    "LA": lambda labels: Image.fromarray(with_alpha(labels, labels, False), "LA"),
    "LA clear": lambda labels: Image.fromarray(with_alpha(labels, labels, True), "LA"),
    "I;16": lambda labels: Image.fromarray(labels.astype(np.uint16)),
    "I": lambda labels: Image.fromarray(labels.astype(np.int32)),
    "F": lambda labels: Image.fromarray(labels.astype(np.float32)),
    "P": lambda labels: indexed(labels, PALETTE),
    "P foreign": lambda labels: indexed(labels, FOREIGN),
    "RGB": lambda labels: Image.fromarray(PALETTE[labels]),
    "RGBA": lambda labels: Image.fromarray(with_alpha(labels, PALETTE[labels], False)),
    "RGBA clear": lambda labels: Image.fromarray(with_alpha(labels, PALETTE[labels], True)),
    "quantized": lambda labels: Image.fromarray(PALETTE[labels]).quantize(kmeans=1),
}


def understood(image: Image.Image, kind: str, **options: object) -> np.ndarray | None:
    """Read it from such a file; None where it is refused, or the format has no such mode."""
    file = BytesIO()
    try:
        image.save(file, format={"tif": "TIFF", "jpg": "JPEG"}.get(kind, kind), **options)
    except OSError:
        assume(False)
    file.seek(0)
    with warnings.catch_warnings(action="error"):
        try:
            labels, notes = read_mask_with_notes(f"mask.{kind}", file)
        except InputError as error:
            assert str(error).startswith(f"mask.{kind}: ") and "\n" not in str(error) and error.fix
            return None
    assert labels.dtype == np.uint8 and labels.shape == image.size[::-1] and all(notes)
    return labels


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(label_maps(), st.sampled_from(sorted(MODES)), st.sampled_from(["png", "png", "tif", "bmp", "webp", "gif"]))
@example(np.array([[0, 60, 250, 250]], np.uint8), "L", "png")
@example(np.array([[0, 64, 64], [128, 0, 0]], np.uint8), "LA", "tif")
def test_the_drawn_ids_come_back(labels: np.ndarray, mode: str, kind: str) -> None:
    if kind in ("webp", "gif", "bmp") and mode not in {"webp": ("RGB", "RGBA"), "gif": ("P",)}.get(
        kind, ("L", "P", "P foreign", "RGB")
    ):
        kind = "png" if mode not in ("I", "F") else "tif"  # these formats keep no other mode as it is
    if kind == "png" and mode == "F":
        kind = "tif"
    found = understood(MODES[mode](labels), kind, **LOSSLESS[kind])
    if found is not None:
        assert (found == labels).all()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    label_maps(most=1),
    st.sampled_from(["1", "L", "RGB", "I;16", "inverse palette", "alpha"]),
    st.sampled_from(["png", "tif"]),
)
def test_one_object_comes_back(labels: np.ndarray, mode: str, kind: str) -> None:
    white = labels * np.uint8(255)
    image = {
        "1": lambda: Image.fromarray(labels > 0),
        "L": lambda: Image.fromarray(white),
        "RGB": lambda: Image.fromarray(np.dstack([white] * 3)),
        "I;16": lambda: Image.fromarray(labels * np.uint16(65535)),
        "inverse palette": lambda: indexed(1 - labels, np.array([(255, 255, 255), (0, 0, 0)], np.uint8)),
        "alpha": lambda: Image.fromarray(np.dstack([white * 0 + 255] * 3 + [white])),
    }[mode]()
    assume(not (mode == "alpha" and not white.any()))
    found = understood(image, kind)
    assert found is not None and (found == labels).all()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(label_maps(), st.sampled_from(["L", "RGB"]), st.integers(60, 100), st.sampled_from(["jpg", "webp"]))
def test_lossy_files_give_no_ids_that_were_not_drawn(labels: np.ndarray, mode: str, quality: int, kind: str) -> None:
    found = understood(Image.fromarray(labels).convert(mode), kind, quality=quality)
    assert found is None or not found.any() or (labels.max() > 200 and object_ids(found) == [1])


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_broken_files_are_one_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["png", "tif", "bmp", "gif", "webp", "jpg"]))
    file = BytesIO()
    image = indexed(np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8), PALETTE)
    image = image.convert("RGB") if kind in ("webp", "jpg") else image
    image.save(file, format={"tif": "TIFF", "jpg": "JPEG"}.get(kind, kind))
    content = bytearray(file.getvalue())[: data.draw(st.integers(0, len(file.getvalue())))]
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6)):
        if place < len(content):
            content[place] = byte
    with warnings.catch_warnings(action="error"):
        try:
            labels = read_mask(f"mask.{kind}", BytesIO(content))
            assert labels.ndim == 2 and labels.dtype == np.uint8
        except InputError as error:
            assert "\n" not in str(error)

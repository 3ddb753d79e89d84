"""Segments frames with exported graphs: python example.py frames.npy first.npy masks.npy

frames.npy holds (T, height, width, 3) uint8 RGB, first.npy the label map (height, width) uint8 of frame 0, with ids
from 1 on; masks.npy gets the label maps of all frames, at half the height and width."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


def segment(folder: Path, frames: np.ndarray, labels: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the probabilities (O, height / 2, width / 2) of the objects 1, 2, ... in each frame."""
    parts = ("encode", "move", "read", "decode", "write")
    graphs = {name: onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in parts}
    memory = json.loads((folder / "memory.json").read_text())

    def run(name: str, values: dict[str, Any]) -> dict[str, Any]:
        """The values, and what comes out of a graph."""
        inputs, outputs = graphs[name].get_inputs(), graphs[name].get_outputs()
        found = graphs[name].run(None, {each.name: values[each.name] for each in inputs})
        return values | dict(zip([each.name for each in outputs], found, strict=True))

    kept: list[tuple[int, np.ndarray, np.ndarray]] = []
    masks = _halved((labels == np.arange(1, labels.max() + 1)[:, None, None])[None].astype(np.float32))
    state: dict[str, Any] = {}
    for t, frame in enumerate(frames):
        values = run("encode", state | {"image": frame.transpose(2, 0, 1)[None].astype(np.float32) / 255})
        if t:
            values = run("move", values | {"flow": np.zeros((1, 3, *labels.shape), np.float32)})
            values |= {name.removeprefix("moved_"): values[name] for name in values if name.startswith("moved_")}
            values = run("decode", run("read", values))
            masks = _aggregated(values["objects"])
        yield masks[0]
        present = masks.sum(1, keepdims=True)
        fine = {"masks": _halved(masks), "others": _halved(np.clip(present - masks, 0, 1))}
        older = [old for old in kept if old[0] % memory["mem_every"] == 0]
        while len(older) > memory["max_mem_frames"]:
            del older[1]
        kept = [*older, (t, values["key"], run("write", values | fine)["value"])]
        remembered = {name: np.concatenate([old[i] for old in kept], 1) for i, name in ((1, "keys"), (2, "values"))}
        state = {"masks": masks, "present": present, **remembered}
        if not t:  # the first frame warms the hidden states up
            empty = {i.name: [1 if isinstance(n, str) else n for n in i.shape] for i in graphs["decode"].get_inputs()}
            hidden = {n: np.zeros([masks.shape[1], *s[1:]], np.float32) for n, s in empty.items() if "hidden" in n}
            cues = np.zeros([1, masks.shape[1], *empty["cues"][2:]], np.float32)
            values = run("decode", run("read", values | state | hidden | {"cues": cues}))
        state |= {name.removeprefix("new_"): values[name] for name in values if name.startswith("new_")}


def _halved(maps: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels of maps (1, O, H, W)."""
    height, width = maps.shape[2:]
    return maps.reshape(*maps.shape[:2], height // 2, 2, width // 2, 2).mean((3, 5), np.float32)


def _aggregated(logits: np.ndarray) -> np.ndarray:
    """Objects (1, O, H, W), each by itself, as probabilities beside one another and the background."""
    each = 1 / (1 + np.exp(-np.clip(logits, -15, 15)))
    none = np.prod(1 - each, 1, keepdims=True)
    odds = each / (1 - each)
    return (odds / (odds.sum(1, keepdims=True) + none / (1 - none))).astype(np.float32)


if __name__ == "__main__":
    frames, first = np.load(sys.argv[1]), np.load(sys.argv[2])
    maps = [np.concatenate([1 - p.sum(0, keepdims=True), p]) for p in segment(Path(__file__).parent, frames, first)]
    np.save(sys.argv[3], np.stack([each.argmax(0) for each in maps]).astype(np.uint8))

"""OpenVINO runs the network's graphs on a CPU, two to three times as fast as PyTorch does. On trial: with its
version 2026.4 glibc finds the heap overrun (MALLOC_CHECK_=3) when a process ends, and long ones have crashed."""

import atexit
import hashlib
import shutil
import tempfile
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import openvino
import platformdirs
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor

from stesa_cli import model
from stesa_cli.inference import graphs
from stesa_cli.inference.graphs import Decode, Encode, Graph, Write
from stesa_cli.model.backend import Backend
from stesa_cli.model.network import Network
from stesa_cli.model.state import Features, Hidden, State
from stesa_cli.runtime import Precision, autocast_dtype

HINTS = {"bf16": "bf16", "fp16": "f16", "fp32": "f32"}


class OpenVINO(Backend):
    """A network on the CPU whose encoder, and the default's whole decoder, are OpenVINO's; of the paper's decoders,
    which take one object after another, PyTorch does the rest. ``precision`` is not ``auto``.

    Graphs hold for frames of all sizes and any number of objects. They are kept in the user's cache folder, for a
    network's weights, and so are the compiled ones: the first use of a network takes seconds."""

    name = "openvino"

    def __init__(self, network: Network, precision: Precision) -> None:
        self.network, self.config = network, network.config
        self._options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "CACHE_DIR": str(_folder() / "compiled"),
        }
        self._dtype = autocast_dtype(self.device, precision)
        kinds: list[type[Graph]] = [Encode, Decode, Write] if self.config.objects == "together" else [Encode]
        self._graphs = {kind: kind(network).eval() for kind in kinds}
        self._files = {kind: _converted(graph) for kind, graph in self._graphs.items()}
        self._compiled: dict[type[Graph], Any] = {}
        self._given: dict[type[Graph], list[np.ndarray]] = {}

    @property
    def device(self) -> torch.device:
        return self.network.device

    def encode(self, images: Tensor) -> Features:
        found = self._run(Encode, images)
        skips, (middle, *key) = found[: len(self.network.skips)], found[len(self.network.skips) :]
        if Decode not in self._graphs:  # PyTorch goes on, under autocast
            middle, *skips = (each.to(self._dtype) for each in (middle, *skips))
        return Features(skips, middle, key[0] if key else None)

    def decoded(
        self, features: Features, state: State, cues: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...], Hidden]:
        if Decode not in self._graphs:
            return self.network.decoded(features, state, cues)
        size = torch.Size(2 * side for side in state.masks.shape[2:])
        zeros = self._graphs[Decode].example(*size, objects=state.masks.shape[1])  # type: ignore[misc]
        hidden = zeros[7:11] if state.hidden is None else [level for [level] in state.hidden]
        readout = cast(Tensor, self.network.read(features, state))  # PyTorch's attention is the faster one
        given = [*features.skips, state.masks, state.present, *hidden, readout, zeros[-1] if cues is None else cues]
        found = self._run(Decode, *given)
        return found[0], (), [[level] for level in found[1:]]

    def written(self, features: Features, masks: Tensor, others: Tensor) -> Tensor:
        if Write not in self._graphs:
            return self.network.written(features, masks, others)
        return self._run(Write, features.middle, masks, others)[0].to(self._dtype)

    def _run(self, kind: type[Graph], *inputs: Tensor) -> list[Tensor]:
        """Tensors through a graph., compiled for frames of all sizes."""
        if kind not in self._compiled:
            compiled = openvino.Core().compile_model(self._files[kind], "CPU", self._options)
            self._compiled[kind] = compiled.create_infer_request()
        # not copied, so they must be there as long as the request knows of them
        self._given[kind] = given = [each.float().contiguous().numpy() for each in inputs]
        found = self._compiled[kind].infer(given, share_inputs=True)
        return [torch.from_numpy(found[output]) for output in range(len(found))]


@cache
def _folder() -> Path:
    """Where graphs are kept: for as long as the process runs, where the user's cache folder cannot be written."""
    folder = platformdirs.user_cache_path("stesa") / "graphs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return folder
    except OSError:
        temporary = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return Path(temporary)


def _converted(graph: Graph) -> Path:
    """The file of a graph in OpenVINO's format, made where it is not there yet."""
    digest = hashlib.sha256(f"{openvino.__version__} {graph.network.config!r}".encode())
    for source in (Path(graphs.__file__), *sorted(Path(model.__path__[0]).glob("*.py"))):
        digest.update(source.read_bytes())
    for name, tensor in graph.network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    folder = _folder() / digest.hexdigest()[:16] / type(graph).__name__.lower()
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            save(graph, Path(temporary, "new/graph.xml"))
            with suppress(OSError):  # another process was faster
                Path(temporary, "new").rename(folder)
    return folder / "graph.xml"


@torch.no_grad()
def save(graph: Graph, path: Path) -> None:
    """Write a graph in OpenVINO's form, for frames of all sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this way of tracing is old, and about shapes that are always the same
        traced = torch.jit.trace(graph, graph.example(64, 96), check_trace=False)
        decoder = TorchScriptPythonDecoder(traced)  # has the weights, until all is written
        frontend = FrontEndManager().load_by_framework("pytorch")
        openvino.save_model(frontend.convert(frontend.load(decoder)), path, compress_to_fp16=False)
        del decoder

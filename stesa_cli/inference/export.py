"""A network's graphs as files, for programs without PyTorch: ONNX, with an example, and OpenVINO's own format."""

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch.export import Dim

from stesa_cli.errors import ConfigError, OutputError
from stesa_cli.files import PREFIX, exists, write_text
from stesa_cli.inference.graphs import Decode, Encode, Graph, Move, Read, Write
from stesa_cli.model.network import MemoryConfig, Network

GRAPHS: tuple[type[Graph], ...] = (Encode, Move, Read, Decode, Write)
README = """# {weights}, exported by STESA {version}

Five graphs for frames of {height} × {width}, float32, batch of one; any number of objects O and of memory frames M:
{graphs}

`image` is RGB in [0, 1]; masks are in [0, 1], half as high and wide, in `write` a quarter; `present` is the sum of all
masks, `others` to each object that of the others. `flow` says where each pixel was in the frame before (x and y, in
widths and heights) and how far its brightness is from there, in [0, 1]; zeros do where little moves. `objects` are
logits, which the example combines. The memory holds the newest frame and {max_mem_frames} others at most, the first one
and every {mem_every}th; `keys` and `values` are those of all its frames one after another, the newest last.

`python example.py frames.npy first.npy masks.npy` runs them with ONNX Runtime and NumPy alone.
"""


def export_onnx(
    network: Network,
    folder: Path,
    size: tuple[int, int],
    about: dict[str, str],
    on_graph: Callable[[str], None] = lambda name: None,
) -> None:
    """Write the graphs for frames of a ``size`` (height, width), multiples of 32, as ``folder/<graph>.onnx``, with a
    README and an example; ``about`` names ``weights`` and ``version``. Raises ConfigError where the network or the
    packages do not serve, OutputError where the folder is in use."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"needs {error.name}", "export to ONNX", 'pip install "stesa-cli[export]"') from error

    def write(graph: Graph, path: Path) -> None:
        dynamic = tuple(dict.fromkeys(each, Dim.DYNAMIC) for each in graph.DYNAMIC.values())
        program = torch.onnx.export(
            graph,
            graph.example(*size, objects=3),
            input_names=list(graph.DYNAMIC),
            output_names=list(graph.OUTPUTS),
            dynamic_shapes=(dynamic,),
            dynamo=True,
            verbose=False,
        )
        program.save(path)  # type: ignore[union-attr]

    with _new(folder) as new:
        described = []
        for kind in _kinds(network):
            on_graph(kind.__name__.lower())
            graph = kind(network).eval()
            write(graph, new / f"{kind.__name__.lower()}.onnx")
            described.append(f"- `{kind.__name__.lower()}`: {', '.join(graph.DYNAMIC)} → {', '.join(graph.OUTPUTS)}")
        memory = cast(MemoryConfig, network.config.memory).model_dump(include={"mem_every", "max_mem_frames"})
        frame = {"height": size[0], "width": size[1]}
        text = README.format(graphs="\n".join(described), **frame, **memory, **about)
        write_text(new / "README.md", text)
        write_text(new / "memory.json", json.dumps(memory) + "\n")
        shutil.copy(Path(__file__).with_name("onnx_example.py"), new / "example.py")


def export_openvino(network: Network, folder: Path, on_graph: Callable[[str], None] = lambda name: None) -> None:
    """Write the graphs for frames of all sizes as ``folder/<graph>.xml`` and ``.bin``. Raises ConfigError and
    OutputError as ``export_onnx``."""
    try:
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError as error:
        raise ConfigError("needs openvino", "export to OpenVINO", 'pip install "stesa-cli[export]"') from error
    with _new(folder) as new, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that this way of tracing is old, and about shapes that are always the same
        for kind in _kinds(network):
            on_graph(kind.__name__.lower())
            graph = kind(network).eval()
            # has the weights, until all is written
            decoder = TorchScriptPythonDecoder(torch.jit.trace(graph, graph.example(64, 96), check_trace=False))
            frontend = FrontEndManager().load_by_framework("pytorch")
            model = frontend.convert(frontend.load(decoder))
            openvino.save_model(model, new / f"{kind.__name__.lower()}.xml", compress_to_fp16=False)


def _kinds(network: Network) -> tuple[type[Graph], ...]:
    if network.config.objects != "together":
        raise ConfigError(
            "these weights decode one object after another, which is no graph",
            "export",
            'give weights of a network with objects = "together", such as --config next trains',
        )
    return GRAPHS


@contextmanager
def _new(folder: Path) -> Iterator[Path]:
    """A folder that gets its name when all is in it."""
    if exists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError("is there already", folder, "choose a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=PREFIX) as temporary:
            new = Path(temporary, "new")
            new.mkdir()
            yield new
            new.replace(folder)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", folder, "choose another folder") from error

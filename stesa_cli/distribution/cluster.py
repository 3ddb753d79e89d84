"""A cluster of Ray's: joined, or started on this machine, and shared out among workers. Ray is imported here only, and
only when it is asked for."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

from stesa_cli.errors import ConfigError

ANSWER = 10.0  # seconds in which a cluster takes a connection
STORE = 200 * 2**20  # bytes of the shared memory of a cluster on one machine, where no files travel


@dataclass(frozen=True)
class Share:
    """How many workers there are, and what each has: threads, and a GPU or none."""

    workers: int
    threads: int
    gpu: bool


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Inside, Ray runs: the cluster at an address (``auto``: the one of this machine), or without one its own here.
    Raises ConfigError when Ray is not installed, or there is no such cluster."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing of ours phones home
    try:
        import ray
    except ImportError as error:
        fix = "install it: pip install 'stesa-cli[ray]', or leave out --workers and --ray"
        raise ConfigError("several workers need Ray, which is not installed", fix=fix) from error
    own: dict[str, Any] = {} if address else {"include_dashboard": False, "object_store_memory": STORE}
    with redirect_stdout(StringIO()):  # where Ray tells of every worker that is lost, in many lines; so do we, in one
        try:
            if address and address != "auto":  # for an address where nobody listens, Ray waits many minutes
                host, _, port = address.removeprefix("ray://").rpartition(":")
                socket.create_connection((host, int(port)), ANSWER).close()
            ray.init(address or "local", log_to_driver=False, logging_level=logging.CRITICAL, **own)
        except (OSError, RuntimeError, ValueError) as error:
            why = " ".join(str(error).split())[:200]
            fix = "give HOST:PORT as ray start --head told, with the same versions of Ray and Python here and there"
            raise ConfigError(f"cannot be joined ({why})", f"the cluster {address or 'here'}", fix) from error
        try:
            yield
        finally:
            ray.shutdown()


def nodes() -> list[dict[str, float]]:
    """The resources of the machines of the cluster."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def share_out(nodes: Sequence[Mapping[str, float]], workers: int | None, device: str) -> Share:
    """The resources of ``nodes``, shared out: a GPU each where there are some and ``device`` allows; else the
    threads. Without a number, a worker a GPU, or a machine. Raises ConfigError when there are not so many."""
    if device.startswith("cuda:"):
        raise ConfigError("names one GPU, but workers are given theirs", f"device {device!r}", "use --device cuda")
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    gpu = device == "cuda" or (device == "auto" and sum(gpus) > 0)
    workers = workers or (sum(gpus) if gpu else sum(number > 0 for number in cpus))
    for threads in range(sum(cpus) // max(1, workers), 0, -1):
        room = (min(c // threads, g) if gpu else c // threads for c, g in zip(cpus, gpus, strict=True))
        if 0 < workers <= sum(room):
            return Share(workers, threads, gpu)
    what = f"{sum(gpus)} GPUs and {sum(cpus)} CPUs" if gpu else f"{sum(cpus)} CPUs"
    raise ConfigError(f"there are {what} in all, too few for {workers} workers", fix="choose fewer --workers")

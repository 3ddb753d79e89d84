"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from .rays import STORE
from .tiny import lay_out

DATA = Path(os.environ.get("STESA_TEST_DATA", Path(__file__).parents[1] / "../shared/data")).resolve()


def devices() -> list[str]:
    """Those of STESA_TEST_DEVICE, else all that there are."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return os.environ.get("STESA_TEST_DEVICE", " ".join(name for name in there if there[name])).split()


@pytest.fixture(params=devices())
def device(request: pytest.FixtureRequest) -> str:
    """Each device that inference runs on here."""
    return request.param


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of shared research data (STESA_TEST_DATA, or ../shared/data beside the repository).

    In CI its absence is a failure, so that golden numbers never skip silently; elsewhere the test is skipped."""
    if not DATA.is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no shared data at {DATA}; set STESA_TEST_DATA")
    return DATA


@pytest.fixture(scope="session")
def rays() -> Iterator[Any]:
    """Ray's own cluster, of two nodes of one CPU each in this machine, whose processes find these tests.

    In CI the absence of Ray is a failure; elsewhere the test is skipped."""
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Ray is not installed: pip install 'stesa-cli[ray]'")
    root = str(Path(__file__).parents[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
        node = {"num_cpus": 1, "object_store_memory": STORE}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        cluster.add_node(**node)
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See ``tiny.lay_out``."""
    return lay_out(tmp_path_factory.mktemp("data"))
